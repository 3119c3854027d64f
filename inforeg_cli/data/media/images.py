"""Images, with Pillow."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from inforeg_cli.data.kinds import ImageSettings
from inforeg_cli.data.media.errors import UNDECODABLE, MediaError, Unreadable, decoding

_ORIENTATION, _ROTATED = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and those of its values that swap height and width

# An image of more pixels than Pillow thinks honest is refused by `_opened`, so the warning would say it twice.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def image(path: Path, settings: ImageSettings) -> np.ndarray:
    """uint8 ``[C, H, W]``, turned upright as its EXIF says; transparency is ignored."""
    with _opened(path) as opened:
        opened.load()
        picture = _eight_bit(ImageOps.exif_transpose(opened)).convert(settings.mode)
        if settings.size and picture.size != settings.size[::-1]:
            picture = picture.resize(settings.size[::-1], Image.Resampling.BILINEAR)
        return channels_first(np.asarray(picture))


def look_image(path: Path, settings: ImageSettings) -> tuple[int, ...]:
    """The shape that the clip will have, from the header."""
    with _opened(path) as opened:
        size = settings.size or opened.size[::-1]
        # Asked only where it matters, since for the EXIF data of a PNG Pillow reads the whole file.
        if settings.size is None and opened.getexif().get(_ORIENTATION) in _ROTATED:
            size = size[::-1]
    return (1 if settings.mode == "L" else 3, *size)


def channels_first(pixels: np.ndarray) -> np.ndarray:
    """Pillow's ``[H, W]`` or ``[H, W, C]`` as ``[C, H, W]``."""
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with decoding():
        try:
            opened = Image.open(path)
        except UnidentifiedImageError:
            raise Unreadable(UNDECODABLE, "Pillow knows no such format") from None
        with opened:
            if opened.width * opened.height > Image.MAX_IMAGE_PIXELS:
                raise Unreadable("the image is too large", f"{opened.width} x {opened.height} pixels")
            yield opened


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Sixteen bits a pixel become eight; Pillow's own conversion would clip everything above 255 to white."""
    if picture.mode == "F":
        raise MediaError("the image holds floating-point numbers: save it as 8 or 16 bits a pixel")
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture)
    if values.min() < 0 or values.max() > 65535:
        raise MediaError("the image holds numbers of more than 16 bits: save it as 8 or 16 bits a pixel")
    return Image.fromarray((values >> 8).astype(np.uint8))
