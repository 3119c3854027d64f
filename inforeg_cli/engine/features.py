"""What the encoders of a model make of the clips of a split: the material of probes and of pictures."""

from dataclasses import dataclass

import numpy as np

from inforeg_cli.data.batches import Clips
from inforeg_cli.engine.evaluate import collect
from inforeg_cli.models.late_fusion import LateFusion


@dataclass(frozen=True)
class Features:
    """Of N clips: store rows `index` ``[N]``, classes `target` ``[N]``, and each encoder's output ``[N, D_m]``."""

    index: np.ndarray
    target: np.ndarray
    by_modality: dict[str, np.ndarray]


def features_of(
    model: LateFusion, clips: Clips, indices: np.ndarray, batch_size: int, *, precision: str = "fp32"
) -> Features:
    """In eval mode and fp32, in the order of `indices`."""
    target, features = collect(model, clips, indices, batch_size, lambda outputs: outputs.features, precision=precision)
    return Features(indices, target, features)
