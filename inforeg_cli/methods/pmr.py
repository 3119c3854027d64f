"""PMR: prototypical modal rebalance (Fan et al., CVPR 2023)."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from inforeg_cli.methods.base import Method, Options, option, services_of
from inforeg_cli.numerics import prototypes
from inforeg_cli.step import Epoch, Step


class PMR(Method):
    """Adds to the loss of every modality but the leading one how badly its features tell the classes' prototypes apart.

    A prototype is the mean feature of a class over a share of the train clips, renewed before every epoch in which the
    window is open. A modality leads whose features give the true class the highest probability, softmax over minus the
    distance to each prototype.

    ``weights = "hard"`` is the released code: alpha for all who do not lead. ``"clip"`` is as the paper is reported to
    have it: alpha times by how much they fall short. `entropy` is the strength of the leader's entropy term (PER), which
    the released code lacks. Deviations: the share of train is fixed and counted by class, not the first batches of a
    shuffled epoch; prototypes are those of the encoders' features for every fusion; more than two modalities are ours.
    """

    paper = "https://arxiv.org/abs/2211.07089"
    changes = "loss: those who lag are drawn to their classes' prototypes"
    cost = "1 forward, 1 backward; before each epoch a forward of a share of train"
    equations = (
        prototypes.similarities,
        prototypes.prototype_losses,
        prototypes.weights_hard,
        prototypes.weights_clip,
        prototypes.entropy_weights,
        prototypes.update,
    )

    class Config(Options):
        name: Literal["pmr"] = "pmr"
        alpha: float = option(
            2.0, "weight of the prototype losses", "the released script for CREMA-D, concat and sum", ge=0
        )
        momentum: float = option(
            0.2, "how much of an old prototype stays", "the released code's default; its scripts set 0", ge=0, lt=1
        )
        weights: Literal["hard", "clip"] = option(
            "hard", "of those who lag: all alike, or by how far", "the released code; clip is reported of the paper"
        )
        entropy: float = option(0.0, "strength of the leader's entropy term (PER)", "the released code has none", ge=0)
        share: float = option(0.1, "of train, for prototypes", "the released code: a tenth of the batches", gt=0, le=1)

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._prototypes: dict[str, Tensor] = {}
        self._seen = torch.zeros(0, dtype=torch.bool)

    @torch.no_grad()
    def epoch_start(self, epoch: Epoch) -> None:
        super().epoch_start(epoch)
        if not epoch.open:
            return
        services = services_of(epoch, "pmr takes its prototypes from features of train clips")
        features, target = services.features(self.config.share)
        classes = services.classes
        if not self._prototypes:
            self._seen = torch.zeros(classes, dtype=torch.bool, device=target.device)
            self._prototypes = {name: z.new_zeros(classes, z.shape[1]) for name, z in features.items()}
        seen = self._seen
        for name, feature in features.items():
            sums, counts = prototypes.class_sums(feature, target, classes)
            # Before epochs 0 and 1 nothing is smoothed, as in the released code.
            self._prototypes[name], self._seen = prototypes.update(
                self._prototypes[name], seen, sums, counts, self.config.momentum, replace=epoch.index <= 1
            )

    def objective(self, step: Step) -> Tensor:
        features = step.outputs.features
        similarities = torch.stack(
            [prototypes.similarities(features[name], self._prototypes[name], self._seen) for name in self.parameters]
        )
        scores = step.mean(prototypes.true_class_probabilities(similarities, step.target))
        weigh = {"hard": prototypes.weights_hard, "clip": prototypes.weights_clip}[self.config.weights]
        weights = weigh(scores, self.config.alpha)
        added = weights @ prototypes.prototype_losses(similarities, step.target, self._seen)
        changed = weights > 0
        if self.config.entropy:
            leading = prototypes.entropy_weights(scores, self.config.entropy)
            added = added - leading @ prototypes.entropies(similarities)
            changed = changed | (leading > 0)
        self.tally(score=scores, weight=weights, regulated=changed.to(weights))
        return super().objective(step) + added

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "prototypes": dict(self._prototypes), "seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._prototypes, self._seen = dict(state["prototypes"]), state["seen"]
