"""Damage to vectors, sequences and fields of motion: noise in units of what varies in train, and parts that are missing."""

import torch
from torch import Tensor

from inforeg_cli.data.transforms.damage import At
from inforeg_cli.data.transforms.damage.chance import Chance, least, normal, share_of


def noise(raw: Tensor, extent: Tensor | None, chance: Chance, *, deviation: Tensor) -> At:
    """White Gaussian noise on vectors and sequences ``[B, ...]``, of a standard deviation in units of each dimension's
    own, `deviation` ``[...]``; where that is 0, there is none."""
    x = raw.float()
    drawn = normal(chance.numbers("noise", x[0].numel())).view_as(x) * deviation
    return lambda strength: (x + strength * drawn, extent)


def motion_noise(raw: Tensor, extent: Tensor | None, chance: Chance, *, deviation: Tensor) -> At:
    """`noise` on fields ``[B, T, 2, H, W]``, which may differ in size; `deviation` is ``[2, 1, 1]``."""
    x = raw.float()
    drawn = normal(chance.pixels("noise", x.shape[1:])) * deviation
    return lambda strength: (x + strength * drawn, extent)


def dropped(raw: Tensor, extent: Tensor | None, chance: Chance, *, mean: Tensor) -> At:
    """A share of a clip's dimensions, at all times of a sequence, are at their `mean` ``[...]`` over the train clips."""
    x, dimensions = raw.float(), mean.numel()
    numbers, counts = chance.numbers("dropped", dimensions), torch.full_like(chance.keys, dimensions)
    times = [1] * (x.dim() - 1 - mean.dim())

    def at(share: float) -> tuple[Tensor, Tensor | None]:
        gone = least(numbers, share_of(share, counts)).view(len(x), *times, *mean.shape)
        return torch.where(gone, mean, x), extent

    return at


def still(raw: Tensor, extent: Tensor | None, chance: Chance) -> At:
    """A share of the cells of fields of motion ``[B, T, 2, H, W]`` have no vectors, which is zeros, at any time."""
    height, width = raw.shape[-2:]
    numbers = chance.pixels("still", (height, width))
    counts = torch.full_like(chance.keys, height * width)
    if extent is not None:
        rows, columns = torch.arange(height, device=raw.device), torch.arange(width, device=raw.device)
        inside = (rows[:, None] < extent[:, 0, None, None]) & (columns < extent[:, 1, None, None])
        numbers, counts = numbers.masked_fill(~inside, 2), extent.prod(dim=1)
    numbers = numbers.flatten(1)

    def at(share: float) -> tuple[Tensor, Tensor | None]:
        gone = least(numbers, share_of(share, counts)).view(len(raw), 1, 1, height, width)
        return raw.masked_fill(gone, 0), extent

    return at
