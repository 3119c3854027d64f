"""InfoReg: information acquisition regulation (Huang et al., "Adaptive Unimodal Regulation", CVPR 2025)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor
from torch.nn import Parameter

from inforeg_cli.errors import Misuse
from inforeg_cli.methods.base import Method, Options, option, true_class_log_probabilities
from inforeg_cli.numerics.regulation import performance_gaps, regulation_strength
from inforeg_cli.step import Epoch, Step


class InfoReg(Method):
    """In its prime learning window, pulls the encoder of a leading modality towards where it stood at the epoch's start.

    The pull is the gradient of (alpha_m / 2) ||w_m - w_m^{t-1}||^2 (eq. 12) with alpha_m = exp(beta tanh(Delta_m))
    (eq. 16), Delta_m the mean lead of m's score over all strictly worse modalities (eq. 10).

    Deviations: the score is the mean log probability of the true class, larger is better; eq. 8 as printed would regulate
    the weaker modality. ``score = "sum_p"`` and a `strength` a modality reproduce the released code.
    """

    paper = "https://arxiv.org/abs/2503.18595"
    changes = "gradient: leading encoders pulled back to where they stood at the epoch's start"
    cost = "1 forward, 1 backward; a copy of the encoders"
    equations = (performance_gaps, regulation_strength)
    default_window = "prime"
    windows_per_modality = True

    class Config(Options):
        name: Literal["inforeg"] = "inforeg"
        beta: float = option(0.9, "how steeply the pull grows with the lead", "the paper's best of .1 .3 .5 .7 .9 1")
        score: Literal["log_p", "sum_p"] = option(
            "log_p", "mean log probability, or sum of probabilities, of the true class", "the paper, its sign mended"
        )
        strength: NonNegativeFloat | dict[str, NonNegativeFloat] = option(
            1.0, "factor of alpha, for all or by modality", "the paper has none; the released code's are in `official`"
        )

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._anchor: dict[str, list[Tensor]] = {}
        self._scale = torch.zeros(0)

    @classmethod
    def check(cls, config: Options, modalities: Sequence[str]) -> None:
        if isinstance(config.strength, dict) and set(config.strength) != set(modalities):
            raise Misuse(
                f"method.strength names {', '.join(config.strength) or 'nothing'}, but the modalities are "
                f"{', '.join(modalities)}: give one number for all, or one for each"
            )

    def setup(self, parameters: Mapping[str, Sequence[Parameter]], **required: Any) -> None:
        super().setup(parameters, **required)
        if len(parameters) > 1:  # one modality alone is never regulated
            self.check(self.config, list(parameters))

    @torch.no_grad()
    def epoch_start(self, epoch: Epoch) -> None:
        super().epoch_start(epoch)
        anchor = {name: self._anchor.get(name) for name in self.parameters if name in epoch.open}
        for name, kept in anchor.items():
            if kept is None:
                anchor[name] = [parameter.detach().clone() for parameter in self.parameters[name]]
            else:  # memory that is there costs a fifth of memory that must be got
                torch._foreach_copy_(kept, self.parameters[name])
        self._anchor = anchor
        # Closed windows are a factor of zero, made once an epoch: a tensor built in the step would wait for the device.
        strength = self.config.strength
        scale = [strength.get(name, 1.0) if isinstance(strength, dict) else strength for name in self.parameters]
        opened = [factor * (name in epoch.open) for factor, name in zip(scale, self.parameters, strict=True)]
        self._scale = torch.tensor(opened, device=next(iter(self.parameters.values()))[0].device)

    @torch.no_grad()
    def adjust(self, step: Step) -> None:
        strength = regulation_strength(performance_gaps(self._scores(step)), self.config.beta, self._scale)
        for name, alpha in zip(self.parameters, strength.unbind(), strict=True):
            if name in self._anchor:
                pairs = zip(self.parameters[name], self._anchor[name], strict=True)
                trained = [(weight, anchor) for weight, anchor in pairs if weight.grad is not None]
                if trained:
                    _pull_back([weight for weight, _ in trained], [anchor for _, anchor in trained], alpha)
        # In an epoch's first step the weights still stand at their anchor, and the pull is exactly zero.
        self.tally(strength=strength, regulated=(strength > 0).to(strength) * (step.index > 0))

    def _scores(self, step: Step) -> Tensor:
        """One score a modality, ``[M]``, larger is better."""
        log_probabilities = true_class_log_probabilities(step, list(self.parameters))
        if self.config.score == "log_p":
            return step.mean(log_probabilities)
        return step.mean(log_probabilities.exp()) * len(step.target)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "anchor": _copied(self._anchor), "scale": self._scale}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._anchor = _copied(state["anchor"])
        self._scale = state["scale"]


def _copied(anchor: Mapping[str, Sequence[Tensor]]) -> dict[str, list[Tensor]]:
    """The next epoch writes into the anchor's memory, which must not be a saved state's."""
    return {name: [weight.clone() for weight in group] for name, group in anchor.items()}


def _pull_back(weights: Sequence[Parameter], anchor: Sequence[Tensor], alpha: Tensor) -> None:
    """Add alpha * (w - w_anchor) to the gradients: the gradient of (alpha / 2) ||w - w_anchor||^2."""
    if alpha.device.type == "cuda":  # few launches
        pull = torch._foreach_sub(weights, anchor)
        torch._foreach_mul_(pull, alpha)
        torch._foreach_add_([weight.grad for weight in weights], pull)
    else:  # one tensor after the other, so that each difference is still in the cache: less than half the time
        for weight, start in zip(weights, anchor, strict=True):
            weight.grad.addcmul_(weight - start, alpha)
