"""AGM: adaptive gradient modulation by Shapley values (Li et al., "Boosting Multi-modal Model Performance with Adaptive
Gradient Modulation", ICCV 2023)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from inforeg_cli.errors import Misuse
from inforeg_cli.methods.base import Method, Options, option
from inforeg_cli.numerics import shapley
from inforeg_cli.step import Outputs, Step


class AGM(Method):
    """Splits the logits into each modality's Shapley value phi_m and scales the gradient that arrives at phi_m by
    kappa_m, which is below 1 for a modality further ahead of the others than it has been so far.

    Every subset of modalities has its logits f(S), the inputs of the others zeros: in late fusion each encoder runs once
    more on its input and once on a single clip of zeros, and only the fusion runs for every subset. These passes are in
    eval mode, with gradients; running statistics stand still.

    Deviations: where the window is closed nothing is scored and nothing scaled (the released code keeps its last
    factors); `clip`, the released code's clipping of the gradient's norm where an entry of a fusion weight's gradient
    leaves [-1, 1], is off; there is no pass of the empty set, which the released code makes and does not use.
    """

    paper = "https://arxiv.org/abs/2308.07686"
    changes = (
        "forward: logits of every subset of modalities; gradient: what arrives at each one's Shapley value, scaled"
    )
    cost = "2 forwards, 2 backwards, and one clip of zeros through each encoder; the fusion 2^M - 1 times"
    equations = (shapley.coefficients, shapley.response_losses, shapley.discrepancies, shapley.kappa, shapley.upstream)

    class Config(Options):
        name: Literal["agm"] = "agm"
        alpha: float = option(
            1.0, "how sharply gradients are scaled", "the released code's default; its author took 1.5 on CREMA-D", ge=0
        )
        clip: float | None = option(
            None,
            "the norm to which gradients are clipped where a fusion weight's leave [-1, 1]",
            "ours: off; the released code clips to 1, for UR-FUNNY to 5",
            gt=0,
        )

        @property
        def requires(self) -> frozenset[str]:
            return frozenset() if self.clip is None else frozenset({"all parameters"})

    def setup(self, parameters: Mapping[str, Sequence[Parameter]], **required: Any) -> None:
        super().setup(parameters, **required)
        if self.config.clip is not None and not required.get("everything"):
            raise Misuse("agm clips the gradient of all parameters: call setup(parameters, everything=..., fusion=...)")
        first = next(parameter for group in self.parameters.values() for parameter in group)
        wide = {"dtype": torch.promote_types(first.dtype, torch.float32), "device": first.device}
        self._subsets = shapley.subsets(len(parameters))[:-1]
        self._coefficients = shapley.coefficients(len(parameters), **wide)
        self._running = torch.zeros(len(parameters), **wide)
        self._count = torch.zeros((), **wide)
        self._partial: list[Tensor] = []  # f(S) of all subsets but the full one, within a step
        self._clipped: Sequence[Parameter] = required.get("everything", ())
        self._watched = [parameter for parameter in required.get("fusion", ()) if parameter.ndim >= 2]

    def forward(self, model: nn.Module, inputs: Mapping[str, Tensor], lengths: Mapping[str, Tensor]) -> Outputs:
        """The model has ``encode(inputs, lengths)``, giving features by modality, and ``join(features)``."""
        outputs = model(inputs, lengths)
        names = list(self.parameters)
        with _evaluating(model):
            present = model.encode(inputs, lengths)
            absent = model.encode(
                {name: torch.zeros_like(x[:1]) for name, x in inputs.items()},
                {name: torch.zeros_like(n[:1]) for name, n in lengths.items()},
            )
            absent = {name: feature.expand_as(present[name]) for name, feature in absent.items()}
            self._partial = [
                model.join({**absent, **{names[m]: present[names[m]] for m in subset}}).fused
                for subset in self._subsets
            ]
        return outputs

    def backward(self, step: Step) -> None:
        fused, partial = step.outputs.fused, self._partial
        responses = shapley.values(torch.stack([*partial, fused]).detach(), self._coefficients)
        scores = step.mean(shapley.response_losses(responses, step.target))
        kappa = shapley.kappa(scores, self._running, self.config.alpha)
        self._count = self._count + 1
        self._running = self._running + (scores - self._running) / self._count
        (arriving,) = torch.autograd.grad(step.losses.fused, fused, retain_graph=True)
        wide = arriving.to(self._coefficients.dtype)  # in half precision a factor would lose its digits
        factors = shapley.upstream(kappa, self._coefficients).unbind()
        roots = [(f, (factor * wide).to(f.dtype)) for f, factor in zip([*partial, fused], factors, strict=True)]
        roots += [(loss, torch.ones_like(loss)) for loss in step.losses.unimodal.values()]
        torch.autograd.backward(*zip(*roots, strict=True))
        self._partial = []
        self.tally(coefficient=kappa, score=scores, regulated=(kappa != 1).to(kappa))

    @torch.no_grad()
    def adjust(self, step: Step) -> None:
        watched = [parameter.grad for parameter in self._watched if parameter.grad is not None]
        if self.config.clip is None or not watched:
            return
        gradients = [parameter.grad for parameter in self._clipped if parameter.grad is not None]
        norm = torch.stack(torch._foreach_norm(gradients, dtype=self._coefficients.dtype)).norm()
        largest = torch.stack([gradient.abs().max() for gradient in watched]).max()
        factor = torch.where(largest > 1, (self.config.clip / (norm + 1e-6)).clamp(max=1), 1.0)
        torch._foreach_mul_(gradients, factor)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "running": self._running, "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._running, self._count = state["running"], state["count"]


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards every module is as it was, those that somebody keeps in eval mode, too."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
