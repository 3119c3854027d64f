"""Damage to texts, token ids ``[B, length]`` of which the first `extent` ``[B]`` count: words dropped, and shuffled.

A word is a token here, which may be a part of a word (see `TextSettings.tokens`).
"""

import torch
from torch import Tensor

from inforeg_cli.data.transforms.base import valid
from inforeg_cli.data.transforms.damage import At
from inforeg_cli.data.transforms.damage.chance import Chance, least, share_of


def dropped(raw: Tensor, extent: Tensor, chance: Chance) -> At:
    """A share of the words is missing, and the others move together; of a text one word stays at least."""
    numbers = _numbers(raw, extent, chance, "dropped")

    def at(share: float) -> tuple[Tensor, Tensor]:
        gone = share_of(share, extent).minimum(extent - 1).clamp(min=0)
        return raw.gather(1, least(numbers, gone).byte().argsort(dim=1, stable=True)), extent - gone

    return at


def shuffled(raw: Tensor, extent: Tensor, chance: Chance) -> At:
    """A share of the words change places among themselves, at random; the others stay where they are."""
    numbers, order = (_numbers(raw, extent, chance, name) for name in ("shuffled", "order"))
    place = torch.arange(raw.shape[1], device=raw.device)

    def at(share: float) -> tuple[Tensor, Tensor]:
        moved = least(numbers, share_of(share, extent))
        # Both begin with the places that change, the one in their order and the other at random, and end with the rest.
        to = torch.where(moved, place, place + len(place)).argsort(dim=1)
        whence = torch.where(moved, order, place + 1).argsort(dim=1, stable=True)
        return raw.scatter(1, to, raw.gather(1, whence)), extent

    return at


def _numbers(raw: Tensor, extent: Tensor, chance: Chance, name: str) -> Tensor:
    """In [0, 1), and 2 past a text's end, ``[B, length]``."""
    return chance.numbers(name, raw.shape[1]).masked_fill(~valid(raw, extent), 2)
