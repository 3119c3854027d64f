"""What can end a training early: a loss that is no number any more, or a request to stop."""

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from inforeg_cli.errors import InforegError


class Diverged(InforegError):
    """A loss became NaN or infinite."""


class Stopped(Exception):
    """Raised between two steps after a request to stop, when everything is in a state that can be saved."""


class StopRequest:
    """Set by SIGINT or SIGTERM, looked at between steps. A second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.requested = False

    def check(self) -> None:
        if self.requested:
            raise Stopped

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Take over both signals inside the block; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _request(self, number: int, frame: object) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True


class FiniteLosses:
    """Remembers on the device the first step whose losses were not all finite; reading it is left to `check`."""

    def __init__(self, names: Sequence[str], device: torch.device):
        self.names = tuple(names)
        self._step = torch.full((), -1, device=device)
        self._losses = torch.zeros(len(names), device=device)

    @torch.no_grad()
    def update(self, step: int, losses: Mapping[str, Tensor]) -> None:
        values = torch.stack([losses[name].detach().float() for name in self.names])
        first = ~values.isfinite().all() & (self._step < 0)
        self._step = torch.where(first, step, self._step)
        self._losses = torch.where(first, values, self._losses)

    def check(self, epoch: int) -> None:
        """Raise Diverged if a loss of this epoch was NaN or infinite. Waits for the device."""
        step = int(self._step)
        if step >= 0:
            losses = ", ".join(
                f"{name} {value:.4g}" for name, value in zip(self.names, self._losses.tolist(), strict=True)
            )
            raise Diverged(f"the loss is not finite in epoch {epoch}, step {step} ({losses}); try a smaller --lr")
