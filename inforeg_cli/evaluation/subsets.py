"""What a model says with every subset of its modalities present, and what that makes each of them worth."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inforeg_cli.data.batches import Batch, Clips
from inforeg_cli.engine.metrics import scores
from inforeg_cli.errors import Misuse
from inforeg_cli.evaluation.passes import measuring
from inforeg_cli.models.late_fusion import LateFusion
from inforeg_cli.numerics.contribution import imbalance, shapley_values

#: With more modalities there are too many subsets to score them all.
MOST_MODALITIES = 6


@dataclass(frozen=True)
class Subsets:
    """Of N clips: store rows `index` ``[N]``, classes `target` ``[N]``, and the fused output's log-probabilities
    ``[2^M, N, C]`` with a subset of the modalities present: modality m where bit m of the first index is set, so that
    entry 0 has none of them and the last has all."""

    modalities: tuple[str, ...]
    index: np.ndarray
    target: np.ndarray
    log_probabilities: np.ndarray

    def present(self, code: int) -> list[str]:
        return [name for m, name in enumerate(self.modalities) if code >> m & 1]

    def missing(self) -> list[dict[str, Any]]:
        """``{"present": [modalities], "accuracy", "macro_f1", "log_likelihood"}`` of each subset: all modalities first,
        then one missing, and so on to none; the log-likelihood is the mean over clips of log p(true class), in nats."""
        codes = sorted(range(len(self.log_probabilities)), key=lambda code: (-code.bit_count(), code))
        return [{"present": self.present(code), **self._scores[code]} for code in codes]

    def contribution(self) -> dict[str, Any]:
        """``{"shapley": {score: {modality: value}}, "imbalance": {score: index or None}}`` for the scores ``accuracy`` and
        ``log_likelihood`` (see `numerics.contribution`); ``empty`` and ``full`` are the scores between which the values of
        all modalities lead."""
        found: dict[str, Any] = {"shapley": {}, "imbalance": {}, "empty": {}, "full": {}}
        for score in ("accuracy", "log_likelihood"):
            values = torch.tensor([row[score] for row in self._scores], dtype=torch.float64)
            each = shapley_values(values)
            found["shapley"][score] = dict(zip(self.modalities, each.tolist(), strict=True))
            found["imbalance"][score] = imbalance(each)
            found["empty"][score], found["full"][score] = float(values[0]), float(values[-1])
        return found

    @property
    def _scores(self) -> list[dict[str, float]]:
        classes = self.log_probabilities.shape[-1]
        found = []
        for values in self.log_probabilities:
            cells = self.target * classes + values.argmax(axis=1)
            counts = np.bincount(cells, minlength=classes**2).reshape(classes, classes)
            true_class = values[np.arange(len(self.target)), self.target]
            likelihood = float(true_class.mean(dtype=np.float64))
            found.append({**scores(torch.from_numpy(counts)), "log_likelihood": likelihood})
        return found


def subsets_of(
    model: LateFusion, clips: Clips, indices: np.ndarray, batch_size: int, *, precision: str = "fp32"
) -> Subsets:
    """Score the store rows `indices` with every subset of the modalities present. An absent one is zeros to its encoder,
    after transforms and normalisation, and a sequence of length 0.

    Each encoder sees the clips once, and nothing once; only the fusion runs for every subset. Where encoders exchange
    features they all run again for each. Raises Misuse for more than `MOST_MODALITIES` modalities.
    """
    if len(model.modalities) > MOST_MODALITIES:
        raise Misuse(
            f"contribution and missing modalities are scored over all subsets, of {MOST_MODALITIES} modalities at most, "
            f"and this run has {len(model.modalities)}: choose other measures with --only"
        )
    logits, targets = [], []
    every = _exchanging if model.exchange is not None else _separate
    with measuring(model, clips.device, precision):
        for target, found in every(model, clips.batches(torch.from_numpy(indices), batch_size)):
            logits.append(found.float().log_softmax(dim=-1))
            targets.append(target)
    joined = torch.cat(logits, dim=1).cpu().numpy()
    return Subsets(model.modalities, indices, torch.cat(targets).cpu().numpy(), joined)


def _absent(model: LateFusion, code: int) -> frozenset[str]:
    return frozenset(name for m, name in enumerate(model.modalities) if not code >> m & 1)


def _separate(model: LateFusion, batches: Iterator[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each batch the classes ``[B]``, and the logits ``[2^M, B, C]`` of all subsets."""
    missing, nothing = [_absent(model, code) for code in range(2 ** len(model.modalities))], None
    for batch in batches:
        if nothing is None:  # the same for every clip, since an encoder in eval mode sees each by itself
            nothing = _features_of_nothing(model, batch)
        features = model.encode(batch.inputs, batch.lengths)
        zeros = {name: value.expand(len(batch.target), -1) for name, value in nothing.items()}
        logits = [model.join(features | {name: zeros[name] for name in absent}).fused for absent in missing]
        yield batch.target, torch.stack(logits)


def _exchanging(model: LateFusion, batches: Iterator[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
    codes = range(2 ** len(model.modalities))
    for batch in batches:
        passes = [model(batch.inputs, batch.lengths, absent=_absent(model, code)).fused for code in codes]
        yield batch.target, torch.stack(passes)


def _features_of_nothing(model: LateFusion, batch: Batch) -> dict[str, Tensor]:
    """What each encoder makes of an absent modality, ``[1, D_m]``, by the shapes of `batch`."""
    first = {name: x[:1] for name, x in batch.inputs.items()}
    lengths = {name: n[:1] for name, n in batch.lengths.items()}
    return dict(model(first, lengths, absent=frozenset(model.modalities)).features)
