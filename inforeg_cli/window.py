"""When a method is active: in every epoch, in each modality's prime learning window, in the rest, or in a range of epochs."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, field_validator

from inforeg_cli.settings import Settings

_RANGE = re.compile(r"(\d+)-(\d+)")


class Window(Settings):
    """The epochs in which a method acts. Epochs count from 0, and ranges include both ends.

    when: ``whole``, ``prime`` (eq. 11), ``other`` (the rest), or ``first-last``, e.g. ``0-9``.
    K: how fast a trace must grow for its window to be open.
    smooth: compare means of the last `smooth` traces; 1 is the paper's rule.
    zero_padded: traces before the first count as zero, where otherwise means are taken over those there are.
    warmup: whether epochs 0 and 1, which have no two traces behind them, are ``closed`` (Algorithm 1) or ``open``.
    leader: the modality whose trace decides for all; without one each decides for itself.
    """

    when: str = "whole"
    K: float = 0.04
    smooth: int = Field(1, ge=1)
    zero_padded: bool = False
    warmup: Literal["closed", "open"] = "closed"
    leader: str | None = None

    @field_validator("when")
    @classmethod
    def _known(cls, when: str) -> str:
        found = _RANGE.fullmatch(when)
        if when not in ("whole", "prime", "other") and not found:
            raise ValueError(f"'{when}' is no window: whole, prime, other, or a range of epochs such as 0-9")
        if found and int(found[1]) > int(found[2]):
            raise ValueError(f"the range '{when}' is empty: its first epoch is after its last")
        return when

    def is_prime(self, traces: Sequence[float]) -> bool:
        """Whether epoch t = ``len(traces)`` lies in the prime learning window of the modality with these traces (eq. 11)."""
        if len(traces) < 2:
            return self.warmup == "open"
        recent, previous = self._mean(traces), self._mean(traces[:-1])
        return recent > 0 and (recent - previous) / recent > self.K

    def _mean(self, traces: Sequence[float]) -> float:
        last = traces[-self.smooth :]
        return sum(last) / (self.smooth if self.zero_padded else len(last))

    def open_modalities(self, traces: Mapping[str, Sequence[float]], per_modality: bool) -> frozenset[str]:
        """The modalities whose window is open in epoch t, given each one's traces of the epochs 0 to t - 1.

        A method without windows per modality acts on all of them while any one's prime window is open.
        """
        everything = frozenset(traces)
        if self.when == "whole":
            return everything
        if found := _RANGE.fullmatch(self.when):
            epoch = len(next(iter(traces.values())))
            return everything if int(found[1]) <= epoch <= int(found[2]) else frozenset()
        prime = frozenset(name for name in traces if self.is_prime(traces[self.leader or name]))
        if not per_modality:
            prime = everything if prime else prime
        return prime if self.when == "prime" else everything - prime
