"""G-Blending's weights (Wang et al., "What Makes Training Multi-Modal Classification Networks Hard?", CVPR 2020)."""

import torch
from torch import Tensor

#: A branch's overfitting counts as at least this share of the mean validation loss, or one that overfits by nothing
#: would take all the weight.
LEAST_OVERFITTING = 1e-3


def blending_weights(train_before: Tensor, val_before: Tensor, train_after: Tensor, val_after: Tensor) -> Tensor:
    """The weight of every branch's loss, ``[K]``, sum 1: w_k proportional to dG_k / dO_k^2.

    All four are mean losses ``[K]``, before and after each branch was trained alone for a while. dG_k is by how much its
    validation loss fell, 0 where it rose; dO_k by how much its overfitting, validation minus train loss, grew, in
    magnitude at least 1e-3 of the branches' mean validation loss before. Uniform where no branch gained.
    The paper leaves both guards and the normalisation open (its weights sum to 2). A branch that diverged gets 0.
    """
    gain = val_before - val_after
    growth = (val_after - train_after) - (val_before - train_before)
    floor = LEAST_OVERFITTING * val_before.abs().mean()
    cost = torch.maximum(growth.square(), floor.square()).clamp_min(torch.finfo(growth.dtype).tiny)
    gained = (gain > 0) & growth.isfinite()
    cost = torch.where(gained, cost, torch.inf)
    # Over the least cost, so that no ratio overflows.
    weights = torch.where(gained, gain * (cost.min() / cost), 0)
    return torch.where(gained.any(), weights / weights.sum(), 1 / len(gain))
