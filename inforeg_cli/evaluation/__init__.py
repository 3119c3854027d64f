"""What a trained model knows, by which modality, and what happens when one fails. Importing this imports no torch."""
