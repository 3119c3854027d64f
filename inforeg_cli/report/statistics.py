"""The statistics of a comparison: spread over seeds, paired differences with two intervals, and Holm's correction."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

CONFIDENCE = 0.95
#: Below this many common seeds no interval is claimed: a t interval over two pairs says next to nothing.
FEWEST_SEEDS = 3
RESAMPLES = 9999
_CELLS_AT_ONCE = 4_000_000
#: Of one number of clips, resamples of so many cells in all are kept for the next table: 40 MB.
_MOST_KEPT = 20_000_000


@dataclass(frozen=True)
class Summary:
    """`n` values: their mean and sample standard deviation (ddof 1; None for a single value)."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """A mean paired difference, its 95 % interval, and the two-sided p-value of no difference."""

    mean: float
    low: float
    high: float
    p: float


def summarise(values: Iterable[float]) -> Summary | None:
    """The mean and spread of one value a seed; None where there is none."""
    array = np.asarray(list(values), dtype=float)
    if not array.size:
        return None
    return Summary(float(array.mean()), float(array.std(ddof=1)) if array.size > 1 else None, array.size)


def difference_over_seeds(a: Mapping[int, float], b: Mapping[int, float]) -> Difference | None:
    """Mean of ``a - b`` paired by common seed, with the paired t interval; None below `FEWEST_SEEDS` common seeds.

    Where every pair differs by the same amount the spread is zero and the interval a point: p is 1 at zero, else 0.
    """
    seeds = sorted(a.keys() & b.keys())
    if len(seeds) < FEWEST_SEEDS:
        return None
    differences = np.array([a[seed] - b[seed] for seed in seeds])
    mean = float(differences.mean())
    # Equal scores leave rounding errors of about 1e-16 in their differences: those are no spread.
    if np.ptp(differences) < 1e-12:
        return Difference(mean, mean, mean, 1.0 if abs(mean) < 1e-12 else 0.0)
    degrees = len(seeds) - 1
    error = float(differences.std(ddof=1)) / len(seeds) ** 0.5
    half = float(special.stdtrit(degrees, (1 + CONFIDENCE) / 2)) * error
    p = 2 * float(special.stdtr(degrees, -abs(mean) / error))
    return Difference(mean, mean - half, mean + half, p)


def difference_over_clips(correct_a: np.ndarray, correct_b: np.ndarray) -> Difference | None:
    """Mean of ``a - b`` with a paired percentile bootstrap over clips, the seeds averaged first.

    `correct_a` and `correct_b` are boolean or 0/1 arrays ``[seeds, clips]`` over the same clips in the same order. None
    below two clips.
    """
    per_clip = np.asarray(correct_a, dtype=float).mean(axis=0) - np.asarray(correct_b, dtype=float).mean(axis=0)
    if per_clip.size < 2:
        return None
    return difference_over_resamples(float(per_clip.mean()), resampled_means(per_clip[None])[0])


def difference_over_resamples(mean: float, resamples: np.ndarray) -> Difference:
    """A difference's percentile interval and p-value from its value in each resample ``[RESAMPLES]``.

    p is twice the smaller tail at zero, a resample of the data themselves counted in: never below ``2 / (RESAMPLES + 1)``
    but where all resamples say the same.
    """
    if np.ptp(resamples) < 1e-12:
        return Difference(mean, mean, mean, 1.0 if abs(mean) < 1e-12 else 0.0)
    # Resampled sums of thirds and the like miss zero by rounding only: such a value lies on both sides.
    tail = int(min(np.count_nonzero(resamples <= 1e-12), np.count_nonzero(resamples >= -1e-12)))
    low, high = np.quantile(resamples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Difference(mean, float(low), float(high), min(1.0, 2 * (tail + 1) / (RESAMPLES + 1)))


def resampled_means(values: np.ndarray) -> np.ndarray:
    """The means of each row of `values` ``[rows, clips]`` over `RESAMPLES` resamples of the clips: ``[rows, RESAMPLES]``."""
    columns = np.ascontiguousarray(np.asarray(values, dtype=float).T)
    return np.concatenate([counts @ columns for counts in resamples_of(len(columns), float)]).T / len(columns)


def resamples_of(clips: int, dtype: type) -> Iterator[np.ndarray]:
    """How often each of `clips` clips is in each resample, some resamples at a time: ``[some, clips]``.

    The draws are seeded, and the same for whatever is resampled: what is compared is paired, and a table printed twice is
    the same table.
    """
    draw = _kept if clips * RESAMPLES <= _MOST_KEPT else _draw
    return (counts.astype(dtype) for counts in draw(clips, RESAMPLES))


@lru_cache(maxsize=1)
def _kept(clips: int, resamples: int) -> list[np.ndarray]:
    return list(_draw(clips, resamples))


def _draw(clips: int, resamples: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(0)
    at_once = max(1, _CELLS_AT_ONCE // clips)
    for start in range(0, resamples, at_once):
        some = min(at_once, resamples - start)
        drawn = generator.integers(clips, size=(some, clips)) + clips * np.arange(some)[:, None]
        yield np.bincount(drawn.ravel(), minlength=some * clips).reshape(some, clips).astype(np.uint16)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given: reject where they are below the level.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Statist. 6 (1979).
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
