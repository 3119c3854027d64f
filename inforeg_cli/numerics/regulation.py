"""InfoReg's coefficients (Huang et al., CVPR 2025): how strongly a leading modality is pulled back."""

import torch
from torch import Tensor


def performance_gaps(scores: Tensor) -> Tensor:
    """Delta_m, ``[M]``: the mean lead over all strictly worse modalities, 0 where there is none (eqs. 9 and 10).

    scores: ``[M]``, larger is better. (Eq. 8 as printed is larger for the worse; the text needs the opposite.)
    """
    lead = scores[:, None] - scores[None, :]
    worse = lead > 0
    return torch.where(worse, lead, 0).sum(dim=1) / worse.sum(dim=1).clamp_min(1)


def regulation_strength(gaps: Tensor, beta: float, scale: Tensor | float = 1.0) -> Tensor:
    """alpha_m = scale_m * exp(beta * tanh(Delta_m)) where Delta_m > 0, else 0, ``[M]`` (eq. 16).

    beta = 0 gives alpha = scale, not 0: it is not an off-switch.
    """
    return torch.where(gaps > 0, scale * torch.exp(beta * torch.tanh(gaps)), torch.zeros_like(gaps))
