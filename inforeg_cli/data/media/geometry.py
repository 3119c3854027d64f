"""How a video's frames are to be turned and scaled to be shown upright, with square pixels."""

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

#: A pixel's width over its height: anything beyond is a damaged header, not a format.
_SANE_ASPECT = (Fraction(1, 4), Fraction(4))


@dataclass(frozen=True)
class Upright:
    """What a file's display matrix asks for, in this order: rows become columns, then left and right change places,
    then top and bottom. Turns that are not of 90 degrees are rounded to such."""

    transposed: bool = False
    mirrored: bool = False
    flipped: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> "Upright":
        # A point (x, y) of the picture is shown at (a x + c y, b x + d y), up to a shift; y points down.
        matrix = frame.side_data.get("DISPLAYMATRIX")
        if matrix is None or matrix.buffer_size < 36:
            return cls()
        a, b, _, c, d = (int(entry) for entry in np.frombuffer(matrix, dtype=np.int32)[:5])
        if abs(b) > abs(a):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after turning; or, which is the same, those before it of a turned picture."""
        return (width, height) if self.transposed else (height, width)

    def turn(self, pictures: np.ndarray) -> np.ndarray:
        """A view of pictures ``[..., H, W]``, upright."""
        turned = pictures.swapaxes(-1, -2) if self.transposed else pictures
        if self.mirrored:
            turned = turned[..., ::-1]
        return turned[..., ::-1, :] if self.flipped else turned

    def turn_vectors(self, right: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Components of motion, as seen upright."""
        if self.transposed:
            right, down = down, right
        return -right if self.mirrored else right, -down if self.flipped else down


def squared(height: int, width: int, aspect: Fraction | None) -> tuple[int, int]:
    """Height and width once its pixels, `aspect` times as wide as high, are square: players change the width."""
    if not aspect or not _SANE_ASPECT[0] <= aspect <= _SANE_ASPECT[1]:
        return height, width
    return height, max(1, round(width * aspect))


def scaled(height: int, width: int, size: int | tuple[int, int] | None) -> tuple[int, int]:
    """Height and width as the recipe's `size` wants them: one number is the shorter side, to which smaller pictures
    are enlarged, too, so that all can stand in one batch; the longer one is rounded."""
    if size is None:
        return height, width
    if not isinstance(size, int):
        return size
    short = min(height, width)
    return max(1, round(height * size / short)), max(1, round(width * size / short))
