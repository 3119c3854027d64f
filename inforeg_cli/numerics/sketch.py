"""Count-sketches: vectors as long as a model's gradient made short, so that many can be kept and their angles compared."""

from math import ceil

import torch
from torch import Tensor

COLUMNS = 4096


class CountSketch:
    """A fixed random linear map from vectors ``[length]`` to ``[columns]`` that keeps inner products on average
    (Charikar, Chen and Farach-Colton, 2002).

    Every entry is given a random sign and added to one of the columns. Entries stand in rows as wide as there are columns,
    each row turned by a random amount: entries of two rows meet with probability 1 / columns, entries of one never do.
    Over the signs and turns the inner product of two sketches has the mean <a, b> and at most the variance
    (|a|^2 |b|^2 + <a, b>^2) / columns; vectors no longer than `columns` keep their inner products exactly.
    """

    def __init__(
        self, length: int, generator: torch.Generator, columns: int = COLUMNS, device: torch.device | str = "cpu"
    ):
        """`generator`, on the CPU, so that every device gets the same map, is all that it depends on."""
        self.length, self.columns, rows = length, columns, ceil(length / columns)
        signs = torch.randint(0, 2, (rows * columns,), generator=generator, dtype=torch.int8) * 2 - 1
        turns = torch.randint(0, columns, (rows, 1), generator=generator, dtype=torch.int32)
        places = (torch.arange(columns, dtype=torch.int32) + turns) % columns
        order = places + columns * torch.arange(rows, dtype=torch.int32)[:, None]
        self._signs, self._order = signs.to(device), order.flatten().to(device)

    def __call__(self, vector: Tensor) -> Tensor:
        """Float32 ``[columns]``. A gather and a sum, both deterministic on CUDA, where a scatter would not be."""
        padded = torch.nn.functional.pad(vector.float(), (0, len(self._signs) - self.length))
        return (padded * self._signs).index_select(0, self._order).view(-1, self.columns).sum(dim=0)


def cosines(vectors: Tensor) -> Tensor:
    """The cosine similarity of every two of n vectors ``[..., n, columns]``: ``[..., n, n]``; NaN beside a zero vector,
    which has no direction."""
    normed = vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return normed @ normed.mT
