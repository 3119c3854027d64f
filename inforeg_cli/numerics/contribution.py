"""How much each modality contributes: Shapley values of a score over all subsets of modalities, and their imbalance."""

import torch
from torch import Tensor

from inforeg_cli.numerics import shapley

#: Contributions that add up to no more are what rounding leaves of none.
_NEGLIGIBLE = 1e-12


def shapley_values(scores: Tensor) -> Tensor:
    """phi ``[M, ...]``, float64, of a score ``[2^M, ...]`` of every subset of M modalities (Shapley, 1953).

    Entry ``code`` is the score of the modalities m whose bit m of ``code`` is set: entry 0 that of none, the last that of
    all. Over m the values sum to the last minus the first: a score need not be 0 where nothing is present. Raises
    ValueError where the number of entries is no such power of two.
    """
    modalities = len(scores).bit_length() - 1
    if modalities < 1 or len(scores) != 2**modalities:
        raise ValueError(f"a score of every subset has 2^M entries, and this one has {len(scores)}")
    wide = scores.double()
    return shapley.values(wide[1:] - wide[0], shapley.coefficients(modalities, torch.float64, wide.device))


def imbalance(contributions: Tensor) -> float | None:
    """How unequally M modalities contribute, ``[M]``: 0 where all do equally, 1 where one contributes everything.

    The Gini coefficient of the contributions, over its largest value for M modalities: with shares
    p_m = max(phi_m, 0) / sum_j max(phi_j, 0) it is sum over i < j of |p_i - p_j|, divided by M - 1. For two modalities
    that is |phi_1 - phi_2| / (phi_1 + phi_2).

    Why this one: it depends neither on the modalities' order nor on the score's unit; whatever moves from a modality that
    contributes more to one that contributes less lowers it (the largest share alone does not see how the others divide the
    rest); and it is linear in the shares while their order stays, so that a tenth means the same near 0 as near 1 (entropy
    is flat near 0). A modality that harms counts as one that contributes nothing: it can be no less use than none, and
    shares stay shares.

    None where the question has no answer: for a single modality, and where none contributes.
    """
    useful = contributions.double().clamp(min=0)
    total = float(useful.sum())
    if len(useful) < 2 or total <= _NEGLIGIBLE:
        return None
    gaps = (useful[:, None] - useful[None, :]).abs().sum() / 2
    return min(float(gaps) / (total * (len(useful) - 1)), 1.0)
