"""How a model holds out while one of its modalities is damaged more and more: curves over ladders, and their areas."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inforeg_cli.data.batches import Batch, Clips
from inforeg_cli.data.store import Store
from inforeg_cli.data.transforms.damage import Chance
from inforeg_cli.evaluation.damage import Ladder, ladders_of
from inforeg_cli.evaluation.passes import measuring
from inforeg_cli.models.late_fusion import LateFusion


def damage_curves(
    model: LateFusion,
    clips: Clips,
    store: Store,
    indices: np.ndarray,
    train: np.ndarray,
    batch_size: int,
    *,
    modalities: Sequence[str] | None = None,
    seed: int = 0,
    precision: str = "fp32",
) -> dict[str, dict[str, dict[str, Any]]]:
    """Scores of the fused output on the store rows `indices` while one modality is damaged and the others are whole.

    ``{modality: {damage: {"label", "unit", "strengths", "accuracy", "log_likelihood", "area", "relative_area"}}}``. The
    lists go from no damage, whose strength is None, to the most severe; the log-likelihood is the mean of log p(true
    class), in nats. `area` is that under the accuracy, by the trapezoid rule over the ladder's steps, taken as equally
    far apart: a mean accuracy from whole to ruined, in [0, 1]. `relative_area` is the same of accuracies divided by that
    without damage, None where that is 0.

    The damage to a clip is a function of (`seed`, modality, damage, the clip's row in the store, strength): of no run, and
    of no batch. `train` are the store rows that statistics of features and motion are taken from. Whole modalities are
    encoded once; where encoders exchange features, all run again for each strength.
    """
    rows, found = torch.from_numpy(indices), {}
    with measuring(model, clips.device, precision):
        whole = _whole(model, clips, rows, batch_size)
        for name in modalities or model.modalities:
            ladders = ladders_of(store, name, train, clips.device)
            sequence = store.modalities[name].sequence
            tallies = {ladder.name: [_Tally() for _ in (None, *ladder.strengths)] for ladder in ladders}
            for batch, (raw, extent) in zip(whole(), clips.stored(name, rows, batch_size), strict=True):
                clean = model.join(batch.features).fused
                for ladder in ladders:
                    tallies[ladder.name][0].add(clean, batch.target)
                    chance = Chance(batch.index, (seed, "damage", name, ladder.name))
                    at = ladder.on(raw, extent, chance)
                    for tally, strength in zip(tallies[ladder.name][1:], ladder.strengths, strict=True):
                        damaged, remaining = at(strength)
                        inputs = clips.transforms[name].eval()(damaged, remaining)
                        features = batch.replaced(model, name, inputs, remaining if sequence else None)
                        tally.add(model.join(features).fused, batch.target)
            found[name] = {ladder.name: _curve(ladder, tallies[ladder.name]) for ladder in ladders}
    return found


def area(values: Sequence[float]) -> float:
    """Under the curve through `values` at equal steps over a unit length, by the trapezoid rule."""
    return float(np.trapezoid(np.asarray(values, dtype=np.float64), dx=1 / (len(values) - 1)))


@dataclass(frozen=True)
class _Whole:
    """Undamaged clips: store rows and classes ``[B]``, features and, where encoders exchange these, what they are made of."""

    index: Tensor
    target: Tensor
    features: Mapping[str, Tensor]
    batch: Batch | None

    def replaced(self, model: LateFusion, name: str, x: Tensor, lengths: Tensor | None) -> Mapping[str, Tensor]:
        """The features with other inputs of one modality."""
        if self.batch is None:
            return {**self.features, name: model.encoders[name](x, lengths)}
        of_all = self.batch.lengths if lengths is None else {**self.batch.lengths, name: lengths}
        return model.encode({**self.batch.inputs, name: x}, of_all)


def _whole(model: LateFusion, clips: Clips, rows: Tensor, batch_size: int) -> Callable[[], Iterable[_Whole]]:
    """All batches, as often as it is called; their features are computed once, if they can be kept without the inputs."""
    exchanging = model.exchange is not None

    def batches() -> Iterator[_Whole]:
        for batch in clips.batches(rows, batch_size):
            features = model.encode(batch.inputs, batch.lengths)
            yield _Whole(batch.index, batch.target, features, batch if exchanging else None)

    if exchanging:
        return batches
    kept = list(batches())
    return lambda: kept


class _Tally:
    """Right answers and log-probabilities of the true class, gathered on the device and read once."""

    def __init__(self) -> None:
        self._right: list[Tensor] = []
        self._likelihood: list[Tensor] = []

    def add(self, logits: Tensor, target: Tensor) -> None:
        values = logits.float().log_softmax(dim=-1)
        self._right.append(values.argmax(dim=-1) == target)
        self._likelihood.append(values.gather(1, target[:, None])[:, 0])

    def scores(self) -> tuple[float, float]:
        right, likelihood = (torch.cat(parts).cpu().numpy() for parts in (self._right, self._likelihood))
        return float(right.mean(dtype=np.float64)), float(likelihood.mean(dtype=np.float64))


def _curve(ladder: Ladder, tallies: Sequence[_Tally]) -> dict[str, Any]:
    accuracy, likelihood = zip(*(tally.scores() for tally in tallies), strict=True)
    under = area(accuracy)
    return {
        "label": ladder.label,
        "unit": ladder.unit,
        "strengths": [None, *ladder.strengths],
        "accuracy": list(accuracy),
        "log_likelihood": list(likelihood),
        "area": under,
        "relative_area": under / accuracy[0] if accuracy[0] else None,
    }
