"""The statistics of a comparison: spread over seeds, paired differences with two intervals, and Holm's correction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
#: Below this many common seeds no interval is claimed: a t interval over two pairs says next to nothing.
FEWEST_SEEDS = 3
RESAMPLES = 9999
_CELLS_AT_ONCE = 4_000_000


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
    test = stats.ttest_1samp(differences, 0.0)
    interval = test.confidence_interval(CONFIDENCE)
    return Difference(mean, float(interval.low), float(interval.high), float(test.pvalue))


def difference_over_clips(correct_a: np.ndarray, correct_b: np.ndarray) -> Difference | None:
    """Mean of ``a - b`` with a paired percentile bootstrap over clips, the seeds averaged first.

    `correct_a` and `correct_b` are boolean or 0/1 arrays ``[seeds, clips]`` over the same clips in the same order. The
    resampling is seeded, so a table printed twice is the same table. p is twice the smaller tail of the resampled means
    at zero, a resample of the data themselves counted in: never below ``2 / (RESAMPLES + 1)``. None below two clips.
    """
    per_clip = np.asarray(correct_a, dtype=float).mean(axis=0) - np.asarray(correct_b, dtype=float).mean(axis=0)
    if per_clip.size < 2:
        return None
    mean = float(per_clip.mean())
    if not np.ptp(per_clip):
        return Difference(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    result = stats.bootstrap(
        (per_clip,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, _CELLS_AT_ONCE // per_clip.size),
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(0),
    )
    means = result.bootstrap_distribution
    # Resampled sums of thirds and the like miss zero by rounding only: such a mean lies on both sides.
    tail = int(min(np.count_nonzero(means <= 1e-12), np.count_nonzero(means >= -1e-12)))
    interval = result.confidence_interval
    return Difference(mean, float(interval.low), float(interval.high), min(1.0, 2 * (tail + 1) / (RESAMPLES + 1)))


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
