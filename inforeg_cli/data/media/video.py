"""Video as frames, with PyAV: only the frames that are kept are converted, and only what they need is decoded."""

from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from inforeg_cli.data.kinds import VideoSettings
from inforeg_cli.data.media import jpeg
from inforeg_cli.data.media.containers import check_picture, opened, video_stream
from inforeg_cli.data.media.errors import LARGE_CLIP, UNDECODABLE, MediaError, Unreadable
from inforeg_cli.data.media.geometry import Upright, scaled, squared
from inforeg_cli.data.media.reel import Reel
from inforeg_cli.data.media.sampling import centres, moments, shown
from inforeg_cli.data.store import RAW, Encoded

#: A clip may be as many bytes in memory, so that a few processes side by side stay small.
MOST_BYTES = 256 * 1024 * 1024

#: The mean over the area that a pixel covers, linear where a picture is enlarged; a quarter faster than bicubic, and it
#: never rings. With the chroma of every pixel, not of every second one, and rounded alike on every processor.
_SCALING = int(Interpolation.AREA | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT)
#: Of swscale's formats those whose channels lie in planes, as a store's do, and where R, G and B are.
_FORMATS = {"L": ("gray", (0,)), "RGB": ("gbrp", (2, 0, 1))}


def read_video(path: Path, settings: VideoSettings) -> np.ndarray | Encoded:
    """Frames uint8 ``[T, C, H, W]``, or for ``codec = "jpeg"`` these as `jpeg.encode` packs them.

    Frames are turned as the file's display matrix says, and scaled (mean over areas) to the recipe's size and to square
    pixels; smaller pictures are enlarged. What a file holds beyond the frames that are kept is not checked, but for its
    length. Raises Unreadable for broken files, MediaError for clips of more than `MOST_BYTES`.
    """
    with opened(path) as container:
        reel = Reel(path, container)
        clip = _Clip(settings, reel)
        if not clip.collect():
            reel.recount()
            clip = _Clip(settings, reel)
            if not clip.collect():
                raise Unreadable(UNDECODABLE, "some of its frames")
        return clip.result()


def probe(path: Path) -> tuple[float, tuple[int, int]]:
    """Seconds, and height and width with square pixels, from the header alone, for estimates: it may be wrong, knows of
    no rotation, and tells 0 seconds where it does not say."""
    with opened(path) as container:
        stream = video_stream(path, container)
        seconds = (container.duration or 0) / av.time_base
        if stream.duration:
            seconds = float(stream.duration * stream.time_base)
        return max(seconds, 0.0), squared(stream.height, stream.width, stream.sample_aspect_ratio)


class _Clip:
    """The frames of one reel that a recipe keeps, as they come."""

    def __init__(self, settings: VideoSettings, reel: Reel):
        self._settings, self._reel = settings, reel
        self._format, self._planes = _FORMATS[settings.mode]
        self._scaler = VideoReformatter()
        available = len(reel.times) if settings.fps is None else moments(reel.end, settings.fps, reel.tolerance)
        self._count = min(available, settings.frames or available)
        size = scaled(*squared(*reel.size, reel.aspect), settings.size)
        check_picture(*size)
        # A JPEG stream is shorter than its picture, but never nothing.
        self._afford(self._count * (len(self._planes) * size[0] * size[1] if settings.codec == RAW else 500))
        kept = centres(available, settings.frames)
        if settings.fps is not None:
            kept = shown(reel.times, kept / settings.fps, reel.tolerance)
        #: By the number of a frame, where it stands in the clip: more than once where it is shown for long.
        self._places: dict[int, list[int]] = {}
        for place, number in enumerate(kept.tolist()):
            self._places.setdefault(number, []).append(place)
        self._shape: tuple[int, int, int] | None = None
        self._streams: dict[int, bytes] = {}
        self._encoded = 0

    def collect(self) -> bool:
        """Whether all frames could be had."""
        missing = set(self._places)
        for number, frame in self._reel.frames(list(self._places)):
            missing.discard(number)
            self._put(number, frame)
        return not missing

    def result(self) -> np.ndarray | Encoded:
        if self._settings.codec == RAW:
            return self._raw
        numbers = sorted((place, number) for number, places in self._places.items() for place in places)
        data = jpeg.join([self._streams[number] for _, number in numbers])
        return Encoded(data, jpeg.CODEC, (self._count, *self._shape), np.dtype(np.uint8))

    def _put(self, number: int, frame: av.VideoFrame) -> None:
        if self._shape is None:
            self._settle(frame)
        if self._settings.codec == RAW:
            first, *others = self._places[number]
            self._convert(frame, self._raw[first])
            for place in others:
                self._raw[place] = self._raw[first]
        else:
            self._convert(frame, self._raw[0])
            stream = jpeg.encode_frame(self._raw[0], self._settings.quality)
            if number not in self._streams:
                self._encoded += len(stream) * len(self._places[number])
                self._afford(self._encoded)
            self._streams[number] = stream

    def _settle(self, frame: av.VideoFrame) -> None:
        """All frames are turned and scaled as the first one."""
        self._upright = Upright.of(frame)
        size = self._upright.size(*squared(frame.height, frame.width, self._reel.aspect))
        size = scaled(*size, self._settings.size)
        check_picture(*size)
        self._shape = (len(self._planes), *size)
        frames = self._count if self._settings.codec == RAW else 1
        self._afford(frames * int(np.prod(self._shape)))
        self._raw = np.empty((frames, *self._shape), np.uint8)

    def _convert(self, frame: av.VideoFrame, out: np.ndarray) -> None:
        """Writes the scaled frame, upright, to `out`, uint8 ``[C, H, W]``."""
        height, width = self._upright.size(*self._shape[1:])
        picture = self._scaler.reformat(
            frame, width, height, self._format, interpolation=_SCALING, dst_color_range=ColorRange.JPEG, threads=1
        )
        for channel, index in zip(out, self._planes, strict=True):
            plane = picture.planes[index]
            rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
            channel[:] = self._upright.turn(rows[:, :width])

    def _afford(self, size: int) -> None:
        if size > MOST_BYTES:
            raise MediaError(LARGE_CLIP, f"{self._count} frames, {size / 2**20:.0f} MiB")
