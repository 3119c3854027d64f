"""Computational sequences, the files of the CMU Multimodal SDK: HDF5, for each video features and their times.

Inside lies ``/<root>/data/<video>/features`` ``[T, D]`` and ``.../intervals`` ``[T, 2]`` in seconds (Zadeh et al., 2018,
https://github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from inforeg_cli.errors import Misuse, first_line

#: Numbers of one video that are taken for real: five hours of COVAREP.
_MOST_NUMBERS = 1 << 27


@dataclass(frozen=True)
class Steps:
    """What one video's sequence holds: `features` ``[T, D]``, and when each step begins and ends, ``[T, 2]`` in seconds."""

    features: np.ndarray
    intervals: np.ndarray

    @property
    def middles(self) -> np.ndarray:
        return self.intervals.mean(axis=1)

    def sorted(self) -> "Steps":
        """In the order of time."""
        order = np.argsort(self.middles, kind="stable")
        return Steps(self.features[order], self.intervals[order])

    def within(self, begin: float, end: float) -> "Steps":
        """Those whose middle lies in ``[begin, end)``."""
        kept = (begin <= self.middles) & (self.middles < end)
        return Steps(self.features[kept], self.intervals[kept])

    def averaged(self, intervals: np.ndarray) -> np.ndarray:
        """For each of `intervals` ``[N, 2]`` the mean of the steps whose middle lies in it, float32 ``[N, D]``: zeros
        where there is none. The steps must be sorted."""
        first, last = np.searchsorted(self.middles, intervals).T
        means = np.zeros((len(intervals), self.features.shape[1]), np.float32)
        for row, (begin, end) in enumerate(zip(first, last, strict=True)):
            if begin < end:
                means[row] = self.features[begin:end].mean(axis=0, dtype=np.float64)
        return means


class ComputationalSequence:
    """An open file: the videos it holds, and each one's steps when they are asked for."""

    def __init__(self, path: Path, data: h5py.Group):
        self.path, self._data = path, data
        self.videos: tuple[str, ...] = tuple(data)

    def __contains__(self, video: str) -> bool:
        return video in self._data

    def __getitem__(self, video: str) -> Steps:
        """Raises Misuse where the video's features and intervals are absent, damaged or do not belong together."""
        where = f"{self.path}: video {video}"
        features, intervals = (self._read(video, name, where) for name in ("features", "intervals"))
        if features.ndim != 2 or intervals.shape != (len(features), 2):
            shapes = f"{list(features.shape)} and {list(intervals.shape)}"
            raise Misuse(f"{where}: features and intervals are {shapes}, where [T, D] and [T, 2] belong together")
        if not np.isfinite(intervals).all():
            raise Misuse(f"{where}: an interval is not finite")
        return Steps(features, intervals.astype(np.float64))

    def _read(self, video: str, name: str, where: str) -> np.ndarray:
        try:
            found = self._data[video][name]
            if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "biuf":
                raise Misuse(f"{where}: {name} are no numbers")
            # Neither may a file name others whose bytes are read in its stead, nor claim numbers that it has not got.
            if found.external or found.is_virtual or found.file != self._data.file or found.size > _MOST_NUMBERS:
                raise Misuse(f"{where}: {name} do not lie in the file itself")
            return found[()]
        except (KeyError, OSError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise Misuse(f"{where}: cannot read {name}: {first_line(error)}") from None


@contextmanager
def opened(path: Path) -> Iterator[ComputationalSequence]:
    """The computational sequence at `path`. Raises Misuse where there is none, or one that has been aligned already."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise Misuse(f"{path} is no computational sequence (HDF5): {first_line(error)}") from None
    with file:
        yield ComputationalSequence(path, _data(path, file))


def _data(path: Path, file: h5py.File) -> h5py.Group:
    try:
        (root,) = file.values()
        data: Any = root["data"]
        if not isinstance(data, h5py.Group) or not len(data):
            raise ValueError("data is empty")
        names = list(data)
    except (KeyError, ValueError, OSError, RuntimeError, TypeError, AttributeError) as error:
        raise Misuse(f"{path} is no computational sequence, with /<root>/data/<video>: {first_line(error)}") from None
    if aligned := next((name for name in names if "[" in name), None):
        raise Misuse(f"{path} has been aligned already ({aligned}): give the sequences as they are published")
    return data
