"""Greedy: re-balancing by conditional learning speed (Wu et al., "Characterizing and Overcoming the Greedy Nature of
Learning in Multi-modal Deep Neural Networks", ICML 2022)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn import Parameter

from inforeg_cli.errors import Misuse
from inforeg_cli.methods.base import Method, Options, option, unimodal_losses
from inforeg_cli.numerics import speeds
from inforeg_cli.numerics.speeds import Curation
from inforeg_cli.seeds import generator
from inforeg_cli.step import Epoch, Outputs, Step


class Branches(Method):
    """Trains the sum of the own heads' losses; the fused logits, their mean, only predict."""

    def objective(self, step: Step) -> Tensor:
        return sum(unimodal_losses(step, step.outputs.shares, "greedy trains a head a modality"))


class Greedy(Method):
    """Encoders that exchange through MMTM blocks. Where a modality learns faster from the others than they do from it,
    it is given the running means of its gates for `curation` steps, and so trains on its own content.

    Speeds are squared norms of gradients over those of weights, of the gates (bypass) and of encoder and own head (main),
    summed over all regular steps so far. Where the window is closed they, and a curation that has begun, stand still.

    ``heads = "branches"`` is the paper's network: a head a modality, the sum of their losses, the mean of their logits.
    ``"fused"`` is the port that other papers' tables mean: the exchange, one loss on the chosen fusion.
    Deviations: the running means are of each gate itself, and evaluation leaves them alone; more than two modalities are
    an extension; gates that are replaced take a gradient of zero, so momentum and weight decay still move them. `random`
    is the paper's random variant; ``curate = false`` is the network without the method.
    """

    paper = "https://arxiv.org/abs/2202.05306"
    changes = "forward: encoders exchange, at times all but one; loss: of the own heads alone, with heads = branches"
    cost = "1 forward, 1 backward, through MMTM blocks as well; the norms of all gradients and weights"
    equations = (speeds.speed_ratio, speeds.bypass_dominance, speeds.imbalance, speeds.advance)

    class Config(Options):
        name: Literal["greedy"] = "greedy"
        heads: Literal["branches", "fused"] = option(
            "branches", "branches: one a modality, as the paper; fused: the chosen fusion, as in ports", "the paper's"
        )
        epsilon: NonNegativeFloat = option(
            0.01, "the imbalance above which one is cared for", "the released ModelNet40 settings"
        )
        curation: PositiveInt = option(5, "for how many steps", "the released ModelNet40 settings")
        burn_in: int = option(1, "epochs before the first such step", "the released code", ge=0)
        random: bool = option(False, "draw who is cared for, step by step", "the paper's main method decides by speed")
        curate: bool = option(True, "false: the same network without the method", "the method")

        @property
        def label(self) -> str:
            name = "mmtm" if not self.curate else "greedy-random" if self.random else "greedy"
            return name if self.heads == "branches" else f"{name}-fused"

        @property
        def requires(self) -> frozenset[str]:
            return frozenset({"exchange", "own heads"} if self.heads == "branches" else {"exchange"})

        @property
        def fusion(self) -> str | None:
            return "branches" if self.heads == "branches" else None

        @property
        def off(self) -> Options | None:
            return self.model_copy(update={"curate": False})

    def baseline(self) -> Method:
        return Branches() if self.config.heads == "branches" else Method()

    def setup(self, parameters: Mapping[str, Sequence[Parameter]], **required: Any) -> None:
        """exchange: see `models.exchange.Exchange`; heads: each own head's parameters, with ``heads = "branches"``."""
        super().setup(parameters, **required)
        if required.get("exchange") is None:
            raise Misuse(
                "greedy acts on an exchange between the encoders: call setup(parameters, exchange=..., heads=...)"
            )
        self._exchange = required["exchange"]
        heads = required.get("heads", {})
        self._main = {name: [*group, *heads.get(name, ())] for name, group in self.parameters.items()}
        self._bypass = {name: self._exchange.bypass_of(name) for name in self.parameters}
        device = self._exchange.caring.device
        # Squares summed over very many steps: in float32 small ones would stop counting, but not every device has more.
        wide = torch.float32 if device.type == "mps" else torch.float64
        self._speeds = torch.zeros(2, len(parameters), dtype=wide, device=device)
        self._state = speeds.regular(device)

    def epoch_start(self, epoch: Epoch) -> None:
        super().epoch_start(epoch)
        self._exchange.caring.fill_(speeds.NOBODY)  # where the window is closed, nobody sets it

    def forward(
        self, model: Callable[..., Outputs], inputs: Mapping[str, Tensor], lengths: Mapping[str, Tensor]
    ) -> Outputs:
        self._exchange.caring.copy_(self._state.caring)
        return model(inputs, lengths)

    def objective(self, step: Step) -> Tensor:
        return self.baseline().objective(step)

    @torch.no_grad()
    def adjust(self, step: Step) -> None:
        """Leaves every gradient as it is; measures them, and decides about the next step."""
        if not self.config.curate or len(self.parameters) == 1:
            return
        regular = self._state.caring == speeds.NOBODY
        measured = torch.stack([_ratios(self._bypass), _ratios(self._main)])
        self._speeds += torch.where(regular, measured, 0)
        d = speeds.imbalance(speeds.bypass_dominance(*self._speeds))
        cared = torch.arange(len(d), device=d.device) == self._state.caring
        self.tally(imbalance=d, regulated=cared.to(d))
        burning_in = step.epoch.index < self.config.burn_in
        if self.config.random:
            source = generator(self.seed, "greedy", step.epoch.index, step.index, device=d.device)
            drawn = torch.rand((), generator=source, device=d.device)
            self._state = speeds.advance_randomly(drawn, len(d), burning_in)
        else:
            self._state = speeds.advance(self._state, d, self.config.epsilon, self.config.curation, burning_in)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "speeds": self._speeds.clone(), "state": list(self._state)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._speeds, self._state = state["speeds"].clone(), Curation(*state["state"])


def _ratios(groups: Mapping[str, Sequence[Parameter]]) -> Tensor:
    """By modality, ``[M]``."""
    return torch.stack(
        [speeds.speed_ratio([p.grad for p in group if p.grad is not None], group) for group in groups.values()]
    )
