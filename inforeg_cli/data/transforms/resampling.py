"""Boxes of images, scaled to one size by an antialiased triangle filter: two matrix products for a whole batch."""

from typing import NamedTuple

import torch
from torch import Tensor


class Span(NamedTuple):
    """Along one side, in pixels: the box begins at `start` and is `length` long; the image ends at `end`. ``[N]`` each."""

    start: Tensor
    length: Tensor
    end: Tensor

    @classmethod
    def whole(cls, end: Tensor) -> "Span":
        return cls(torch.zeros_like(end), end, end)

    @classmethod
    def part(cls, length: Tensor, place: Tensor, end: Tensor) -> "Span":
        """`length`, at most the whole; `place` is 0 at the image's start and 1 at its end."""
        length = torch.minimum(length, end)
        return cls(place * (end - length), length, end)


def resample(x: Tensor, down: Span, across: Span, size: tuple[int, int], mirrored: Tensor | None = None) -> Tensor:
    """The box of each image ``[N, C, H, W]``, left and right exchanged where `mirrored` ``[N]``: ``[N, C, *size]``.

    A whole image becomes what ``F.interpolate(mode="bilinear", antialias=True)`` makes of it.
    """
    columns = weights(across, x.shape[-1], size[1], mirrored).transpose(1, 2)
    rows = weights(down, x.shape[-2], size[0])
    narrowed = (x.flatten(1, 2) @ columns).unflatten(1, x.shape[1:3])
    return rows[:, None] @ narrowed


def weights(span: Span, count: int, size: int, mirrored: Tensor | None = None) -> Tensor:
    """What each of `count` pixels has to do with each of `size`: ``[N, size, count]``, rows that sum to 1.

    Triangles around the new pixels' centres, as wide as these are apart, and at least as wide as the old are; the image
    ends where its span says, whatever stands beside it.
    """
    start, length, end = (part[:, None, None] for part in span)
    step = length / size
    index = torch.arange(size, device=step.device)[:, None]
    if mirrored is not None:
        index = torch.where(mirrored[:, None, None], size - 1 - index, index)
    centre = start + (index + 0.5) * step
    pixel = torch.arange(count, device=step.device) + 0.5
    # In place: as many numbers as there are in the images are written at every turn.
    triangle = (pixel - centre).abs_().div_(-step.clamp(min=1)).add_(1).clamp_(min=0)
    triangle.mul_(pixel < end)
    return triangle.div_(triangle.sum(dim=-1, keepdim=True))
