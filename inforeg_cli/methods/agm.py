"""AGM: adaptive gradient modulation by Shapley values (Li et al., "Boosting Multi-modal Model Performance with Adaptive
Gradient Modulation", ICCV 2023)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import Parameter

from inforeg_cli.methods.base import Method, Options
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

    class Config(Options):
        name: Literal["agm"] = "agm"
        alpha: float = Field(1.0, ge=0)
        clip: float | None = Field(None, gt=0)

        @property
        def requires(self) -> frozenset[str]:
            return frozenset() if self.clip is None else frozenset({"all parameters"})

    def setup(self, parameters: Mapping[str, Sequence[Parameter]], **required: Any) -> None:
        super().setup(parameters, **required)
        first = next(iter(self.parameters.values()))[0]
        self._subsets = shapley.subsets(len(parameters))[:-1]
        self._coefficients = shapley.coefficients(len(parameters), device=first.device)
        self._running = torch.zeros(len(parameters), device=first.device)
        self._count = torch.zeros((), device=first.device)
        self._partial: list[Tensor] = []
        self._clipped: Sequence[Parameter] = required.get("everything", ())
        self._watched: Sequence[Parameter] = required.get("fusion", ())

    def forward(
        self, model: Callable[..., Outputs], inputs: Mapping[str, Tensor], lengths: Mapping[str, Tensor]
    ) -> Outputs:
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
        self._count += 1
        self._running += (scores - self._running) / self._count
        (arriving,) = torch.autograd.grad(step.losses.fused, fused, retain_graph=True)
        factors = shapley.upstream(kappa, self._coefficients).to(arriving.dtype)
        roots, gradients = [*partial, fused], [factor * arriving for factor in factors.unbind()]
        for loss in step.losses.unimodal.values():
            roots.append(loss)
            gradients.append(torch.ones_like(loss))
        torch.autograd.backward(roots, gradients)
        self._partial = []
        self.tally(coefficient=kappa, score=scores, regulated=(kappa != 1).to(kappa))

    @torch.no_grad()
    def adjust(self, step: Step) -> None:
        if self.config.clip is None:
            return
        gradients = [p.grad for p in self._clipped if p.grad is not None]
        norm = torch.stack(torch._foreach_norm(gradients, dtype=torch.float32)).norm()
        largest = torch.stack([p.grad.abs().max() for p in self._watched if p.grad is not None]).max()
        factor = torch.where(largest > 1, (self.config.clip / (norm + 1e-6)).clamp(max=1), 1.0)
        torch._foreach_mul_(gradients, factor)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "running": self._running.clone(), "count": self._count.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._running, self._count = state["running"].clone(), state["count"].clone()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
