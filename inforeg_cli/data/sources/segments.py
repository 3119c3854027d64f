"""Scored segments of videos with their sequences of features, as the readers of CMU-MOSI's two forms hand them over."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inforeg_cli.data.problems import Problems
from inforeg_cli.errors import Misuse


@dataclass(frozen=True)
class Segment:
    """One opinion: `where` it is written, the video it is from, its part of the standard split, and its score."""

    id: str
    where: str
    video: str
    split: str
    score: float


@dataclass
class Segments:
    """All of them, by modality the steps of each, float32 ``[T, D]`` (None where there are none), and what had to be
    done to them."""

    arrays: dict[str, list[np.ndarray | None]]
    rows: list[Segment] = field(default_factory=list)
    warnings: Problems = field(default_factory=Problems)


class Cleaning:
    """Makes the sequences of one modality finite and as long as they truly are, and counts what it changed."""

    def __init__(self) -> None:
        self.numbers = self.empty = 0

    def finite(self, values: np.ndarray) -> np.ndarray:
        """0 for what is not finite (COVAREP has -inf); the same array where all is."""
        finite = np.isfinite(values)
        if finite.all():
            return values
        self.numbers += values.size - int(np.count_nonzero(finite))
        return np.where(finite, values, np.float32(0))

    def stripped(self, values: np.ndarray) -> np.ndarray:
        """Without the steps of zeros at either end, which pad; one of them stays where there is nothing else."""
        valid = np.flatnonzero(values.any(axis=1))
        if len(valid):
            return values[valid[0] : valid[-1] + 1]
        self.empty += 1
        return np.zeros((1, values.shape[1]), np.float32)

    def tell(self, where: str, warnings: Problems) -> None:
        if self.numbers:
            warnings.add(where, "numbers that are not finite became 0", f"{self.numbers:,}")
        if self.empty:
            warnings.add(where, "segments hold nothing but zeros, and keep one step of them", f"{self.empty:,}")


def numbers(values: Any, where: str) -> np.ndarray:
    """Steps as float32 ``[T, D]``; no copy of what is float32 already. Raises Misuse where they are something else."""
    try:
        found = np.asarray(values)
        if found.ndim == 2 and found.shape[1] and found.dtype.kind in "biuf":
            with np.errstate(over="ignore"):  # too large for float32 counts as not finite, and is told as that
                return found.astype(np.float32, copy=False)
        said = f"{list(found.shape)} of {found.dtype}"
    except ValueError as error:  # ragged
        said = str(error)
    raise Misuse(f"{where}: not a sequence of numbers [T, D] ({said:.120})")
