"""G-Blending: gradient blending (Wang, Tran and Feiszli, "What Makes Training Multi-Modal Classification Networks Hard?",
CVPR 2020)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import torch
from pydantic import NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor
from torch.nn import Parameter

from inforeg_cli.errors import Misuse
from inforeg_cli.methods.base import Method, Options, option, services_of, unimodal_losses
from inforeg_cli.numerics.blending import blending_weights
from inforeg_cli.step import Epoch, Step

#: The name of the fused loss among the weights.
FUSED = "fused"


class FusedOnly(Method):
    """Trains the fused loss alone, whatever heads there are."""

    def objective(self, step: Step) -> Tensor:
        return step.losses.fused


class GBlending(Method):
    """Trains a weighted sum of the fused and the unimodal losses; a branch's weight is what it gains in generalisation
    over the square of what it overfits, both found by training each branch alone and looking at held-out clips.

    ``estimate = "offline"``: once, from the initial weights, over as many epochs as the training has; ``"online"``:
    before every `super_epoch` epochs, over as many, from the weights as they are. `weights`, by modality and ``fused``,
    are taken instead where they are given (the released code has no estimator and knows only this).

    Deviations: a tenth of train is held out from the training and its probes, and that is what the gain is measured on;
    weights sum to 1 (to 2 in the paper's proposition).
    """

    paper = "https://arxiv.org/abs/1905.12681"
    changes = "loss: fused and unimodal losses weighted; schedule: probes of each branch alone come first"
    cost = "1 forward, 1 backward; probes train everything once more together, and each modality alone"
    equations = (blending_weights,)

    class Config(Options):
        name: Literal["g-blending"] = "g-blending"
        estimate: Literal["offline", "online"] = option(
            "offline", "weights once, before the training, or every super-epoch anew", "ours: the paper has both"
        )
        super_epoch: PositiveInt = option(10, "epochs between two online estimates", "BalanceBenchmark")
        weights: dict[str, NonNegativeFloat] | None = option(
            None, "given, by modality and 'fused', in place of estimates", "the paper estimates them"
        )

        @property
        def requires(self) -> frozenset[str]:
            return frozenset({"own heads"} if self.weights else {"own heads", "held out"})

        @property
        def baseline_losses(self) -> str | None:
            return "none"

        @model_validator(mode="after")
        def _some_weight(self) -> Self:
            if self.weights is not None and not sum(self.weights.values()):
                raise ValueError("weights are all 0: nothing would be trained")
            return self

    @classmethod
    def check(cls, config: Options, modalities: Sequence[str]) -> None:
        named = {*modalities, FUSED}
        if config.weights is not None and set(config.weights) != named:
            raise Misuse(
                f"method.weights names {', '.join(config.weights)}: give one for each of {', '.join([*modalities, FUSED])}"
            )

    def baseline(self) -> Method:
        return FusedOnly()

    def setup(self, parameters: Mapping[str, Sequence[Parameter]], **required: Any) -> None:
        super().setup(parameters, **required)
        self._device = next(parameter.device for group in self.parameters.values() for parameter in group)
        self._weights = torch.zeros(0)  # of every modality, then of the fused loss
        self._since = 0  # the epoch before which they were found
        if len(parameters) > 1:
            self.check(self.config, list(parameters))
            given = self.config.weights
        else:  # one modality alone trains jointly
            given = dict.fromkeys(parameters, 0.0) | {FUSED: 1.0}
        if given is not None:
            weights = torch.tensor([given[name] for name in [*parameters, FUSED]], device=self._device)
            self._weights = weights / weights.sum()
        self._given = given is not None

    def epoch_start(self, epoch: Epoch) -> None:
        super().epoch_start(epoch)
        if epoch.open and self._due(epoch.index):
            self._weights, self._since = self._estimated(epoch).to(self._device), epoch.index

    def _due(self, epoch: int) -> bool:
        if self._given:
            return False
        online = self.config.estimate == "online"
        return not len(self._weights) or (online and epoch - self._since >= self.config.super_epoch)

    def _estimated(self, epoch: Epoch) -> Tensor:
        services = services_of(epoch, "g-blending finds its weights by probes (or is given method.weights)")
        online = self.config.estimate == "online"
        epochs = self.config.super_epoch if online else None
        curves = [services.probe(branch, epochs, afresh=not online) for branch in [*self.parameters, None]]
        losses = torch.tensor(
            [(c.train_before, c.held_out_before, c.train_after, c.held_out_after) for c in curves], dtype=torch.float64
        )
        return blending_weights(*losses.unbind(dim=1)).float()

    def objective(self, step: Step) -> Tensor:
        losses = unimodal_losses(step, self.parameters, "g-blending weighs a loss a modality")
        own, fused = self._weights[:-1], self._weights[-1]
        self.tally(weight=own, regulated=((own > 0) | (fused != 1)).to(own))
        weighted = (weight * loss for weight, loss in zip(own.unbind(), losses, strict=True))
        return sum(weighted, fused * step.losses.fused)

    def diagnostics(self) -> dict[str, float]:
        found = super().diagnostics()
        return {**found, f"weight.{FUSED}": float(self._weights[-1])} if found else found

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "weights": self._weights, "since": self._since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._weights, self._since = state["weights"], state["since"]
