"""The state in which models are measured: eval mode, no gradients, the run's precision."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from inforeg_cli.models.late_fusion import LateFusion


@contextmanager
def measuring(model: LateFusion, device: torch.device, precision: str = "fp32") -> Iterator[None]:
    """`model` in eval mode and, with ``precision = "bf16"``, under autocast; afterwards in the mode that it was in."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        model.train(was_training)
