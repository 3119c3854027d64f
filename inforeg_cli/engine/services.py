"""What a method may ask of the engine before an epoch: features of train clips, and probes of single branches."""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inforeg_cli import seeds
from inforeg_cli.config import Experiment, Record
from inforeg_cli.data.splits import carve, shared_groups
from inforeg_cli.data.store import Store
from inforeg_cli.engine.build import build_model
from inforeg_cli.engine.evaluate import predict
from inforeg_cli.engine.guard import Diverged, Stopped
from inforeg_cli.engine.loop import Loop
from inforeg_cli.errors import Misuse
from inforeg_cli.methods import Joint
from inforeg_cli.models.fusion import Concat, build_fusion
from inforeg_cli.models.late_fusion import LateFusion
from inforeg_cli.progress import Silent
from inforeg_cli.step import Curve
from inforeg_cli.window import Window

#: The share of train that a method with probes neither trains on nor lets them train on.
HELD_OUT = 0.1


def training_splits(experiment: Experiment, store: Store) -> dict[str, np.ndarray]:
    """The clips of train, val and test, ascending; where the method needs it, ``held_out`` is taken out of train:
    stratified by class, and by whole groups where the scheme keeps groups together. Raises Misuse where train cannot
    spare a clip."""
    scheme, label = experiment.data.scheme, experiment.data.label
    splits = {name: store.split(scheme, name) for name in ("train", "val", "test")}
    if "held out" not in experiment.method.requires or experiment.is_baseline:
        return splits
    train, groups = splits["train"], None
    if store.groups is not None:
        given = np.full(len(store), None, dtype=object)
        for name, clips in splits.items():
            given[clips] = name
        if not shared_groups(list(given), list(store.groups)):
            groups = [str(group) for group in store.groups[train]]
    keys = [str(key) for key in store.ids[train]]
    taken = carve(list(store.labels(label)[train]), groups, HELD_OUT, store.splits_seed, keys)
    if not taken.any():
        what = "all its clips belong to too few groups" if groups else "no class has two clips"
        raise Misuse(
            f"method '{experiment.method.name}' holds out a part of train, which the scheme '{scheme}' of {store.name} "
            f"cannot spare: {what}"
        )
    return {**splits, "train": train[~taken], "held_out": train[taken]}


class Probing:
    """The services of one training. Probes are copies: they share nothing with the training but the clips.

    What is done of an epoch's probes stands in the state, so that an interrupted training asks for all of them again
    and goes on in the middle of the one that was interrupted.
    """

    def __init__(self, loop: Loop, store: Store, splits: Mapping[str, np.ndarray], save: Callable[[], None]):
        """save: writes a checkpoint; called after every epoch of a probe."""
        self._loop, self._store, self._splits, self._save = loop, store, splits, save
        self.classes = loop.running.classes
        self._said: Callable[[str], None] = Silent().said
        self._epoch, self._asked = -1, 0
        self._done: list[dict[str, float]] = []
        self._current: dict[str, Any] | None = None

    def begin(self, progress: Silent) -> "Probing":
        """Before each epoch of the training."""
        self._said, self._asked = progress.said, 0
        if self._epoch != self._loop.epoch:
            self._epoch, self._done, self._current = self._loop.epoch, [], None
        return self

    @torch.no_grad()
    def features(self, share: float) -> tuple[dict[str, Tensor], Tensor]:
        """See `step.Services`. The same clips every time, at least one; on the device, in float32."""
        loop, train = self._loop, self._splits["train"]
        order = seeds.permutation(len(train), loop.experiment.seed, "features")
        chosen = torch.from_numpy(train)[order[: max(1, math.floor(share * len(train)))]]
        was_training = loop.model.training
        loop.model.eval()
        found = []
        for batch in loop.clips.batches(chosen, loop.experiment.batch_size):
            features = loop.model.encode(batch.inputs, batch.lengths)
            found.append(({name: value.float() for name, value in features.items()}, batch.target))
        loop.model.train(was_training)
        names = found[0][0]
        return {name: torch.cat([part[name] for part, _ in found]) for name in names}, torch.cat([y for _, y in found])

    def probe(self, branch: str | None, epochs: int | None = None, *, afresh: bool = False) -> Curve:
        """See `step.Services`."""
        self._asked += 1
        if self._asked <= len(self._done):
            return Curve(**self._done[self._asked - 1])
        loop, before = self._branch(branch, afresh), None
        last = min(loop.experiment.epochs, loop.epoch + (loop.experiment.epochs if epochs is None else epochs))
        if self._current is not None:
            before = self._current["before"]
            loop.load_state_dict(self._current["loop"])
        what = branch or "all modalities"
        self._said(f"probing {what} alone, epochs {loop.epoch} to {last - 1}")
        before = before or self._losses(loop)
        after = [math.nan, math.nan]  # what a branch has that diverges
        try:
            while loop.epoch < last:
                loop.train_epoch(Silent())
                loop.close_epoch(dict.fromkeys(loop.history, 0.0))
                self._current = {"before": before, "loop": loop.state_dict()}
                self._save()
            after = self._losses(loop)
        except Stopped:
            self._current = {"before": before, "loop": loop.state_dict()}
            raise
        except Diverged:
            self._said(f"{what} alone diverged")
        curve = Curve(before[0], before[1], after[0], after[1])
        self._done.append(asdict(curve))
        self._current = None
        return curve

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "done": list(self._done), "current": self._current}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._epoch, self._done, self._current = state["epoch"], list(state["done"]), state["current"]

    def _losses(self, loop: Loop) -> list[float]:
        """Mean negative log-likelihoods per clip, in eval mode, on what is trained on and on what is held out."""
        found = []
        for split in ("train", "held_out"):
            predictions = predict(
                loop.model, loop.clips, self._splits[split], loop.experiment.batch_size,
                precision=loop.experiment.precision, after_batch=loop.stop.check,
            )  # fmt: skip
            found.append(predictions.scores()["loss"])
        return found

    def _branch(self, branch: str | None, afresh: bool) -> Loop:
        """A loop of its own over a copy of the branch; its optimiser starts anew."""
        main, clips = self._loop, self._loop.clips
        model = build_model(main.experiment, self._store, main.device)[1] if afresh else main.model
        if branch is None:
            experiment, model = _alone(main.experiment, main.experiment.modalities), deepcopy(model)
        else:
            experiment, model, clips = (
                _alone(main.experiment, (branch,)),
                _unimodal(model, branch),
                clips.only([branch]),
            )
        loop = Loop(experiment, model, clips, self._splits["train"], self.classes, main.stop)
        loop.epoch = 0 if afresh else main.epoch
        return loop


def _alone(experiment: Experiment, modalities: tuple[str, ...]) -> Experiment:
    """Joint training of these modalities by the fused loss, as the experiment trains otherwise."""
    return experiment.model_copy(
        update={
            "modalities": modalities,
            "method": Joint.Config(),
            "unimodal_losses": "none",
            "window": Window(),
            "record": Record(test_curve=False, trace=False),
        }
    )


def _unimodal(model: LateFusion, modality: str) -> LateFusion:
    """A copy of the modality's encoder with a copy of its own head for all that follows; no other encoder is there."""
    encoder, head = deepcopy(model.encoders[modality]), model.heads[modality]
    fusion = build_fusion(Concat.Config(), {modality: head.in_features}, head.out_features)
    fusion.load_state_dict({"head.weight": head.weight, "head.bias": head.bias})
    return LateFusion({modality: encoder}, fusion.to(head.weight))
