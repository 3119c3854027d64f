"""Images: scaled, cropped, mirrored, normalised by channel."""

from math import log
from typing import Any, Literal

import torch
from pydantic import PositiveFloat, PositiveInt, field_validator
from torch import Tensor

from inforeg_cli.data.transforms.base import Draw, Transform, normalisation
from inforeg_cli.data.transforms.resampling import Span, resample
from inforeg_cli.errors import Misuse
from inforeg_cli.settings import Settings

#: Mean and standard deviation of red, green and blue over ImageNet, for values from 0 to 1.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: A random crop is at most this many times wider than high, or higher than wide.
CROP_RATIO = 4 / 3


class Pictures(Transform):
    """What images and frames have in common: uint8 as 0 to 1, floats as they are, statistics by channel.

    In evaluation the whole image, stretched to `size`. With `crop`, in training, a random part of it: its area within
    `crop_scale` of the image's, its sides within 3:4 and 4:3, or the image's own where it would stick out; both are
    rounded to whole pixels.
    """

    class Config(Settings):
        size: PositiveInt | None = None
        normalise: normalisation("train", "imagenet", "none") = "train"
        crop: bool = False
        crop_scale: tuple[PositiveFloat, PositiveFloat] = (0.08, 1.0)
        flip: bool = False

        @field_validator("crop_scale")
        @classmethod
        def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
            if value[0] <= value[1] <= 1:
                return value
            raise ValueError("give the least and the greatest share of the area, up to 1")

    def __init__(self, config: Config, shape: tuple[int, ...]):
        """`shape` ``(..., C, H, W)`` is that of a clip where `size` says nothing else."""
        *leading, channels, height, width = shape
        self.size = (config.size, config.size) if config.size else (height, width)
        super().__init__((*leading, channels, *self.size), config.normalise, (channels, 1, 1))
        self.crop, self.crop_scale, self.flip = config.crop, config.crop_scale, config.flip
        self.random = config.crop or config.flip
        if config.normalise == "imagenet":
            if channels != 3:
                raise Misuse(f"normalise = 'imagenet' is for three channels, and these images have {channels}.")
            self.mean, self.std = torch.tensor(IMAGENET).view(2, 3, 1, 1).unbind()

    def represent(self, raw: Tensor, draw: Draw | None = None, extent: Tensor | None = None) -> Tensor:
        """`extent` ``[B, 2]`` is the height and width of each clip's images, which lie in the upper left of `raw`.

        Frames ``[B, T, C, H, W]`` are cropped and mirrored each by itself, as in the papers.
        """
        frames = raw.shape[1] if raw.dim() == 5 else 1
        x = raw.flatten(0, -4).float()
        mirrored = draw("flip", frames).flatten() < 0.5 if draw and self.flip else None
        cropping = draw and self.crop
        if cropping or extent is not None or x.shape[-2:] != self.size:
            ends = self._ends(x, frames, extent)
            down, across = self._crop(draw, frames, *ends) if cropping else map(Span.whole, ends)
            x = resample(x, down, across, self.size, mirrored)
        elif mirrored is not None:
            x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
        if raw.dtype == torch.uint8:
            x = x / 255
        return x.reshape(*raw.shape[:-2], *self.size)

    def rows(self, x: Tensor, extent: Tensor | None) -> Tensor:
        return x.movedim(-3, -1).flatten(0, -2)

    @staticmethod
    def _ends(x: Tensor, frames: int, extent: Tensor | None) -> tuple[Tensor, Tensor]:
        """Height and width of each image ``[N]``, without a number that the host would have to send or to wait for."""
        if extent is None:
            return x.new_full((len(x),), x.shape[-2]), x.new_full((len(x),), x.shape[-1])
        return extent.to(x.dtype)[:, None].expand(-1, frames, -1).flatten(0, 1).unbind(-1)

    def _crop(self, draw: Draw, frames: int, height: Tensor, width: Tensor) -> tuple[Span, Span]:
        def numbers(name: str) -> Tensor:
            return draw(f"crop-{name}", frames).flatten()

        least, most = self.crop_scale
        area = (least + (most - least) * numbers("area")) * height * width
        ratio = torch.exp(log(CROP_RATIO) * (2 * numbers("ratio") - 1))
        return (
            Span.part((area / ratio).sqrt(), numbers("y"), height),
            Span.part((area * ratio).sqrt(), numbers("x"), width),
        )


class Images(Pictures):
    """Images ``[C, H, W]``, all of one size -> ``[C, size, size]``, or as stored."""

    ranks = (3,)
    takes = "images [C, H, W]"

    class Config(Pictures.Config):
        kind: Literal["image"] = "image"

    def __init__(self, config: Config, modality: Any):
        super().__init__(config, modality.shape)
