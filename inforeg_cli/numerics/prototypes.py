"""PMR's prototypes (Fan et al., CVPR 2023): what a modality alone says about a clip, by its distance to class means.

A class of which no clip has been seen has no prototype. A mask `seen` ``[C]`` says so: such a class has probability
exactly 0 and takes no gradient, and a clip of it enters no loss. Its row of the prototypes is never read. Before any
class has been seen all are equally likely and no modality leads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def class_sums(features: Tensor, target: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Sums ``[C, D]`` and counts ``[C]`` of features ``[N, D]`` by class, which add up over batches and processes."""
    features = features.detach().to(_wide(features))
    sums = features.new_zeros(classes, features.shape[1]).index_add_(0, target, features)
    counts = features.new_zeros(classes).index_add_(0, target, torch.ones_like(target, dtype=features.dtype))
    return sums, counts


def update(
    prototypes: Tensor, seen: Tensor, sums: Tensor, counts: Tensor, momentum: float, replace: bool = False
) -> tuple[Tensor, Tensor]:
    """The new prototypes ``[C, D]`` and mask ``[C]``: (1 - momentum) * mean + momentum * old.

    With `replace`, and for a class seen for the first time, the mean itself. A class that is absent (count 0) keeps its
    prototype; the released code divides 0 by 0.
    """
    present = counts > 0
    means = sums / counts.clamp_min(1)[:, None]
    smoothed = means if replace else torch.where(seen[:, None], torch.lerp(means, prototypes, momentum), means)
    return torch.where(present[:, None], smoothed, prototypes), seen | present


def similarities(features: Tensor, prototypes: Tensor, seen: Tensor) -> Tensor:
    """Minus the Euclidean distance of features ``[B, D]`` to prototypes ``[C, D]``, in float32 or wider, ``[B, C]``.

    At distance 0 the gradient is 0 (that of the square root is infinite). A class without a prototype gets the lowest
    finite number: unlike an infinity it leaves no NaN behind, not even where no class has one.
    """
    features = features.to(_wide(features))
    distances = torch.linalg.vector_norm(features[:, None] - prototypes.to(features.dtype), dim=-1)
    return torch.where(seen, -distances, torch.finfo(features.dtype).min)


def true_class_probabilities(similarities: Tensor, target: Tensor) -> Tensor:
    """q of the true class for similarities ``[M, B, C]``, clip by clip, ``[B, M]``, detached: PMR's scores are its means.

    Clips of a class without a prototype count 0 for every modality alike.
    """
    return _true_class_log_probabilities(similarities.detach(), target).exp().T


def prototype_losses(similarities: Tensor, target: Tensor, seen: Tensor) -> Tensor:
    """PCE_m = mean over clips of -log q_m of the true class, for similarities ``[M, B, C]``, ``[M]``.

    The mean is over the clips whose class has a prototype; 0 where there are none.
    """
    counted = seen[target]
    losses = torch.where(counted, -_true_class_log_probabilities(similarities, target), 0)
    return losses.sum(dim=1) / counted.sum().clamp_min(1)


def entropies(similarities: Tensor) -> Tensor:
    """The mean entropy of q_m over the clips, in nats, for similarities ``[M, B, C]``, ``[M]``."""
    log_probabilities = similarities.log_softmax(dim=-1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=-1).mean(dim=1)


def weights_hard(scores: Tensor, alpha: float) -> Tensor:
    """The weight of every PCE_m, ``[M]``: alpha, and 0 for the leader (the released code; more than two by extension).

    scores: ``[M]``, larger is better. Of several that lead together none has a weight.
    """
    return alpha * (scores < scores.max()).to(scores)


def weights_clip(scores: Tensor, alpha: float) -> Tensor:
    """The weight of every PCE_m, ``[M]``: alpha * clip(0, s_best / s_m - 1, 1), 0 for the leader.

    scores: ``[M]``, positive, larger is better. For two modalities as the paper has it; more are an extension.
    """
    return alpha * _shortfalls(scores)


def entropy_weights(scores: Tensor, mu: float) -> Tensor:
    """What the mean entropy of every q_m is weighted with before it is subtracted from the loss, ``[M]`` (PER).

    mu * mean over the others j of clip(0, s_m / s_j - 1, 1) for the leader, 0 for the rest: for two modalities the
    opposite clip, as reported of the paper. Not in the released code; more than two modalities are an extension.
    """
    lead = _shortfalls(scores).sum() / max(len(scores) - 1, 1)
    return mu * torch.where(scores == scores.max(), lead, 0)


def _shortfalls(scores: Tensor) -> Tensor:
    scores = scores.clamp_min(torch.finfo(scores.dtype).tiny)
    return (scores.max() / scores - 1).clamp(0, 1)


def _true_class_log_probabilities(similarities: Tensor, target: Tensor) -> Tensor:
    """``[M, B, C]`` -> ``[M, B]``."""
    modalities, _, classes = similarities.shape
    losses = F.cross_entropy(similarities.reshape(-1, classes), target.repeat(modalities), reduction="none")
    return -losses.view(modalities, -1)


def _wide(values: Tensor) -> torch.dtype:
    return torch.promote_types(values.dtype, torch.float32)
