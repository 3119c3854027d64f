"""OGM's coefficients (Peng et al., CVPR 2022): how much the leading modality's gradient is damped."""

import torch
from torch import Tensor


def discrepancy_ratios(scores: Tensor) -> Tensor:
    """How far each modality leads, ``[M]``: rho_m = mean over j != m of s_m / s_j, the authors' answer for M > 2.

    scores: positive ``[M]``, larger is better. For M = 2 this is the paper's s_a / s_v and its inverse; for M = 1 it is 0.
    """
    scores = scores.clamp_min(torch.finfo(scores.dtype).tiny)
    ratios = scores[:, None] / scores[None, :]
    return ratios.fill_diagonal_(0).sum(dim=1) / max(len(scores) - 1, 1)


def damping(ratios: Tensor, alpha: float) -> Tensor:
    """k_m = 1 - tanh(alpha * rho_m) where rho_m > 1, else 1, ``[M]``. A tie (rho = 1) is not damped."""
    finite = ratios.clamp_max(torch.finfo(ratios.dtype).max)  # alpha = 0 must give 1 even for an infinite ratio
    return torch.where(ratios > 1, 1 - torch.tanh(alpha * finite), torch.ones_like(ratios))
