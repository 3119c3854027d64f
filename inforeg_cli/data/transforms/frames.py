"""Which frames of a clip are seen: `count` of T, ascending; all of them, some repeated, where there are fewer."""

import numpy as np
import torch
from torch import Tensor

from inforeg_cli.data.transforms.base import drawn


def centres(lengths: np.ndarray, count: int) -> np.ndarray:
    """The frame in the middle of each of `count` equal segments of clips with `lengths` ``[N]`` frames: ``[N, count]``."""
    return (2 * np.arange(count) + 1) * lengths[:, None] // (2 * count)


def one_a_segment(lengths: np.ndarray, count: int, keys: Tensor, *seed_parts: str | int) -> np.ndarray:
    """One frame at random from each of `count` segments, equal but for the rounding (TSN, ECCV 2016): ``[N, count]``."""
    bounds = np.arange(count + 1) * lengths[:, None] // count
    chosen = bounds[:, :-1] + _up_to(np.diff(bounds), _numbers(keys, count, *seed_parts))
    return _where_enough(lengths, count, chosen)


def at_random(lengths: np.ndarray, count: int, keys: Tensor, *seed_parts: str | int) -> np.ndarray:
    """`count` different frames, each set of them as likely as any other: ``[N, count]``.

    Floyd's algorithm (Bentley and Floyd, CACM 1987): as many draws as frames are wanted, whatever a clip's length.
    """
    numbers = _numbers(keys, count, *seed_parts)
    chosen = np.full((len(lengths), count), -1, dtype=np.int64)
    for place in range(count):
        last = lengths - count + place
        picked = _up_to(last + 1, numbers[:, place])
        taken = (chosen == picked[:, None]).any(axis=1)
        chosen[:, place] = np.where(taken, last, picked)
    return _where_enough(lengths, count, np.sort(chosen, axis=1))


def _numbers(keys: Tensor, count: int, *seed_parts: str | int) -> np.ndarray:
    return drawn(keys, count, *seed_parts).to(torch.float64).numpy()


def _up_to(bound: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) as whole ones in [0, bound): in float64, so that none is rounded up to the bound."""
    return np.floor(bound * number).astype(np.int64)


def _where_enough(lengths: np.ndarray, count: int, chosen: np.ndarray) -> np.ndarray:
    return np.where((lengths > count)[:, None], chosen, centres(lengths, count))
