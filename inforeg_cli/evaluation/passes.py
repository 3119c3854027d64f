"""The state in which models are measured: eval mode, no gradients, the run's precision and its threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from inforeg_cli.config import Experiment
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


@contextmanager
def threads_of(experiment: Experiment) -> Iterator[None]:
    """As many threads of the CPU as the experiment says, for torch and for what scikit-learn calls; afterwards as before.
    What is quick on one thread is several times slower where two wait for each other."""
    before = torch.get_num_threads()
    with threadpool_limits(experiment.threads):
        torch.set_num_threads(experiment.threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)
