"""G-Blending: gradient blending (Wang, Tran and Feiszli, "What Makes Training Multi-Modal Classification Networks Hard?",
CVPR 2020)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor
from torch.nn import Parameter

from inforeg_cli.errors import Misuse
from inforeg_cli.methods.base import Method, Options
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

    A tenth of train is held out from the training and its probes. Weights sum to 1 (to 2 in the paper's proposition).
    """

    class Config(Options):
        name: Literal["g-blending"] = "g-blending"
        estimate: Literal["offline", "online"] = "offline"
        super_epoch: PositiveInt = 10
        weights: dict[str, NonNegativeFloat] | None = Field(None)

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
        self._device = next(iter(self.parameters.values()))[0].device
        self._weights = torch.zeros(0)
        self._since = 0  # the epoch before which the weights were found
        if self.config.weights and len(parameters) > 1:
            given = torch.tensor([self.config.weights[name] for name in [*parameters, FUSED]], device=self._device)
            self._weights = given / given.sum()

    def epoch_start(self, epoch: Epoch) -> None:
        super().epoch_start(epoch)
        online = self.config.estimate == "online"
        due = not len(self._weights) or (online and epoch.index - self._since >= self.config.super_epoch)
        if not epoch.open or not due or (self.config.weights and len(self._weights)):
            return
        epochs = self.config.super_epoch if online else None
        curves = [epoch.services.probe(branch, epochs, afresh=not online) for branch in [*self.parameters, None]]
        losses = torch.tensor(
            [(c.train_before, c.held_out_before, c.train_after, c.held_out_after) for c in curves], dtype=torch.float64
        )
        self._weights = blending_weights(*losses.unbind(dim=1)).float().to(self._device)
        self._since = epoch.index

    def objective(self, step: Step) -> Tensor:
        *own, fused = self._weights.unbind()
        self.tally(weight=self._weights[:-1], regulated=torch.ones_like(self._weights[:-1]))
        unimodal = (weight * step.losses.unimodal[name] for weight, name in zip(own, self.parameters, strict=True))
        return sum(unimodal, fused * step.losses.fused)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "weights": self._weights, "since": self._since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._weights, self._since = state["weights"], state["since"]
