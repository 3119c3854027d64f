"""Frames as JPEG streams: what comes back, what is read, and damaged bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from inforeg_cli.data.media import MediaError, jpeg


def frames(count: int = 4, channels: int = 3, size: tuple[int, int] = (31, 41)) -> np.ndarray:
    """Smooth pictures, each brighter than the one before."""
    slope = np.linspace(0, 100, size[0])[:, None] + np.linspace(0, 50, size[1])
    return np.stack([np.stack([slope + 20 * n + 10 * c for c in range(channels)]) for n in range(count)]).astype(
        np.uint8
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_frames_come_back_nearly_as_they_were(channels):
    clip = frames(channels=channels)
    decoded = jpeg.decode(jpeg.encode(clip, 95), range(4))
    assert (decoded.shape, decoded.dtype) == (clip.shape, np.uint8)
    assert np.abs(decoded.astype(int) - clip).max() <= 4


def test_the_layout_is_the_count_the_sizes_and_the_streams():
    clip = frames(2, channels=1)
    data = jpeg.encode(clip, 90)
    count, first, second = np.frombuffer(data[:12], "<u4").tolist()
    assert count == jpeg.count(data) == 2
    assert len(data) == 12 + first + second
    with Image.open(io.BytesIO(data[12 : 12 + first])) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "L", (41, 31))
    assert data == jpeg.join([jpeg.encode_frame(frame, 90) for frame in clip]) == jpeg.encode(clip, 90)


def test_quality_is_paid_for_in_bytes():
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8)
    sizes = [len(jpeg.encode(noise, quality)) for quality in (10, 50, 95)]
    assert sizes == sorted(set(sizes))


def test_any_frames_in_any_order_from_bytes_or_an_array():
    clip = frames(5)
    data = jpeg.encode(clip, 95)
    every = jpeg.decode(data, range(5))
    for which in ([3], [4, 0, 2], [1, 1], np.array([2, 3])):
        assert np.array_equal(jpeg.decode(data, which), every[which])
        assert np.array_equal(jpeg.decode(np.frombuffer(data, np.uint8), which), every[which])
    for wrong in (5, -1):
        with pytest.raises(IndexError):
            jpeg.decode(data, [wrong])


def test_only_the_streams_asked_for_are_read():
    data = bytearray(jpeg.encode(frames(3), 95))
    first = int.from_bytes(data[4:8], "little")
    data[16 : 16 + first] = bytes(first)
    assert jpeg.decode(bytes(data), [1, 2]).shape == (2, 3, 31, 41)
    with pytest.raises(MediaError, match="cannot be decoded"):
        jpeg.decode(bytes(data), [0, 1])


def test_damaged_bytes_are_an_error_in_words():
    data = jpeg.encode(frames(3), 95)
    png = io.BytesIO()
    Image.new("RGB", (4, 4)).save(png, "PNG")
    differing = jpeg.join([jpeg.encode_frame(frames(1, size=size)[0], 95) for size in ((8, 8), (8, 9))])
    for damaged in (
        b"",
        data[:3],
        data[:9],
        data[:-1],
        data + b"0",
        b"\xff\xff\xff\xff" + data[4:],
        jpeg.join([png.getvalue()]),
        jpeg.join([b""]),
        jpeg.join([jpeg.encode_frame(frames(1)[0], 95)[:400]]),
        differing,
    ):
        with pytest.raises(MediaError):
            jpeg.decode(damaged, [0, 1] if damaged is differing else [0])
