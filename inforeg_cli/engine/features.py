"""What the encoders of a model make of the clips of a split: the material of probes and of pictures."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inforeg_cli.data.batches import Clips
from inforeg_cli.models.late_fusion import LateFusion


@dataclass(frozen=True)
class Features:
    """Of N clips: store rows `index` ``[N]``, classes `target` ``[N]``, and each encoder's output ``[N, D_m]``."""

    index: np.ndarray
    target: np.ndarray
    by_modality: dict[str, np.ndarray]


@torch.no_grad()
def features_of(
    model: LateFusion, clips: Clips, indices: np.ndarray, batch_size: int, *, precision: str = "fp32"
) -> Features:
    """In eval mode, in the order of `indices`, as float32 whatever the model computes in."""
    was_training = model.training
    model.eval()
    collected: dict[str, list[Tensor]] = {}
    targets = []
    try:
        for batch in clips.batches(torch.from_numpy(indices), batch_size):
            with torch.autocast(clips.device.type, torch.bfloat16, enabled=precision == "bf16"):
                outputs = model(batch.inputs, batch.lengths)
            for name, value in outputs.features.items():
                collected.setdefault(name, []).append(value.float())
            targets.append(batch.target)
    finally:
        model.train(was_training)
    joined = {name: torch.cat(values).cpu().numpy() for name, values in collected.items()}
    return Features(indices, torch.cat(targets).cpu().numpy(), joined)
