"""inforeg: train multimodal classifiers whose modalities learn at different speeds, and compare methods."""

__version__ = "0.1.0"
