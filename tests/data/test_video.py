"""Video: which frames are kept, how they are turned and scaled, that skipping changes nothing, and broken files."""

import random
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from raw_factory import cut, write_image
from video_factory import BRIGHT, DARK, numbered, numbers, write_video

from inforeg_cli.data import media
from inforeg_cli.data.kinds import AudioSettings, MotionSettings, VideoSettings
from inforeg_cli.data.media import MediaError, Unreadable, containers, jpeg, reel, sampling, video

TEXTURE = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)


def wanted(**more) -> VideoSettings:
    return VideoSettings(column="video", **more)


def textured(number: int, size: tuple[int, int]) -> np.ndarray:
    """The numbered frame, its lower half a texture that moves, so that frames are made from each other."""
    frame, (height, width) = numbered(number, size), size
    rows = height - height // 2
    frame[height // 2 :] = frame[height // 2 :] // 2 + TEXTURE[number : number + rows, 2 * number :][:, :width] // 2
    return frame


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("a.flv", {"audio": "mp3"}),
        ("a.mp4", {"video": "h264", "audio": "aac", "b_frames": 2}),
        ("a.mp4", {"video": "mpeg4", "audio": "aac"}),
        ("a.avi", {"video": "mpeg4", "audio": "mp3", "b_frames": 2}),
        ("a.avi", {"video": "mjpeg"}),
        ("a.webm", {"video": "vp9"}),
    ],
)
def test_the_frames_shown_at_each_moment_are_kept(tmp_path, name, more):
    path = write_video(tmp_path / name, seconds=2.5, **more)
    assert media.look(wanted(fps=3), path) is None
    frames = media.read(wanted(fps=3), path)
    assert (frames.shape, frames.dtype) == ((8, 3, 48, 64), np.uint8)
    assert numbers(frames) == [0, 10, 20, 30, 40, 50, 60, 70]
    assert numbers(media.read(wanted(fps=7), path)) == [k * 30 // 7 for k in range(18)]
    assert numbers(media.read(wanted(), path)) == list(range(75))


def test_of_the_frames_kept_at_most_so_many_remain_evenly_spaced(tmp_path):
    path = write_video(tmp_path / "a.flv", seconds=2.5)
    assert numbers(media.read(wanted(frames=3), path)) == [12, 37, 62]
    assert numbers(media.read(wanted(fps=3, frames=4), path)) == [10, 30, 50, 70]
    assert numbers(media.read(wanted(fps=1, frames=9), path)) == [0, 30, 60]


def test_a_video_slower_than_the_recipe_shows_its_frames_again(tmp_path):
    path = write_video(tmp_path / "a.mp4", video="mpeg4", seconds=0.5, fps=10)
    assert numbers(media.read(wanted(fps=20), path)) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("name", ["a.mp4", "a.flv"])
def test_a_variable_frame_rate_is_followed_by_the_timestamps(tmp_path, name):
    more = {"video": "mpeg4"} if name == "a.mp4" else {}
    path = write_video(tmp_path / name, times=[0, 0.1, 0.5, 0.55, 1.2], **more)
    assert numbers(media.read(wanted(fps=10), path))[:13] == [0, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 3, 4]


def test_moments_count_from_the_first_frame(tmp_path):
    path = write_video(tmp_path / "a.flv", seconds=1.0, start=0.25, audio="mp3")
    assert numbers(media.read(wanted(fps=5), path)) == [0, 6, 12, 18, 24]


@pytest.mark.parametrize("name", ["a.flv", "a.mp4", "a.avi", "a.webm"])
def test_one_frame_is_a_clip(tmp_path, name):
    codec = {"a.flv": "flv1", "a.mp4": "h264", "a.avi": "mjpeg", "a.webm": "vp9"}[name]
    path = write_video(tmp_path / name, seconds=1 / 30, video=codec)
    for settings in (wanted(), wanted(fps=3), wanted(fps=30, frames=5)):
        assert media.read(settings, path).shape == (1, 3, 48, 64)


def test_packets_without_times_are_shown_at_the_rate_of_the_header(tmp_path):
    path = write_video(tmp_path / "a.h264", video="h264", b_frames=2, fps=25)  # a bare stream, without a container
    assert numbers(media.read(wanted(), path)) == list(range(25))
    assert numbers(media.read(wanted(fps=5), path)) == [0, 5, 10, 15, 20]


def test_a_frame_that_was_not_coded_leaves_the_one_before_it_in_place(tmp_path):
    path = write_video(tmp_path / "a.avi", video="mpeg4", gop=250, picture=lambda n, size: numbered(n // 2, size))
    pictures = path.read_bytes().split(b"\x00\x00\x01\xb6")
    for number in (5, 9):  # a bit of each picture's header says whether anything follows
        header = pictures[number + 1]
        pictures[number + 1] = header[:1] + bytes([header[1] & ~0x20]) + header[2:]
    path.write_bytes(b"\x00\x00\x01\xb6".join(pictures))
    assert numbers(media.read(wanted(), path)) == [n // 2 for n in range(30) if n not in (5, 9)]
    assert numbers(media.read(wanted(fps=30), path)) == [n // 2 for n in range(30)]


@pytest.mark.parametrize(
    ("size", "shape"), [(None, (48, 64)), (24, (24, 32)), (100, (100, 133)), (31, (31, 41)), ((30, 20), (30, 20))]
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_frames_are_scaled(tmp_path, size, shape, mode):
    path = write_video(tmp_path / "a.flv", seconds=0.5)
    frames = media.read(wanted(size=size, mode=mode, fps=10), path)
    assert frames.shape == (5, 3 if mode == "RGB" else 1, *shape)
    assert numbers(frames) == [0, 3, 6, 9, 12]


def test_the_shorter_side_of_an_upright_picture_is_its_width(tmp_path):
    path = write_video(tmp_path / "a.flv", size=(64, 48), seconds=0.1)
    assert media.read(wanted(size=24), path).shape == (3, 3, 32, 24)


def test_colours_and_greys_keep_their_range(tmp_path):
    bars = np.repeat(np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]], np.uint8), 16, axis=0)
    path = write_video(
        tmp_path / "a.mp4", video="mpeg4", quality=1, seconds=0.1, picture=lambda n, size: np.tile(bars, (48, 1, 1))
    )
    colours = media.read(wanted(), path)[0, :, 24, 8::16].T.astype(int)
    assert np.abs(colours - bars[8::16]).max() < 12
    greys = media.read(wanted(mode="L"), path)[0, 0, 24, 8::16].astype(int)
    assert np.abs(greys - [0, 255, 76, 29]).max() < 6  # the luma weights of BT.601


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_pictures_are_turned_upright(tmp_path, rotation, mirrored):
    plain = media.read(wanted(), write_video(tmp_path / "a.mp4", video="h264", seconds=0.2))
    path = write_video(tmp_path / "b.mp4", video="h264", seconds=0.2, rotation=rotation, mirrored=mirrored)
    expected = np.rot90(plain, rotation // 90, axes=(-2, -1))
    assert np.array_equal(media.read(wanted(), path), expected[..., ::-1] if mirrored else expected)
    if rotation != 180:
        assert media.read(wanted(size=24), path).shape == (6, 3, 32, 24)


@pytest.mark.parametrize(("aspect", "width"), [(Fraction(2), 128), (Fraction(1, 2), 32), (Fraction(100), 64)])
def test_pixels_become_square_where_the_header_is_sane(tmp_path, aspect, width):
    path = write_video(tmp_path / "a.mp4", video="h264", seconds=0.2, pixel_aspect=aspect)
    assert media.read(wanted(), path).shape == (6, 3, 48, width)
    assert media.probe(path) == (pytest.approx(0.2), (48, width))


SLOW = {"preset": "medium"}
SKIPPED = [
    ("a.flv", {"gop": 12}),
    ("a.flv", {"gop": 250}),
    ("a.mp4", {"video": "mpeg4", "gop": 12}),
    ("a.mp4", {"video": "mpeg4", "gop": 250, "b_frames": 2}),
    ("a.avi", {"video": "mpeg4", "gop": 12, "b_frames": 2}),
    ("a.avi", {"video": "mjpeg"}),
    ("a.mp4", {"video": "h264", "gop": 12, "b_frames": 3}),
    ("a.mp4", {"video": "h264", "gop": 250, "b_frames": 3, "options": SLOW}),
    ("a.flv", {"video": "h264", "b_frames": 3, "options": {**SLOW, "x264-params": "open-gop=1:b-pyramid=normal"}}),
    ("a.mp4", {"video": "h264", "b_frames": 3, "options": {**SLOW, "x264-params": "open-gop=1:b-pyramid=normal"}}),
    ("a.mp4", {"video": "h264", "b_frames": 3, "options": {**SLOW, "x264-params": "intra-refresh=1"}}),
    ("a.mp4", {"video": "hevc", "b_frames": 3, "options": {"x265-params": "open-gop=1:log-level=none"}}),
    ("a.mpg", {"video": "mpeg1video", "b_frames": 2}),
    ("a.mpg", {"video": "mpeg2video", "b_frames": 2}),
    ("a.webm", {"video": "vp8", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good"}}),
    ("a.webm", {"video": "vp9", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good"}}),
]


@pytest.mark.parametrize(("name", "more"), SKIPPED)
def test_frames_got_by_skipping_are_those_of_a_full_decode(tmp_path, monkeypatch, name, more):
    path = write_video(tmp_path / name, seconds=2.0, fps=25, picture=textured, **more)
    choices = [wanted(fps=3), wanted(fps=1), wanted(fps=25, frames=1), wanted(frames=7), wanted(fps=12.5)]
    with monkeypatch.context() as patched:
        if "intra-refresh" not in str(more):  # there a keyframe is whole only some frames later, so all is decoded
            patched.delattr(reel.Reel, "_decoded")
        skipped = [media.read(settings, path) for settings in choices]
        patched.setattr(reel, "MOST_PACKED", 0)
        again = [media.read(settings, path) for settings in choices]
    monkeypatch.setattr(reel, "SKIPPABLE", frozenset())
    full = [media.read(settings, path) for settings in choices]
    for got, reread, expected in zip(skipped, again, full, strict=True):
        assert np.array_equal(got, expected)
        assert np.array_equal(reread, expected)


@pytest.mark.parametrize("codec", ["flv1", "h264"])
def test_only_what_is_needed_is_decoded(tmp_path, codec):
    path = write_video(tmp_path / "a.flv", video=codec, seconds=2.0, fps=24, gop=12, picture=textured)
    whole = media.read(wanted(fps=1), path)
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][18]
    data = path.read_bytes()
    path.write_bytes(data.replace(bytes(packet), bytes(len(bytes(packet)))))
    assert np.array_equal(media.read(wanted(fps=1), path), whole)
    with pytest.raises(Unreadable, match="cannot be decoded"):
        media.read(wanted(), path)


def test_jpeg_frames_are_the_raw_ones_encoded(tmp_path):
    path = write_video(tmp_path / "a.flv", seconds=1.0, times=[0, 0.4, 0.9])
    raw = media.read(wanted(fps=10, size=24), path)
    packed = media.read(wanted(fps=10, size=24, codec="jpeg", quality=90), path)
    assert (packed.codec, packed.shape, packed.dtype) == ("jpeg", raw.shape, raw.dtype)
    assert packed.data == jpeg.encode(raw, 90)


def test_probe_tells_length_and_size_from_the_header(tmp_path):
    path = write_video(tmp_path / "a.flv", seconds=2.0, audio="mp3")
    seconds, size = media.probe(path)
    assert seconds == pytest.approx(2.0, abs=0.1)
    assert size == (48, 64)


def told(settings, path) -> tuple[str, str]:
    with pytest.raises(Unreadable) as caught:
        media.look(settings, path)
        media.read(settings, path)
    return caught.value.what, caught.value.detail


def test_what_is_no_video_is_unreadable(tmp_path):
    (tmp_path / "none.mp4").write_bytes(b"")
    (tmp_path / "pointer.flv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (tmp_path / "text.mp4").write_text("no video at all\n" * 100)
    (tmp_path / "text.txt").write_text("no video at all\n" * 100)
    write_image(tmp_path / "image.png")
    (tmp_path / "image.mp4").write_bytes((tmp_path / "image.png").read_bytes())
    write_video(tmp_path / "sound.mp4", video=None, audio="aac", audio_seconds=0.5, times=[0])
    expected = {
        "none.mp4": "the file is empty",
        "pointer.flv": "the file is a Git LFS pointer, not the recording itself: fetch it with `git lfs pull`",
        "text.mp4": "the file cannot be decoded",
        "text.txt": "the file holds no video",
        "image.png": "the file holds no video",
        "image.mp4": "the file holds no video",
        "sound.mp4": "the file holds no video",
    }
    for settings in (wanted(), MotionSettings(column="video", fps=3)):
        assert {name: told(settings, tmp_path / name)[0] for name in expected} == expected


def test_a_video_without_sound_has_no_audio(tmp_path):
    path = write_video(tmp_path / "a.mp4", video="mpeg4")
    assert told(AudioSettings(column="video", sample_rate=8000, seconds=1), path) == ("the file holds no audio", "")


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("a.flv", {"audio": "mp3"}),
        ("a.avi", {"video": "mpeg4"}),
        ("a.webm", {"video": "vp9"}),
        ("a.mp4", {"video": "h264", "audio": "aac"}),
    ],
)
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_cut_video_is_unreadable(tmp_path, name, more, share):
    path = cut(write_video(tmp_path / name, seconds=2.0, **more), share)
    what, detail = told(wanted(fps=3), path)
    if name == "a.mp4":  # its index stood at the end
        assert what == "the file cannot be decoded"
    else:
        assert what == "the file is cut short"
        assert detail.endswith(" s in its header")
    if "audio" in more:
        assert told(AudioSettings(column="video", sample_rate=8000, seconds=2), path)[0] == what


def test_sound_shorter_than_the_pictures_is_no_cut(tmp_path):
    path = write_video(tmp_path / "a.flv", seconds=2.0, audio="mp3", audio_seconds=0.5)
    sound = media.read(AudioSettings(column="video", sample_rate=22050, seconds=2, fit="pad"), path)
    assert np.abs(sound[2000:10000]).max() > 10000
    assert not sound[15000:].any()
    assert numbers(media.read(wanted(fps=1), path)) == [0, 30]


def test_a_damaged_picture_is_an_error_and_no_silence(tmp_path):
    path = write_video(tmp_path / "a.flv", seconds=1.0, picture=textured)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = random.Random(0).randbytes(200)
    path.write_bytes(data)
    assert told(wanted(), path)[0] == "the file cannot be decoded"


def test_a_video_of_no_frames_a_second_has_no_timestamps(tmp_path):
    path = write_video(tmp_path / "a.avi", video="mjpeg")
    data = bytearray(path.read_bytes())
    rate = data.find(b"vids", data.find(b"strh")) + 24
    data[rate : rate + 4] = bytes(4)
    path.write_bytes(data)
    assert told(wanted(), path) == ("the video has no timestamps", "0 frames a second in its header")


def test_frames_that_all_are_shown_at_once_have_no_timestamps(tmp_path):
    path = write_video(tmp_path / "a.flv", seconds=0.5)
    data = bytearray(path.read_bytes())
    at = 13  # the first tag: type, three bytes of size, four of time, three of stream, the data, its size again
    while at < len(data):
        data[at + 4 : at + 8] = bytes(4)
        at += 15 + int.from_bytes(data[at + 1 : at + 4], "big")
    path.write_bytes(data.replace(b"duration", b"durnoton"))
    assert told(wanted(fps=3), path) == ("the video has no timestamps", "15 frames at one moment")


def test_absurd_pictures_are_refused(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.flv", seconds=0.1)
    monkeypatch.setattr(containers, "MOST_SIDE", 63)
    assert told(wanted(), path) == ("the picture is too large", "48 x 64")
    monkeypatch.undo()
    assert told(wanted(size=8000), path) == ("the picture is too large", "8000 x 10667")


@pytest.mark.parametrize("more", [{"size": 2000}, {"size": 4000, "codec": "jpeg"}, {"fps": 1000, "size": 256}])
def test_clips_beyond_memory_are_refused_before_they_are_decoded(tmp_path, monkeypatch, more):
    path = write_video(tmp_path / "a.flv", seconds=2.0)
    with pytest.raises(MediaError, match="give the recipe fewer fps or frames, or a smaller size") as caught:
        monkeypatch.setattr(video, "MOST_BYTES", 4 * 2**20)
        media.read(wanted(**more), path)
    assert not isinstance(caught.value, Unreadable)


def test_whatever_is_damaged_gives_clips_or_errors_in_words(tmp_path):
    sources = [
        write_video(tmp_path / "a.flv", seconds=0.5, audio="mp3"),
        write_video(tmp_path / "a.mp4", seconds=0.5, video="h264", audio="aac", b_frames=2),
        write_video(tmp_path / "a.avi", seconds=0.5, video="mpeg4", audio="mp3"),
    ]
    random_numbers = random.Random(0)
    kinds = [wanted(fps=3), MotionSettings(column="v", fps=3), AudioSettings(column="v", sample_rate=8000, seconds=1)]
    clips = errors = 0
    for round_ in range(45):
        data = bytearray(sources[round_ % 3].read_bytes())
        for _ in range(random_numbers.choice([1, 10, 100])):
            data[random_numbers.randrange(len(data))] = random_numbers.randrange(256)
        if round_ % 5 == 0:
            del data[random_numbers.randrange(len(data)) :]
        path = tmp_path / f"damaged{sources[round_ % 3].suffix}"
        path.write_bytes(data)
        for settings in kinds:
            try:
                media.look(settings, path)
                clip = media.read(settings, path)
                clips += 1
                assert clip.nbytes < 2**24
            except MediaError:
                errors += 1
    assert clips > 10
    assert errors > 10


def test_evenly_spaced_means_the_centres_of_equal_segments():
    assert sampling.centres(9, 3).tolist() == [1, 4, 7]
    assert sampling.centres(2, 3).tolist() == [0, 1]
    assert sampling.centres(7, None).tolist() == list(range(7))
    assert sampling.centres(10**9, 2).tolist() == [250_000_000, 750_000_000]


def test_versions_name_what_decodes(tmp_path):
    assert media.versions(["video"]) == media.versions(["motion"]) == media.versions(["audio"])
    assert {"av", "libavcodec", "libswscale", "numpy"} <= set(media.versions(["video"]))
    assert "pillow" in media.versions(["video", "jpeg"])
    assert "pillow" not in media.versions(["video"])


def test_workers_start_without_the_heavy_libraries():
    code = (
        "import inforeg_cli.data.media, sys; print(sorted({'torch', 'pandas', 'pyarrow', 'scipy'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_numbered_frames_differ_as_far_as_they_can():
    assert numbers(np.stack([numbered(n, (48, 64)).transpose(2, 0, 1) for n in range(256)])) == list(range(256))
    assert min(BRIGHT) > max(DARK)
