"""Real video files for tests: encoded by PyAV in the test itself, every frame telling its number.

    write_video(folder / "a.flv", seconds=2.5, fps=30, size=(360, 480), video="flv1", audio="mp3")
    write_video(folder / "a.mp4", video="h264", audio="aac", b_frames=2, rotation=90)
    write_video(folder / "a.mp4", video="mpeg4", times=[0, 0.1, 0.5])      # variable frame rate
    write_video(folder / "a.avi", video="mjpeg")
    numbers(frames)                                                         # [0, 10, 20, ...]

The name decides the container: .flv takes flv1 and mp3; .mp4 h264, mpeg4 and aac; .avi mpeg4, mjpeg and mp3; .webm vp8
and vp9.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 8  # a frame's number is its bits in as many columns
DARK, BRIGHT = (30, 40, 60), (225, 200, 150)

_QUALITY_UNIT = 118  # FFmpeg counts a quantiser in steps of 1 / 118
_ENCODERS = {"flv1": "flv", "h264": "libx264", "hevc": "libx265", "vp8": "libvpx", "vp9": "libvpx-vp9"}
_LIVE = {"deadline": "realtime", "cpu-used": "8"}
_OPTIONS = {
    "h264": {"preset": "ultrafast", "crf": "18"},
    "hevc": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "vp8": _LIVE,
    "vp9": _LIVE,
}
_QUANTISED = ("flv1", "mpeg1video", "mpeg2video", "mpeg4", "mjpeg")


def numbered(number: int, size: tuple[int, int]) -> np.ndarray:
    """uint8 ``[H, W, 3]``: the number's bits from left to right, bright for 1; in the lower quarter dark for 1."""
    height, width = size
    bits = np.array([number >> shift & 1 for shift in reversed(range(BITS))], dtype=bool)
    row = bits[np.arange(width) * BITS // width]
    shown = np.where(np.arange(height)[:, None] < height * 3 // 4, row, ~row)
    return np.where(shown[..., None], BRIGHT, DARK).astype(np.uint8)


def numbers(frames: np.ndarray) -> list[int]:
    """The numbers of upright frames ``[T, C, H, W]``, however much coding and scaling have blurred them."""
    upper = frames[:, :, : frames.shape[2] // 2].mean(axis=(1, 2))
    middle = (2 * np.arange(BITS) + 1) * frames.shape[3] // (2 * BITS)
    return [int("".join("1" if level > 125 else "0" for level in row), 2) for row in upper[:, middle]]


def write_video(
    path: Path,
    *,
    seconds: float = 1.0,
    fps: int = 30,
    size: tuple[int, int] = (48, 64),
    video: str | None = "flv1",
    audio: str | None = None,
    rate: int = 22050,
    audio_seconds: float | None = None,
    gop: int = 12,
    b_frames: int = 0,
    quality: int = 3,
    options: dict[str, str] | None = None,
    rotation: int = 0,
    mirrored: bool = False,
    pixel_aspect: Fraction | None = None,
    start: float = 0.0,
    times: Sequence[float] | None = None,
    picture: Callable[[int, tuple[int, int]], np.ndarray] = numbered,
) -> Path:
    """A video of `seconds` at `fps`, or with a frame at each of `times` (seconds); `size` is height and width.

    video:        flv1, h264, hevc, mpeg1video, mpeg2video, mpeg4, mjpeg, vp8 or vp9; None for a file without pictures.
    audio:        mp3 or aac: a tone of 440 Hz in mono at `rate`, as long as the video or `audio_seconds`.
    gop:          the most frames from one keyframe to the next.
    quality:      the quantiser of flv1, mpeg1video to mpeg4 and mjpeg: 1 (best) to 31.
    options:      more for the video encoder, e.g. {"x264-params": "open-gop=1"}.
    rotation:     the flag that players turn the picture by, degrees counter-clockwise (.mp4 only).
    mirrored:     whether the flag then swaps left and right, too.
    pixel_aspect: width of a pixel over its height.
    start:        the first frame's time, in seconds.
    picture:      makes frame number n of a size, uint8 ``[H, W, 3]``.
    """
    times = [start + time for time in ([n / fps for n in range(round(seconds * fps))] if times is None else times)]
    regular = all(abs(time * fps - round(time * fps)) < 1e-6 for time in times)
    packets: list[av.Packet] = []
    with av.open(str(path), "w") as container:
        if video is not None:
            settings = {"g": str(gop), "threads": "1", **_OPTIONS.get(video, {})}
            if video in _QUANTISED:
                settings |= {"flags": "+qscale", "global_quality": str(quality * _QUALITY_UNIT)}
            settings |= options or {}
            stream = container.add_stream(_ENCODERS.get(video, video), rate=fps, options=settings)
            stream.height, stream.width = size
            stream.pix_fmt = "yuvj420p" if video == "mjpeg" else "yuv420p"
            context = stream.codec_context
            context.time_base = Fraction(1, fps if regular else 1000)
            context.max_b_frames = b_frames
            if pixel_aspect is not None:
                context.sample_aspect_ratio = pixel_aspect
            if rotation or mirrored:
                stream.set_display_rotation(rotation, hflip=mirrored)
            packets += _pictures(
                stream, (picture(n, size) for n in range(len(times))), [start + time for time in times]
            )
        if audio is not None:
            sound = container.add_stream({"mp3": "libmp3lame", "aac": "aac"}[audio], rate=rate, layout="mono")
            packets += _tone(sound, times[-1] + 1 / fps if audio_seconds is None else audio_seconds, rate)
        # The streams are written side by side, as a camera's would be.
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def _pictures(stream: av.VideoStream, pictures: Iterable[np.ndarray], times: Iterable[float]) -> Iterator[av.Packet]:
    tick = stream.codec_context.time_base
    for time, picture in zip(times, pictures, strict=True):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = round(time / tick), tick
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _tone(stream: av.AudioStream, seconds: float, rate: int) -> list[av.Packet]:
    context = stream.codec_context
    context.open()
    samples = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    resampler = av.AudioResampler(context.format, context.layout, rate, context.frame_size or None)
    packets = [
        packet for piece in resampler.resample(frame) + resampler.resample(None) for packet in stream.encode(piece)
    ]
    packets += stream.encode(None)
    # MP3 begins before zero by the encoder's delay: .flv and .avi have no such times, and would shift the pictures.
    delay = packets[0].pts if context.name == "libmp3lame" else 0
    for packet in packets:
        packet.pts, packet.dts = packet.pts - delay, packet.dts - delay
    return packets
