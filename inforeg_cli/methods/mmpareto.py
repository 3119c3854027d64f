"""MMPareto: Pareto integration of joint and unimodal gradients (Wei and Hu, ICML 2024)."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from inforeg_cli.methods.base import Method, Options, option, unimodal_losses
from inforeg_cli.numerics.pareto import combine, conflict_weight
from inforeg_cli.step import Step


class MMPareto(Method):
    """Every encoder takes the point closest to zero between its joint and its unimodal gradient where the two conflict,
    their sum where they do not, each tensor at least gamma times as long as the sum. Heads take the plain gradient.

    Two backward passes for any number of modalities, since a modality's own loss reaches no encoder but its own.

    Deviations: a tensor whose two gradients cancel is left there (the released code divides by zero); the learning rate
    follows the experiment's schedule, which the released scripts build and never step.
    """

    paper = "https://arxiv.org/abs/2405.17730"
    changes = "gradient: each encoder's joint and unimodal gradients made one that serves both"
    cost = "1 forward, 2 backwards; a second gradient of every encoder"
    equations = (conflict_weight, combine)

    class Config(Options):
        name: Literal["mmpareto"] = "mmpareto"
        gamma: float = option(
            1.5, "how much longer than the plain sum gradients at least are", "the released code", ge=0
        )

        @property
        def requires(self) -> frozenset[str]:
            return frozenset({"own heads"})

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._pairs: dict[str, list[tuple[Parameter, Tensor, Tensor]]] = {}

    def backward(self, step: Step) -> None:
        own = unimodal_losses(step, self.parameters, "mmpareto weighs the joint against the unimodal gradients")
        encoders = [parameter for group in self.parameters.values() for parameter in group]
        step.losses.fused.backward(retain_graph=True)
        joint = {parameter: parameter.grad for parameter in encoders if parameter.grad is not None}
        for parameter in joint:
            parameter.grad = None
        sum(own).backward()
        self._pairs = {
            name: [(p, joint[p], p.grad) for p in group if p in joint and p.grad is not None]
            for name, group in self.parameters.items()
        }
        for parameter, gradient in joint.items():
            parameter.grad = gradient if parameter.grad is None else gradient + parameter.grad

    @torch.no_grad()
    def adjust(self, step: Step) -> None:
        weights, changed = [], []
        for pairs in self._pairs.values():
            if not pairs:  # a frozen encoder
                weights.append(torch.full((), 0.5, device=step.target.device))
                changed.append(torch.zeros_like(weights[-1]))
                continue
            gradients, weight = combine([pair[1] for pair in pairs], [pair[2] for pair in pairs], self.config.gamma)
            for (parameter, _, _), gradient in zip(pairs, gradients, strict=True):
                parameter.grad = gradient
            weights.append(weight)
            changed.append(torch.ones_like(weight) if self.config.gamma != 1 else (weight != 0.5).to(weight))
        self._pairs = {}
        self.tally(joint_weight=torch.stack(weights), regulated=torch.stack(changed))
