"""Greedy's learning speeds, and when it re-balances (Wu et al., "Characterizing and Overcoming the Greedy Nature of
Learning in Multi-modal Deep Neural Networks", ICML 2022).

How fast a branch learns from the other modalities is measured on its bypass, the gates that let them in; how fast from
its own, on its encoder and head. The branch whose bypass learns fastest for its encoder becomes the caring one: for some
steps it is given the means of its gates instead of the gates, and must do with its own modality.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

#: `Curation.caring` in a regular step.
NOBODY = -1


class Curation(NamedTuple):
    """What the next step is: scalars, int64. `caring`: -1 (regular) or a modality; `left`: curated steps to come."""

    caring: Tensor
    left: Tensor


def regular(device: torch.device | str | None = None) -> Curation:
    """The state before the first step."""
    return Curation(torch.tensor(NOBODY, device=device), torch.tensor(0, device=device))


@torch.no_grad()
def speed_ratio(gradients: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Sum of squared norms of the gradients over that of the weights, a scalar, in float32 or wider.

    Both hold at least one tensor; a weight without a gradient may be missing among the gradients. 0 where all weights are 0.
    """
    tensors = [*gradients, *weights]
    dtype = torch.promote_types(weights[0].dtype, torch.float32)
    squares = torch.stack(torch._foreach_norm(tensors, dtype=dtype)).square()
    moved, size = squares[: len(gradients)].sum(), squares[len(gradients) :].sum()
    return torch.where(size > 0, moved / torch.where(size > 0, size, 1), 0)


def bypass_dominance(bypass: Tensor, main: Tensor) -> Tensor:
    """BDR_m = log10(B_m / A_m), ``[M]``: how much faster a branch learns from the others than from its own modality.

    bypass, main: B and A, ``[M]``, the speed ratios of gates and of encoder with head, summed over the regular steps
    since the start. Finite, and 0 where neither has moved.
    """
    least = torch.finfo(bypass.dtype).tiny
    return bypass.clamp_min(least).log10() - main.clamp_min(least).log10()


def imbalance(bdr: Tensor) -> Tensor:
    """d_m = mean over j != m of BDR_m - BDR_j, ``[M]``.

    For two modalities the paper's d and -d, more are an extension; 0 for a single one.
    """
    return (bdr[:, None] - bdr[None, :]).sum(dim=1) / max(len(bdr) - 1, 1)


def advance(state: Curation, d: Tensor, epsilon: float, steps: int, burning_in: bool) -> Curation:
    """The state of the next step, after the backward pass of one in `state`; d ``[M]`` counts only if that was regular.

    A regular step with max d > epsilon opens a curation of `steps` >= 1 steps for the modality with the greatest d (never
    while burning in); after them comes at least one regular step.
    """
    greatest, leader = d.max(dim=0)
    opens = (state.caring == NOBODY) & (greatest > epsilon) & (not burning_in)
    left = torch.where(opens, steps, (state.left - 1).clamp_min(0))
    caring = torch.where(opens, leader, torch.where(left > 0, state.caring, NOBODY))
    return Curation(caring, left)


def advance_randomly(drawn: Tensor, modalities: int, burning_in: bool) -> Curation:
    """The random variant: each step is regular or cares for one of the modalities, all M + 1 equally likely.

    drawn: a scalar, uniform in [0, 1). Regular while burning in.
    """
    choice = (drawn * (modalities + 1)).long().clamp_max(modalities) + NOBODY
    caring = torch.full_like(choice, NOBODY) if burning_in else choice
    return Curation(caring, torch.zeros_like(choice))
