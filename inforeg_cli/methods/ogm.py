"""OGM and OGM-GE: on-the-fly gradient modulation (Peng et al., "Balanced Multimodal Learning", CVPR 2022)."""

from typing import Literal

import torch
from torch import Tensor

from inforeg_cli.methods.base import Method, Options, option, true_class_log_probabilities
from inforeg_cli.numerics.modulation import damping, discrepancy_ratios
from inforeg_cli.seeds import generator
from inforeg_cli.step import Step


class OGM(Method):
    """Damps the gradient of modalities that lead; with `noise`, adds Gaussian noise to every modality's (OGM-GE).

    A modality leads by rho_m, the mean ratio of its score to the others', and its convolution gradients are scaled by
    k_m = 1 - tanh(alpha * rho_m) where rho_m > 1. Batch norm, biases and the fusion keep theirs.

    Deviations: a tie is not damped (the released code damps its first modality); more than two modalities follow the
    authors' pairwise mean; an encoder without convolutions has all its weight matrices scaled, or OGM would not touch it.
    """

    paper = "https://arxiv.org/abs/2203.15332"
    changes = "gradient: those of leading encoders' convolutions scaled down"
    cost = "1 forward, 1 backward; with noise, a random number for every such weight"
    equations = (discrepancy_ratios, damping)

    class Config(Options):
        name: Literal["ogm"] = "ogm"
        alpha: float = option(
            0.3,
            "how hard leaders are damped",
            "ours, between the released README's 0.8 (CREMA-D) and 0.1 (VGGSound); the code demands a value",
            ge=0,
        )
        noise: bool = option(False, "add Gaussian noise to all these gradients: OGM-GE", "ours: the plain method")

        @property
        def label(self) -> str:
            return "ogm-ge" if self.noise else "ogm"

    def adjust(self, step: Step) -> None:
        probabilities = true_class_log_probabilities(step, list(self.parameters)).exp()
        ratios = discrepancy_ratios(step.mean(probabilities))
        coefficients = damping(ratios, self.config.alpha)
        gradients = {name: self._modulated(name) for name in self.parameters}
        noisy = self.config.noise and len(self.parameters) > 1  # one modality alone trains jointly
        noise = self._noise(step, gradients) if noisy else {}
        for name, coefficient in zip(gradients, coefficients.unbind(), strict=True):
            if gradients[name]:
                torch._foreach_mul_(gradients[name], coefficient)
            if noise.get(name):
                torch._foreach_add_(gradients[name], noise[name])
        changed = torch.ones_like(coefficients) if noisy else (coefficients < 1).to(coefficients)
        self.tally(coefficient=coefficients, ratio=ratios, regulated=changed)

    def _modulated(self, name: str) -> list[Tensor]:
        """The gradients that the method scales: those of convolutions, or of all weights where there are none."""
        gradients = [parameter.grad for parameter in self.parameters[name] if parameter.grad is not None]
        return [g for g in gradients if g.ndim == 4] or [g for g in gradients if g.ndim >= 2]

    def _noise(self, step: Step, gradients: dict[str, list[Tensor]]) -> dict[str, list[Tensor]]:
        """N(0, (std(g) + 1e-8)^2) for every tensor, one standard deviation a tensor, that of the unmodulated gradient."""
        flat = [gradient for group in gradients.values() for gradient in group]
        if not flat:
            return {}
        device = flat[0].device
        source = generator(self.seed, "ogm", step.epoch.index, step.index, device=device)
        drawn = torch.randn(sum(g.numel() for g in flat), generator=source, device=device, dtype=flat[0].dtype)
        pieces = iter(drawn.split([g.numel() for g in flat]))
        return {
            name: [next(pieces).view_as(g).mul_(g.std(correction=min(1, g.numel() - 1)) + 1e-8) for g in group]
            for name, group in gradients.items()
        }
