"""Damage to clips as the store holds them, before their transform: batched, on the device, from a seed.

A damage is a function ``(raw, extent, chance) -> at``. It draws once for the clips ``[B, *stored shape]``, and
``at(strength)`` gives them damaged, with the extent that they then have (see `Transform`): what a transform takes in the
place of the whole ones.
"""

from collections.abc import Callable

from torch import Tensor

from inforeg_cli.data.transforms.damage.chance import Chance

__all__ = ["At", "Chance", "Damage"]

#: Clips as damaged as a strength says, and their extent.
At = Callable[[float], tuple[Tensor, Tensor | None]]
Damage = Callable[[Tensor, Tensor | None, Chance], At]
