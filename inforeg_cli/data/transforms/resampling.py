"""Boxes of images, scaled to one size by an antialiased triangle filter."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Span(NamedTuple):
    """Along one side, in whole pixels: the box begins at `start` and is `length` long. ``[N]`` each."""

    start: Tensor
    length: Tensor

    @classmethod
    def whole(cls, end: Tensor) -> "Span":
        return cls(torch.zeros_like(end), end)

    @classmethod
    def part(cls, length: Tensor, place: Tensor, end: Tensor) -> "Span":
        """About `length`, between a pixel and the whole; `place` is 0 at the image's start and 1 at its end."""
        length = length.round().clamp(min=1).minimum(end)
        return cls((place * (end - length + 1)).floor().minimum(end - length), length)


def resample(x: Tensor, down: Span, across: Span, size: tuple[int, int], mirrored: Tensor | None = None) -> Tensor:
    """The box of each image ``[N, C, H, W]``, left and right exchanged where `mirrored` ``[N]``: ``[N, C, *size]``.

    A box becomes what ``F.interpolate(mode="bilinear", antialias=True)`` makes of it alone.
    """
    if x.device.type == "cpu":
        return _one_by_one(x, down, across, size, mirrored)
    return by_products(x, down, across, size, mirrored)


def by_products(x: Tensor, down: Span, across: Span, size: tuple[int, int], mirrored: Tensor | None = None) -> Tensor:
    """`resample` by two matrix products for a whole batch, without a number that the host would have to know."""
    columns = weights(across, x.shape[-1], size[1], mirrored).transpose(1, 2)
    rows = weights(down, x.shape[-2], size[0])
    narrowed = (x.flatten(1, 2) @ columns).unflatten(1, x.shape[1:3])
    return rows[:, None] @ narrowed


def weights(span: Span, count: int, size: int, mirrored: Tensor | None = None) -> Tensor:
    """What each of `count` pixels has to do with each of `size`: ``[N, size, count]``, rows that sum to 1.

    Triangles around the new pixels' centres, as wide as these are apart, and at least as wide as the old are; the box
    ends where its span says, whatever stands beside it.
    """
    start, length = (part[:, None, None] for part in span)
    step = length / size
    index = torch.arange(size, device=step.device)[:, None]
    if mirrored is not None:
        index = torch.where(mirrored[:, None, None], size - 1 - index, index)
    centre = (index + 0.5) * step
    pixel = torch.arange(count, device=step.device) + 0.5 - start  # from the box's start, so that little is rounded
    # In place: as many numbers as there are in the images are written at every turn.
    triangle = (pixel - centre).abs_().div_(-step.clamp(min=1)).add_(1).clamp_(min=0)
    triangle.mul_((pixel > 0) & (pixel < length))
    return triangle.div_(triangle.sum(dim=-1, keepdim=True))


def _one_by_one(x: Tensor, down: Span, across: Span, size: tuple[int, int], mirrored: Tensor | None) -> Tensor:
    # The products' matrices are mostly zeros, which a CPU would multiply one by one, too.
    boxes = torch.stack([*down, *across], dim=1).long().tolist()
    turned = [False] * len(x) if mirrored is None else mirrored.tolist()
    scaled = x.new_empty(*x.shape[:2], *size)
    for image, (top, height, left, width), turn, out in zip(x, boxes, turned, scaled, strict=True):
        box = image[None, :, top : top + height, left : left + width]
        found = F.interpolate(box, size, mode="bilinear", antialias=True)[0]
        out.copy_(found.flip(-1) if turn else found)
    return scaled
