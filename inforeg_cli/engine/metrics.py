"""Metrics from confusion counts, gathered on the device without a host sync and read once an epoch; and the area under
the ROC curve, which needs every clip's score at once."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def scores(confusion: Tensor) -> dict[str, float]:
    """Accuracy and macro-F1 of counts ``[C, C]`` (row: true class, column: predicted).

    Macro-F1 is the plain mean of the classes' F1; a class that neither occurs nor is predicted is left out of it.
    """
    counts = confusion.double()
    correct, sizes = counts.diagonal(), counts.sum(0) + counts.sum(1)
    present = sizes > 0
    return {
        "accuracy": float(correct.sum() / counts.sum()),
        "macro_f1": float((2 * correct[present] / sizes[present]).mean()),
    }


def auroc(score: np.ndarray, positive: np.ndarray) -> float | None:
    """The area under the ROC curve of `score` ``[N]`` for the clips that are `positive`, bool ``[N]``.

    It is the chance that a positive clip scores above a negative one, ties counting half (the Mann-Whitney statistic;
    Hanley and McNeil, Radiology 143, 1982). None where there are clips of one kind only.
    """
    positives = int(np.count_nonzero(positive))
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    # From 1 on; equal scores share the mean of their ranks, so sums stay exact to a half.
    ranks = np.cumsum(counts) - (counts - 1) / 2
    above = ranks[place.ravel()][positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


class RunningScores:
    """Confusion counts of several outputs (fused, each modality's) and mean losses, summed over an epoch's steps."""

    def __init__(self, classes: int):
        self.classes = classes
        self._confusion: dict[str, Tensor] = {}
        self._losses: dict[str, Tensor] = {}
        self._clips = 0

    @torch.no_grad()
    def update(self, logits: Mapping[str, Tensor], losses: Mapping[str, Tensor], target: Tensor) -> None:
        stacked = torch.stack([value.detach() for value in logits.values()])
        cells = target * self.classes + stacked.argmax(dim=-1)  # [outputs, B]: which cell of its confusion matrix
        counts = torch.zeros(len(logits), self.classes**2, dtype=torch.int64, device=target.device)
        counts.scatter_add_(1, cells, torch.ones_like(cells))
        for name, count in zip(logits, counts.unbind(), strict=True):
            self._confusion[name] = self._confusion[name] + count if name in self._confusion else count
        for name, loss in losses.items():
            weighted = loss.detach() * len(target)
            self._losses[name] = self._losses[name] + weighted if name in self._losses else weighted
        self._clips += len(target)

    def row(self) -> dict[str, float]:
        """Metrics by name: ``accuracy``, ``head.<modality>.accuracy``, ``loss``, ``loss.<modality>``. Waits for the device."""
        found = {name: float(total) / self._clips for name, total in self._losses.items()}
        for name, counts in self._confusion.items():
            prefix = "" if name == "fused" else f"{name}."
            for metric, value in scores(counts.view(self.classes, self.classes)).items():
                found[prefix + metric] = value
        return found

    def state_dict(self) -> dict:
        return {"confusion": dict(self._confusion), "losses": dict(self._losses), "clips": self._clips}

    def load_state_dict(self, state: Mapping) -> None:
        self._confusion, self._losses = dict(state["confusion"]), dict(state["losses"])
        self._clips = state["clips"]
