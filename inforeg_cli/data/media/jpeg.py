"""Frames as JPEG streams, with Pillow: a clip's bytes are uint32 T, T times a uint32 size, and the T streams.

Numbers are little-endian. Colour is YCbCr with the chroma at half the width and height (4:2:0), which is what cameras
store and what Pillow does unless told otherwise; one channel is stored as grey.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from inforeg_cli.data.media.errors import UNDECODABLE, MediaError
from inforeg_cli.data.media.images import channels_first

CODEC = "jpeg"
_MODES = ("L", "RGB")


def encode(frames: np.ndarray, quality: int) -> bytes:
    """A clip's bytes, of frames uint8 ``[T, C, H, W]`` with one or three channels; `quality` as Pillow's, 1 to 100."""
    return join([encode_frame(frame, quality) for frame in frames])


def encode_frame(frame: np.ndarray, quality: int) -> bytes:
    """One JPEG stream, of a frame uint8 ``[C, H, W]``."""
    pixels = frame[0] if len(frame) == 1 else np.ascontiguousarray(frame.transpose(1, 2, 0))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return stream.getvalue()


def join(streams: Sequence[bytes]) -> bytes:
    """A clip's bytes, of its frames' streams."""
    head = np.array([len(streams), *map(len, streams)], dtype="<u4")
    return b"".join([head.tobytes(), *streams])


def decode(data: bytes | np.ndarray, which: Sequence[int]) -> np.ndarray:
    """The frames `which` (0 is the first; in any order, repeated or not), uint8 ``[K, C, H, W]``; K is at least 1.

    Only their streams are read. Raises MediaError where the bytes are damaged, IndexError where there is no such frame.
    """
    view = memoryview(data).cast("B")
    starts = _starts(view)
    count = len(starts) - 1
    frames: dict[int, np.ndarray] = {}
    for index in which:
        if not 0 <= index < count:
            raise IndexError(f"frame {index} of {count}")
        if index not in frames:
            frames[index] = _decode_frame(view[starts[index] : starts[index + 1]])
    if len({frame.shape for frame in frames.values()}) > 1:
        raise MediaError(UNDECODABLE, "its frames differ in size")
    return np.stack([frames[index] for index in which])


def count(data: bytes | np.ndarray) -> int:
    """How many frames a clip's bytes hold."""
    return len(_starts(memoryview(data).cast("B"))) - 1


def _starts(view: memoryview) -> np.ndarray:
    frames = int.from_bytes(view[:4], "little")
    head = 4 * (frames + 1)
    if len(view) < max(4, head):
        raise MediaError(UNDECODABLE, f"{len(view)} bytes are no {frames} JPEG streams")
    sizes = np.frombuffer(view[4:head], dtype="<u4").astype(np.int64)
    starts = head + np.concatenate([[0], np.cumsum(sizes)])
    if starts[-1] != len(view):
        raise MediaError(UNDECODABLE, f"{len(view)} bytes instead of {starts[-1]}")
    return starts


def _decode_frame(stream: memoryview) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(stream), formats=["JPEG"]) as picture:
            if picture.mode not in _MODES:
                raise MediaError(UNDECODABLE, f"a JPEG stream of mode {picture.mode}")
            return channels_first(np.asarray(picture))
    except MediaError:
        raise
    except Exception as error:  # whatever Pillow's parsing of damaged bytes runs into
        raise MediaError(UNDECODABLE, str(error)) from error
