"""What the probabilities of clips are worth: accuracy and its kin, calibration, and intervals over clips."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from inforeg_cli.measures import CALIBRATION_BINS, TOP_5_ABOVE
from inforeg_cli.report.statistics import CONFIDENCE, resamples_of

_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def scores(outputs: Mapping[str, np.ndarray], target: np.ndarray) -> dict[str, dict[str, dict[str, float]]]:
    """By output each score of `measures.SCORES` that it has, as ``{"value", "low", "high"}`` with its 95 % interval.

    outputs: log-probabilities ``[N, C]``; target: classes ``[N]``. All scores are functions of sums over clips, so that
    a resample is a row of a matrix product; all outputs are scored on the same resamples.
    """
    sums = {name: _Sums(values, target) for name, values in outputs.items()}
    values = {name: one.scores(np.ones((1, len(target)))) for name, one in sums.items()}
    drawn = {name: {score: [] for score in found} for name, found in values.items()}
    for counts in resamples_of(len(target), np.float64):
        for name, one in sums.items():
            for score, part in one.scores(counts).items():
                drawn[name][score].append(part)
    return {
        name: {
            score: _interval(score, float(value[0]), np.concatenate(drawn[name][score]))
            for score, value in found.items()
        }
        for name, found in values.items()
    }


def _interval(score: str, value: float, resampled: np.ndarray) -> dict[str, float]:
    low, high = np.nanquantile(resampled, _TAILS)  # a resample of clips of one class has no AUROC
    if score == "ece":  # noise adds to it, so that resamples of the clips lie above the clips themselves
        low, high = max(0.0, 2 * value - high), max(0.0, 2 * value - low)
    return {"value": value, "low": float(low), "high": float(high)}


def confusion(log_probabilities: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Clips by true class (rows) and most probable one (columns), int64 ``[C, C]``."""
    classes = log_probabilities.shape[1]
    cells = target * classes + log_probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def by_class(counts: np.ndarray, classes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Precision, recall, F1 and the clips of each class from its confusions ``[C, C]``; None where there is no such
    number: the recall of a class without clips, the precision of one that is never chosen."""

    def share(part: np.ndarray, of: np.ndarray) -> float | None:
        return float(part / of) if of else None

    correct, true, chosen = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    return {
        name: {
            "precision": share(correct[index], chosen[index]),
            "recall": share(correct[index], true[index]),
            "f1": share(2 * correct[index], true[index] + chosen[index]),
            "clips": int(true[index]),
        }
        for index, name in enumerate(classes)
    }


class _Sums:
    """What of N clips is to be summed, and the scores of such sums."""

    def __init__(self, log_probabilities: np.ndarray, target: np.ndarray):
        clips, self.classes = log_probabilities.shape
        wide = log_probabilities.astype(np.float64)
        chosen = wide.argmax(axis=1)
        confidence = np.exp(wide.max(axis=1)).clip(max=1.0)
        each, right = np.arange(clips), chosen == target
        one = np.eye(self.classes)
        bins = np.zeros((clips, CALIBRATION_BINS))
        # Bin b holds confidences in (b / 15, (b + 1) / 15].
        bins[each, np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1] = confidence - right
        self._columns = {
            "true": one[target],
            "chosen": one[chosen],
            "correct": one[target] * right[:, None],
            "bins": bins,
            "nll": -wide[each, target][:, None],
        }
        if self.classes > TOP_5_ABOVE:
            better = (wide > wide[each, target][:, None]).sum(axis=1)
            self._columns["top5"] = (better < 5)[:, None].astype(np.float64)
        self._order = None
        if self.classes == 2:
            score = wide[:, 1] - wide[:, 0]
            self._order = np.argsort(score, kind="stable")
            ordered = score[self._order]
            self._ties = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
            self._positive = target[self._order] == 1

    def scores(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Of clips that count ``[R, N]`` times, ``[R]`` each."""
        sums = {name: counts @ column for name, column in self._columns.items()}
        clips = counts.sum(axis=1)
        gaps = sums["bins"]
        found = {
            "accuracy": sums["correct"].sum(axis=1) / clips,
            "balanced_accuracy": _mean_of_present(sums["correct"], sums["true"]),
            "macro_f1": _mean_of_present(2 * sums["correct"], sums["true"] + sums["chosen"]),
            "nll": sums["nll"][:, 0] / clips,
            "ece": np.abs(gaps).sum(axis=1) / clips,
            "overconfidence": gaps.sum(axis=1) / clips,
        }
        if "top5" in sums:
            found["top5"] = sums["top5"][:, 0] / clips
        if self._order is not None and 0 < self._positive.sum() < len(self._positive):
            found["auroc"] = self._auroc(counts)
        return found

    def _auroc(self, counts: np.ndarray) -> np.ndarray:
        """The chance that a positive clip scores above a negative one, ties counting half; NaN without clips of both."""
        ordered = counts[:, self._order]
        positives = np.add.reduceat(ordered * self._positive, self._ties, axis=1)
        negatives = np.add.reduceat(ordered * ~self._positive, self._ties, axis=1)
        below = negatives.cumsum(axis=1) - negatives / 2
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        return np.divide((positives * below).sum(axis=1), pairs, out=np.full(len(counts), np.nan), where=pairs > 0)


def _mean_of_present(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """The mean over classes ``[R, C] -> [R]`` of part / whole, those left out whose whole is zero."""
    present = wholes > 0
    return np.divide(parts, wholes, out=np.zeros_like(parts), where=present).sum(axis=1) / present.sum(axis=1)
