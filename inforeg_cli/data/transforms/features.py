"""Vectors, sequences and texts: as they are, but for normalisation and padding."""

from typing import Any, Literal

import torch
from torch import Tensor

from inforeg_cli.data.transforms.base import Draw, Normalise, Transform, valid
from inforeg_cli.settings import Settings


class Features(Transform):
    """Vectors ``[D]``, sequences ``[T, D]`` or other arrays, each dimension normalised by itself.

    Padding has no part in a sequence's statistics, and stays zero.
    """

    ranks = (1, 2, 3, 4)
    takes = "arrays of one to four dimensions"

    class Config(Settings):
        kind: Literal["features"] = "features"
        normalise: Normalise = "train"

    def __init__(self, config: Config, modality: Any):
        shape = tuple(modality.shape)
        super().__init__(shape, config.normalise, shape[1:] if modality.sequence else shape)
        self.sequence = modality.sequence

    def represent(self, raw: Tensor, draw: Draw | None = None, extent: Tensor | None = None) -> Tensor:
        return raw.float()

    def rows(self, x: Tensor, extent: Tensor | None) -> Tensor:
        if self.sequence:
            x = x.flatten(0, 1) if extent is None else x[valid(x, extent)]
        return x.flatten(1)

    def forward(self, raw: Tensor, extent: Tensor | None = None, **random: Any) -> Tensor:
        x = super().forward(raw, extent, **random)
        if self.sequence and extent is not None:
            x = torch.where(valid(x, extent).view(*x.shape[:2], *[1] * (x.dim() - 2)), x, 0.0)
        return x


class Text(Transform):
    """Token ids ``[length]`` -> int64, 0 past the end of each text. There is nothing to normalise."""

    ranks = (1,)
    takes = "token ids [length]"

    class Config(Settings):
        kind: Literal["text"] = "text"

    def __init__(self, config: Config, modality: Any):
        super().__init__(tuple(modality.shape), "none", ())

    def represent(self, raw: Tensor, draw: Draw | None = None, extent: Tensor | None = None) -> Tensor:
        ids = raw.long()
        return ids if extent is None else torch.where(valid(ids, extent), ids, 0)
