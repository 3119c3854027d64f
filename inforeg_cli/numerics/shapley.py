"""Shapley values of modalities, and AGM's coefficients on them (Li et al., ICCV 2023).

f(S) is a model's output with the modalities outside S absent, f of the empty set is 0 and is never computed. Whatever
has one entry a subset holds the 2^M - 1 others in the order of `subsets`, the full set last.
"""

from math import factorial, log

import torch
from torch import Tensor

#: A response's probability of the true class counts as at least this much, as in the released code.
LEAST_PROBABILITY = 1e-8
#: No more than this of a gap to the running mean enters the exponent: kappa <= exp(10 alpha).
LARGEST_GAP = 10.0


def subsets(modalities: int) -> list[tuple[int, ...]]:
    """The non-empty subsets of modalities 0 .. M-1: subset i holds m where bit m of i + 1 is set; the last is full."""
    return [tuple(m for m in range(modalities) if code >> m & 1) for code in range(1, 2**modalities)]


def coefficients(
    modalities: int, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
) -> Tensor:
    """c_{m,S}, ``[M, 2^M - 1]``, with phi_m = sum over S of c_{m,S} f(S).

    From phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! * (f(S + m) - f(S)). Made on the host: once, not in a step.
    """

    def coefficient(m: int, subset: tuple[int, ...]) -> float:
        size = len(subset)
        if m in subset:
            return factorial(size - 1) * factorial(modalities - size) / factorial(modalities)
        return -factorial(size) * factorial(modalities - size - 1) / factorial(modalities)

    rows = [[coefficient(m, subset) for subset in subsets(modalities)] for m in range(modalities)]
    return torch.tensor(rows, dtype=dtype, device=device)


def values(outputs: Tensor, coefficients: Tensor) -> Tensor:
    """phi ``[M, ...]`` of the outputs ``[2^M - 1, ...]`` of all subsets; over m they sum to the output of the full set."""
    # Not a matrix product: those round to fewer bits under autocast and TF32.
    weights = coefficients.view(*coefficients.shape, *[1] * (outputs.dim() - 1))
    return (weights * outputs).sum(dim=1)


def response_losses(responses: Tensor, target: Tensor) -> Tensor:
    """-log max(softmax(phi_m)[y], 1e-8) clip by clip for phi ``[M, B, C]``, ``[B, M]``, detached, in float32 or wider.

    AGM's scores are its means over the clips: smaller is better.
    """
    wide = responses.detach().to(torch.promote_types(responses.dtype, torch.float32))
    index = target.expand(len(wide), -1)[..., None]
    found = wide.log_softmax(dim=-1).gather(-1, index).squeeze(-1)
    return -found.clamp_min(log(LEAST_PROBABILITY)).T


def discrepancies(scores: Tensor) -> Tensor:
    """r_m = exp(mean over j != m of s_j - s_m), ``[M]``: above 1 for the better, 1 for a single modality.

    scores: ``[M]``, smaller is better. Of the running means of the scores it is tau_m.
    """
    return torch.exp((scores[None, :] - scores[:, None]).sum(dim=1) / max(len(scores) - 1, 1))


def kappa(scores: Tensor, running_means: Tensor, alpha: float) -> Tensor:
    """kappa_m = exp(alpha * min(tau_m - r_m, 10)), ``[M]``: below 1 for a modality further ahead than it has been so far.

    scores: ``[M]``, smaller is better; running_means: ``[M]``, those of all earlier steps, zeros in the first (tau = 1).
    """
    gaps = discrepancies(running_means) - discrepancies(scores)
    return torch.exp(alpha * gaps.clamp_max(LARGEST_GAP))


def upstream(kappa: Tensor, coefficients: Tensor) -> Tensor:
    """With which factor the gradient of the loss by f(full) goes into every f(S), ``[2^M - 1]``.

    1 for the full set and 0 for the others, and to each sum over m of (kappa_m - 1) c_{m,S}. It is what the released
    code's hooks on phi_m amount to, and at kappa = 1 it is exactly 1 and 0: the joint gradient, bit for bit.
    """
    change = ((kappa - 1)[:, None] * coefficients).sum(dim=0)
    return torch.cat([change[:-1], change[-1:] + 1])
