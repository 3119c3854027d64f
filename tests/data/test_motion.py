"""Motion from a codec's vectors: direction, size, time and what has none."""

import numpy as np
import pytest
from PIL import Image
from video_factory import write_video

from inforeg_cli.data import media
from inforeg_cli.data.kinds import MotionSettings
from inforeg_cli.data.media import MediaError, Unreadable, motion

TEXTURE = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).resize((400, 400), 3)
)
SIZE = (96, 128)
ONE_REFERENCE = {"preset": "medium", "x264-params": "ref=1:b-pyramid=none:weightp=0:scenecut=0"}
CODECS = [
    ("a.flv", {}),
    ("a.mp4", {"video": "mpeg4"}),
    ("a.mp4", {"video": "mpeg4", "b_frames": 2}),
    ("a.mp4", {"video": "h264", "options": ONE_REFERENCE}),
    ("a.mp4", {"video": "h264", "b_frames": 2, "options": ONE_REFERENCE}),
]


def wanted(fps: float = 5, **more) -> MotionSettings:
    return MotionSettings(column="video", fps=fps, **more)


def panning(right: int, down: int):
    """All of the picture moves by so many pixels a frame."""

    def picture(number: int, size: tuple[int, int]) -> np.ndarray:
        top, left = 150 - down * number, 150 - right * number
        return TEXTURE[top : top + size[0], left : left + size[1]]

    return picture


def square(number: int, size: tuple[int, int]) -> np.ndarray:
    """A textured square in the lower left of a still grey picture moves right by 2 pixels a frame."""
    frame = np.full((*size, 3), 128, np.uint8)
    frame[48:80, 16 + 2 * number : 48 + 2 * number] = TEXTURE[100:132, 100:132]
    return frame


def write(path, picture, seconds: float = 0.8, **more):
    return write_video(path, seconds=seconds, fps=25, size=SIZE, gop=250, quality=2, picture=picture, **more)


@pytest.mark.parametrize(("name", "more"), CODECS)
@pytest.mark.parametrize("moved", [(3, 0), (-2, 0), (0, 2), (0, -1), (2, 1)])
def test_content_that_moves_right_and_down_has_positive_motion(tmp_path, name, more, moved):
    path = write(tmp_path / name, panning(*moved), **more)
    assert media.look(wanted(), path) is None
    fields = media.read(wanted(), path)
    assert (fields.shape, fields.dtype) == ((4, 2, 6, 8), np.float16)
    inner = fields[:, :, 1:-1, 1:-1]  # what has just come in at the edges was not there before
    assert np.allclose(np.median(inner, axis=(2, 3)), moved, atol=0.1)


@pytest.mark.parametrize(("name", "more"), CODECS[:3])
def test_motion_is_found_where_it_is(tmp_path, name, more):
    fields = media.read(wanted(fps=2), write(tmp_path / name, square, seconds=0.4, **more))
    assert fields.shape == (1, 2, 6, 8)
    assert fields[0, 0, 3:5, 1:3].mean() > 0.8
    assert not fields[0, :, :2].any()
    assert not fields[0, :, :, 6:].any()


def test_at_most_so_many_fields_evenly_spaced(tmp_path):
    def faster(number, size):  # one pixel a frame in the first second, two in the next
        return panning(1, 0)(number if number <= 24 else 24 + 2 * (number - 24), size)

    path = write(tmp_path / "a.mp4", faster, seconds=2.0, video="mpeg4")
    every = media.read(wanted(fps=10), path)
    assert len(every) == 20
    assert np.allclose(np.median(every[:, 0], axis=(1, 2)), [1] * 10 + [2] * 10, atol=0.2)
    assert np.array_equal(media.read(wanted(fps=10, frames=4), path), every[[2, 7, 12, 17]])


def test_cells_are_averaged_to_the_grid(tmp_path):
    path = write(tmp_path / "a.mp4", square, video="mpeg4")
    fine = media.read(wanted(), path).astype(float)
    half = media.read(wanted(grid=(3, 4)), path)
    assert half.shape == (4, 2, 3, 4)
    assert np.allclose(half, fine.reshape(4, 2, 3, 2, 4, 2).mean(axis=(3, 5)), atol=1e-2)
    other = media.read(wanted(grid=(4, 5)), path)
    assert np.allclose(other.mean(axis=(2, 3)), fine.mean(axis=(2, 3)), atol=1e-2)
    assert media.read(wanted(grid=(12, 16)), path)[:, :, ::2, ::2].tolist() == fine.tolist()


@pytest.mark.parametrize(("rotation", "shape"), [(90, (8, 6)), (180, (6, 8)), (270, (8, 6))])
def test_a_turned_video_has_turned_motion(tmp_path, rotation, shape):
    path = write(tmp_path / "a.mp4", panning(3, 0), video="mpeg4", rotation=rotation)
    fields = media.read(wanted(), path)
    assert fields.shape == (4, 2, *shape)
    turned = {90: (0, -3), 180: (-3, 0), 270: (0, 3)}[rotation]  # counter-clockwise: what moved right now moves up
    assert np.allclose(np.median(fields, axis=(2, 3)), turned, atol=0.1)


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mjpeg"), ("a.webm", "vp9")])
def test_a_codec_without_vectors_is_named(tmp_path, name, codec):
    path = write_video(tmp_path / name, video=codec)
    with pytest.raises(MediaError) as caught:
        media.read(wanted(), path)
    assert (caught.value.what, caught.value.detail) == ("the codec has no motion vectors", codec)
    assert not isinstance(caught.value, Unreadable)


def test_one_frame_and_still_pictures_do_not_move(tmp_path):
    one = media.read(wanted(), write_video(tmp_path / "a.flv", seconds=1 / 30))
    assert (one.shape, one.any()) == ((1, 2, 3, 4), False)
    still = media.read(wanted(), write(tmp_path / "b.mp4", panning(0, 0), video="mpeg4"))
    assert (still.shape, still.any()) == ((4, 2, 6, 8), False)


def test_fields_beyond_memory_are_refused(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.flv", seconds=2.0)
    monkeypatch.setattr(motion, "MOST_BYTES", 10_000)
    assert len(media.read(wanted(), path)) == 10
    with pytest.raises(MediaError, match="the clip is too large"):
        media.read(wanted(fps=1000), path)
