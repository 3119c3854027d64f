"""Transforms without a store, and numbers to put through them."""

from types import SimpleNamespace

import numpy as np
import torch
from pydantic import TypeAdapter

from inforeg_cli.data.transforms import InputConfig, build_transform

#: What augmentation is a function of, besides the clip.
PARTS = (7, "augment", 3)


def transform(kind, shape, sequence=False, rate=8000, **options):
    """One that does not normalise, unless told to. Of videos, all have this shape, and every frame is seen."""
    framed = kind in ("video", "motion")
    defaults = {"kind": kind, "normalise": "none", **({"frames": shape[0]} if framed else {})}
    config = TypeAdapter(InputConfig).validate_python({**defaults, **options})
    settings = {"sample_rate": rate} if kind == "audio" else {}
    modality = SimpleNamespace(kind=kind, shape=None if framed else shape, sequence=sequence, settings=settings)
    return build_transform(config, modality, np.array([shape, shape]) if framed else None)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batches(raw, sizes, lengths=None):
    split = [None] * len(sizes) if lengths is None else lengths.split(sizes)
    return list(zip(raw.split(sizes), split, strict=True))
