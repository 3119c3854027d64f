"""MMPareto's gradients (Wei and Hu, ICML 2024): the joint and the unimodal gradient of one encoder, made one."""

from collections.abc import Sequence

import torch
from torch import Tensor

#: A tensor whose two gradients cancel to less than this share of their norms has no direction left to restore.
CANCELLED = 1e-6


def conflict_weight(dot: Tensor, joint_squared: Tensor, own_squared: Tensor) -> Tensor:
    """w_joint, the weight of the joint gradient; the unimodal one has 1 - w_joint. Scalars, or one entry an encoder.

    dot, joint_squared, own_squared: G_j . G_u, ||G_j||^2 and ||G_u||^2 over all parameters of the encoder.
    Where the gradients agree (dot > 0) the weight is 1/2, else that of the point of the segment between them that lies
    closest to zero, and 1/2 where they are the same point. Where they conflict, that point is inside the segment.
    """
    distance = joint_squared + own_squared - 2 * dot  # ||G_j - G_u||^2: no cancellation where dot <= 0
    solved = (dot <= 0) & (distance > 0)
    return torch.where(solved, (own_squared - dot) / torch.where(solved, distance, 1), 0.5)


@torch.no_grad()
def combine(joint: Sequence[Tensor], own: Sequence[Tensor], gamma: float) -> tuple[list[Tensor], Tensor]:
    """The encoder's gradient, tensor by tensor, and w_joint (a scalar) for the record.

    joint, own: the gradients of L_joint and of the modality's own loss, one or more tensors in the same order; both are
    left alone. Each result is gamma * lambda_t * h_t with h_t = 2 w_joint G_j,t + 2 (1 - w_joint) G_u,t and
    lambda_t = max(1, ||G_j,t + G_u,t|| / ||h_t||), so at least gamma times as long as the sum of the two; lambda_t is 1
    where h_t vanishes. Without conflict it is gamma * (G_j,t + G_u,t) exactly.

    The paper words lambda for the whole gradient, the released code has one a tensor, as here. Half precision is
    combined in float32 and rounded once.
    """
    dtypes = [gradient.dtype for gradient in joint]
    joint, own = _wide(joint), _wide(own)
    joint_norms, own_norms = _norms(joint), _norms(own)
    weight = conflict_weight(_dot(joint, own), joint_norms.square().sum(), own_norms.square().sum())
    mixed, mixed_norms, sum_norms = _mixed(joint, own, 2 * weight, 2 - 2 * weight)
    vanished = mixed_norms <= CANCELLED * (joint_norms + own_norms)
    restored = torch.where(vanished, 1.0, (sum_norms / mixed_norms).clamp_min(1))
    torch._foreach_mul_(mixed, list((gamma * restored).unbind()))
    return [gradient.to(dtype) for gradient, dtype in zip(mixed, dtypes, strict=True)], weight


def _wide(gradients: Sequence[Tensor]) -> list[Tensor]:
    return [gradient.to(torch.promote_types(gradient.dtype, torch.float32)) for gradient in gradients]


def _norms(gradients: Sequence[Tensor]) -> Tensor:
    return torch.stack(torch._foreach_norm(gradients))


def _dot(joint: Sequence[Tensor], own: Sequence[Tensor]) -> Tensor:
    if joint[0].is_cuda:  # one sum over everything instead of a launch a tensor
        return torch.cat([product.flatten() for product in torch._foreach_mul(joint, own)]).sum()
    return torch.stack([(one * other).sum() for one, other in zip(joint, own, strict=True)]).sum()


def _mixed(joint: Sequence[Tensor], own: Sequence[Tensor], ours: Tensor, theirs: Tensor) -> tuple[list, Tensor, Tensor]:
    """h_t, the norms of all h_t, and the norms of all G_j,t + G_u,t."""
    if joint[0].is_cuda:  # few launches
        mixed = torch._foreach_mul(joint, ours)
        torch._foreach_add_(mixed, torch._foreach_mul(own, theirs))
        return mixed, _norms(mixed), _norms(torch._foreach_add(joint, own))
    mixed, mixed_norms, sum_norms = [], [], []
    for one, other in zip(joint, own, strict=True):  # while both are still in the cache
        mixed.append((one * ours).add_(other * theirs))
        mixed_norms.append(torch.linalg.vector_norm(mixed[-1]))
        sum_norms.append(torch.linalg.vector_norm(one + other))
    return mixed, torch.stack(mixed_norms), torch.stack(sum_norms)
