"""Damage to images ``[B, C, H, W]`` and frames ``[B, T, C, H, W]`` of uint8, which they stay: noise, blur, occlusion, JPEG.

`extent` ``[B, 2]`` is the height and width of clips that differ in size; what is beyond them does not count.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from inforeg_cli.data.transforms.damage import At
from inforeg_cli.data.transforms.damage.chance import Chance, normal

#: What an occluded pixel shows.
GREY = 128
#: Numbers in a clip up to which it is coded where it is.
_SMALL = 1 << 14


def noise(raw: Tensor, extent: Tensor | None, chance: Chance) -> At:
    """White Gaussian noise of a standard deviation in units of the full range, on every channel of every frame."""
    drawn = normal(chance.pixels("noise", raw.shape[1:]))
    return lambda deviation: (_pixels(raw + drawn * (255 * deviation)), extent)


def blur(raw: Tensor, extent: Tensor | None, chance: Chance) -> At:
    """A Gaussian blur whose standard deviation is a fraction of the shorter side; near an edge, over what is there."""
    x = raw.float().flatten(1, -3)
    height, width = _sides(raw, extent)

    def at(fraction: float) -> tuple[Tensor, Tensor | None]:
        deviation = (fraction * torch.minimum(height, width)).clamp(min=1e-6)
        rows, columns = (_gaussian(side, n, deviation) for side, n in zip((height, width), x.shape[-2:], strict=True))
        return _pixels(rows[:, None] @ x @ columns[:, None].mT).view(raw.shape), extent

    return at


def occlusion(raw: Tensor, extent: Tensor | None, chance: Chance) -> At:
    """Grey in a share of the area: one box of the image's proportions, at the same place in all frames of a clip."""
    sides, places = _sides(raw, extent), chance.numbers("occlusion", 2).unbind(dim=1)

    def at(share: float) -> tuple[Tensor, Tensor | None]:
        hidden = []
        for side, place, count in zip(sides, places, raw.shape[-2:], strict=True):
            length = (share**0.5 * side).round()
            start = (place * (side - length + 1)).floor().minimum(side - length)
            pixel = torch.arange(count, device=raw.device) - start[:, None]
            hidden.append((pixel >= 0) & (pixel < length[:, None]))
        box = hidden[0][:, :, None] & hidden[1][:, None, :]
        return raw.masked_fill(box.view(len(raw), *[1] * (raw.dim() - 3), *box.shape[1:]), GREY), extent

    return at


def jpeg(raw: Tensor, extent: Tensor | None, chance: Chance) -> At:
    """Compressed as JPEG of a quality from 100 to 1, with the chroma at half the width and height, and decoded again.

    By Pillow, clip by clip on the CPU, so that every device sees the same artefacts.
    """
    whole = raw.cpu().numpy()
    sizes = [raw.shape[-2:]] * len(raw) if extent is None else extent.tolist()

    def at(quality: float) -> tuple[Tensor, Tensor | None]:
        from inforeg_cli.data.media import jpeg  # with all decoders, which other damage does without

        coded = whole.copy()

        def code(clip: np.ndarray, size: Sequence[int]) -> None:
            height, width = size
            images = clip.reshape(-1, *clip.shape[-3:])[..., :height, :width]  # a view
            images[:] = jpeg.decode(jpeg.encode(images, int(quality)), range(len(images)))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            # Handing a small clip to a thread takes longer than coding it.
            list((pool.map if whole[0].size > _SMALL else map)(code, coded, sizes))
        return torch.from_numpy(coded).to(raw.device), extent

    return at


def _pixels(x: Tensor) -> Tensor:
    """As a camera stores them."""
    return x.round_().clamp_(0, 255).to(torch.uint8)


def _sides(raw: Tensor, extent: Tensor | None) -> tuple[Tensor, Tensor]:
    """Each clip's height and width, float32 ``[B]`` each."""
    if extent is not None:
        return extent.float().unbind(dim=1)
    height, width = (torch.full((len(raw),), float(side), device=raw.device) for side in raw.shape[-2:])
    return height, width


def _gaussian(side: Tensor, count: int, deviation: Tensor) -> Tensor:
    """``[B, count, count]``: the weight of each pixel in each, rows that sum to 1 over the clip's own `side` pixels."""
    pixel = torch.arange(count, device=side.device)
    distance = (pixel[:, None] - pixel) / deviation[:, None, None]
    weight = torch.exp(distance.square() / -2) * (pixel < side[:, None])[:, None, :]
    return weight / weight.sum(dim=-1, keepdim=True).clamp(min=1e-30)
