"""The records that pass through the training loop: frozen, and below both engine and methods."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Outputs:
    """What a model says about a batch of B clips with C classes.

    fused:    joint logits ``[B, C]``.
    shares:   each modality's part of the fused logits ``[B, C]``; they serve scores (and ``slice`` losses).
    heads:    logits of the modality's own head ``[B, C]``, empty where the run has none; they serve unimodal losses.
    features: each encoder's output ``[B, D_m]``.
    """

    fused: Tensor
    shares: Mapping[str, Tensor]
    heads: Mapping[str, Tensor] = field(default_factory=dict)
    features: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Losses:
    """Mean cross-entropies of a batch, scalars: the fused one, and one a modality where the run trains them."""

    fused: Tensor
    unimodal: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, outputs: Outputs, target: Tensor, unimodal: str = "none") -> "Losses":
        """`unimodal` is the experiment's choice: ``none``, ``own`` (own heads) or ``slice`` (shares of the fused head)."""
        logits = {"none": {}, "own": outputs.heads, "slice": outputs.shares}[unimodal]
        return cls(
            fused=F.cross_entropy(outputs.fused, target),
            unimodal={name: F.cross_entropy(value, target) for name, value in logits.items()},
        )


@dataclass(frozen=True)
class Curve:
    """Mean losses of a branch on what it trains on and on what is held out, before and after it was trained alone."""

    train_before: float
    held_out_before: float
    train_after: float
    held_out_after: float


class Services(Protocol):
    """What a method may ask of the loop it runs in, before an epoch's first step. None of it changes the training."""

    #: How many classes there are.
    classes: int

    def features(self, share: float) -> tuple[Mapping[str, Tensor], Tensor]:
        """The encoders' outputs ``[N, D_m]`` and the classes ``[N]`` of a fixed share of the train clips, in eval mode."""

    def probe(self, branch: str | None, epochs: int | None = None, *, afresh: bool = False) -> Curve:
        """Train a copy of one branch alone: a modality's encoder with its own head or, for None, everything by the fused
        loss. From the present weights, or `afresh` from the initial ones; for `epochs` epochs, at most as many as the
        training has left, or as it has `afresh`."""


@dataclass(frozen=True)
class Epoch:
    """Epoch `index` counts from 0; `open` holds the modalities whose window is open in it."""

    index: int
    open: frozenset[str]
    services: Services | None = None


@dataclass(frozen=True)
class Step:
    """One optimisation step: `index` counts from 0 in its epoch, `target` holds class indices ``[B]``."""

    epoch: Epoch
    index: int
    outputs: Outputs
    target: Tensor
    losses: Losses | None = None

    def mean(self, per_clip: Tensor) -> Tensor:
        """The mean over the batch (first dimension): the one place where a statistic would cross processes."""
        return per_clip.mean(dim=0)
