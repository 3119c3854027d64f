"""The source of every random number: each is derived from what it is for, so none depends on what was drawn before.

No component draws from the global generator. Two methods at one seed therefore share initial weights, data order and
augmentation, and a resumed run needs no generator state. Dropout, which cannot take a generator, is the one exception:
the loop seeds the global generator from (seed, epoch, step) before each forward.
"""

import hashlib

import torch
from torch import Tensor

_MASK = (1 << 63) - 1


def derive(*parts: str | int) -> int:
    """A 63-bit seed from the parts, e.g. ``derive(seed, "order", epoch)``: stable over processes and versions."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") & _MASK


def generator(*parts: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator on `device`, seeded by ``derive(*parts)``."""
    return torch.Generator(device).manual_seed(derive(*parts))


def seed_global(device: torch.device, *parts: str | int) -> None:
    """Seed the global generator of `device`, for dropout, which takes no other.

    Not by ``torch.manual_seed``: that would seed every device there might be, which costs more than a small step.
    """
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(derive(*parts))
    elif device.type == "mps":
        torch.mps.manual_seed(derive(*parts))
    else:
        torch.default_generator.manual_seed(derive(*parts))


def permutation(length: int, *parts: str | int) -> Tensor:
    """A random order of ``range(length)``, int64 ``[length]``, drawn on the CPU so that every device gets the same one."""
    return torch.randperm(length, generator=generator(*parts))


def uniform(keys: Tensor, *parts: str | int) -> Tensor:
    """One number in [0, 1) for each key, a function of (parts, key) alone: float32, the shape of `keys`.

    A counter-based generator (the SplitMix64 finaliser), so that the augmentation of a clip depends neither on the batch
    it happens to stand in nor on the device. `keys` are int64, e.g. clip indices.
    """
    # int64 arithmetic wraps around in torch; a logical right shift is an arithmetic one with the sign bits masked off.
    value = keys.to(torch.int64) * -7046029254386353131 + derive(*parts)
    value = (value ^ ((value >> 30) & ((1 << 34) - 1))) * -4658895280553007687
    value = (value ^ ((value >> 27) & ((1 << 37) - 1))) * -7723592293110705685
    value = value ^ ((value >> 31) & ((1 << 33) - 1))
    return ((value >> 40) & ((1 << 24) - 1)).to(torch.float32) / (1 << 24)
