"""What damage draws: numbers that belong to a clip, whatever batch it stands in and however strong the damage is."""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from inforeg_cli.data.transforms.base import drawn
from inforeg_cli.seeds import uniform

#: Bits that number a pixel's place: 13 for each side, as many as the largest frame a recipe can ask for needs, and 12
#: for the channels of a clip's frames.
_SIDE_BITS, _PLACE_BITS = 13, 38


@dataclass(frozen=True)
class Chance:
    """The random numbers of B clips, a function of `parts` and of each clip's key (its row in the store), ``[B]``.

    They are the same for every strength: a stronger damage is the weaker one and more, and curves over strengths do not
    jump from draw to draw.
    """

    keys: Tensor
    parts: tuple[str | int, ...]

    def numbers(self, name: str, count: int) -> Tensor:
        """In [0, 1), ``[B, count]``; `count` must be the same for all clips of the store."""
        return drawn(self.keys, count, *self.parts, name)

    def pixels(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """In [0, 1), ``[B, *shape]`` for `shape` (..., H, W): a pixel's number does not depend on H and W, which are
        those of the largest clip of a batch."""
        *leading, height, width = shape
        device = self.keys.device
        images, rows, columns = (torch.arange(n, device=device) for n in (torch.Size(leading).numel(), height, width))
        places = (images[:, None, None] << (2 * _SIDE_BITS)) + (rows[:, None] << _SIDE_BITS) + columns
        found = uniform((self.keys << _PLACE_BITS)[:, None, None, None] + places, *self.parts, name)
        return found.view(len(self.keys), *shape)


def normal(numbers: Tensor) -> Tensor:
    """Standard normal numbers of uniform ones in [0, 1), by the inverse of the distribution function."""
    # Multiples of 2^-24, put in the middle of their steps: neither end becomes infinite.
    return sqrt(2) * torch.erfinv(2 * numbers - 1 + 2**-24)


def least(numbers: Tensor, counts: Tensor) -> Tensor:
    """Which of each clip's numbers ``[B, n]`` are its `counts` ``[B]`` least: bool ``[B, n]``."""
    ranks = numbers.argsort(dim=1, stable=True).argsort(dim=1)
    return ranks < counts[:, None]


def share_of(share: float, counts: Tensor) -> Tensor:
    """How many of `counts` (whole numbers) are that share, rounded half up: int64."""
    return (share * counts + 0.5).floor().long()
