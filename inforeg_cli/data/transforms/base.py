"""What every transform is: clips represented, then normalised with statistics that are fitted once."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Annotated, Any, ClassVar

import torch
from pydantic import PlainValidator
from torch import Tensor, nn

from inforeg_cli.errors import Misuse
from inforeg_cli.seeds import uniform

#: ``draw(name, count)``: that many numbers in [0, 1) for each clip, ``[B, count]``.
Draw = Callable[[str, int], Tensor]


def normalisation(*choices: str) -> Any:
    """The type of a setting `normalise`: one of `choices`, or a pair of fixed numbers ``[mean, std]``."""

    def checked(value: Any) -> str | tuple[float, float]:
        if isinstance(value, str) and value in choices:
            return value
        numbers = isinstance(value, list | tuple) and all(type(part) in (int, float) for part in value)
        if numbers and len(value) == 2 and all(map(isfinite, value)) and value[1] > 0:
            return float(value[0]), float(value[1])
        raise ValueError(f"give {', '.join(choices)}, or [mean, std] with a std above 0")

    return Annotated[Any, PlainValidator(checked)]


Normalise = normalisation("train", "none")


class Transform(nn.Module, ABC):
    """``transform(raw)``: ``[B, *stored shape]`` -> ``[B, *shape]``, float32; `shape` is that of one clip.

    `random` says whether, in training mode, a clip differs from epoch to epoch.
    With ``normalise = "train"`` the output is NaN until `fit` has run or a fitted state was loaded, so that statistics
    that were forgotten cannot pass unnoticed.
    """

    ranks: ClassVar[tuple[int, ...]]
    takes: ClassVar[str]
    random = False

    def __init__(self, shape: tuple[int, ...], normalise: str | tuple[float, float], statistics: tuple[int, ...]):
        """`statistics` is the shape of mean and standard deviation, broadcast against a clip."""
        super().__init__()
        self.shape = shape
        self.normalise = normalise
        fixed = normalise if isinstance(normalise, tuple) else (torch.nan, torch.nan)
        for name, value in zip(("mean", "std"), fixed, strict=True):
            self.register_buffer(name, None if normalise == "none" else torch.full(statistics, value))

    @abstractmethod
    def represent(self, raw: Tensor, draw: Draw | None = None, extent: Tensor | None = None) -> Tensor:
        """The clips before normalisation ``[B, *shape]``; at random if `draw` is given."""

    def rows(self, x: Tensor, extent: Tensor | None) -> Tensor:
        """What statistics are taken over: ``[N, K]`` for K means and standard deviations; K = 1 unless overridden."""
        return x.reshape(-1, 1)

    @torch.no_grad()
    def forward(
        self, raw: Tensor, extent: Tensor | None = None, *, keys: Tensor | None = None, seed_parts: tuple = ()
    ) -> Tensor:
        """`extent` says how much of each clip is valid: steps ``[B]`` of sequences, height and width ``[B, 2]`` of frames.

        In training mode crops and flips are a function of `seed_parts` and the clips' `keys`, int64 ``[B]``.
        """
        draws = self.training and self.random
        if draws and keys is None:
            raise ValueError("random crops and flips need the keys of their clips")

        def draw(name: str, count: int) -> Tensor:
            return drawn(keys, count, *seed_parts, name)

        with torch.autocast(raw.device.type, enabled=False):  # the data keeps its digits whatever the model computes in
            x = self.represent(raw, draw if draws else None, extent)
            return x if self.normalise == "none" else (x - self.mean) / self.std

    @torch.no_grad()
    def fit(self, raw_batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Take mean and standard deviation over (raw, extent) pairs, which are read only if they are needed.

        What does not vary is centred only.
        """
        if self.normalise != "train":
            return
        mean, std = self.statistics(raw_batches)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 0, std, 1.0))

    @torch.no_grad()
    def statistics(self, raw_batches: Iterable[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation over (raw, extent) pairs, float64 on the CPU in the shape of `mean`; the deviation of
        what does not vary is 0.

        Merged batch by batch (Chan et al., 1983): the partition into batches does not matter.
        """
        count, mean, squares = 0, torch.zeros(()), torch.zeros(())
        for raw, extent in raw_batches:
            raw, extent = (part if part is None else part.to(self.mean.device) for part in (raw, extent))
            x = self.represent(raw, None, extent).cpu()  # not every device has float64
            rows = self.rows(x, extent).double()
            if not len(rows):
                continue
            squared, here = torch.var_mean(rows, dim=0, correction=0)
            total, shift = count + len(rows), here - mean
            squares = squares + squared * len(rows) + shift.square() * (count * len(rows) / total)
            mean = mean + shift * (len(rows) / total)
            count = total
        if not count:
            raise Misuse("Normalisation takes its statistics from train clips, and there is none.")
        std = (squares / count).sqrt()
        std = torch.where(std > 1e-7 * mean.abs(), std, 0.0)
        return mean.view_as(self.mean), std.view_as(self.std)


def drawn(keys: Tensor, count: int, *parts: str | int) -> Tensor:
    """`count` numbers in [0, 1) for each of the clips `keys`, a function of (parts, key) alone: ``[B, count]``."""
    return uniform(keys[:, None] * count + torch.arange(count, device=keys.device), *parts)


def valid(x: Tensor, lengths: Tensor) -> Tensor:
    """Which steps of ``[B, T, ...]`` lie within the clips' lengths: bool ``[B, T]``."""
    return torch.arange(x.shape[1], device=x.device) < lengths.to(x.device)[:, None]
