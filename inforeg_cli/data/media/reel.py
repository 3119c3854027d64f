"""A video's packets and frames: when each is shown, and decoding of no more than is wanted."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from inforeg_cli.data.media.containers import check_length, opened, video_stream
from inforeg_cli.data.media.errors import NO_TIMES, NO_VIDEO, UNDECODABLE, Unreadable

#: Packets are kept in memory up to this many bytes; those of a larger file are read a second time.
MOST_PACKED = 32 * 1024 * 1024
#: Decoders whose keyframe flags and skipping of unreferenced frames are tested to give the frames of a full decode.
SKIPPABLE = frozenset({"flv", "h264", "hevc", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4", "vp8", "vp9"})
#: A video that seems to last longer has damaged timestamps.
MOST_SECONDS = 1e6


@dataclass
class _Span:
    """Packets `first` (a keyframe) to `last`, decoded in one go for the sake of the frames whose stamps are `wanted`."""

    first: int
    last: int
    wanted: set[int] = field(default_factory=set)


class Reel:
    """One video stream: its packets are read at once, its frames decoded only so far as is asked for.

    times:     when each frame is shown, float64 ``[N]``, seconds from the first, ascending.
    end:       when the last one's time is over.
    tolerance: seconds by which a time may be late for its frame to count as shown: half a tick of the container, and
               half a millisecond at most, since longer ticks are whole frames and nothing was rounded to them.
    """

    def __init__(self, path: Path, container: InputContainer, motion: bool = False):
        """With `motion` the frames carry motion vectors as side data, where the codec has them.

        Raises Unreadable where the file is cut or damaged, holds no video, or does not say when to show it.
        """
        self._path = path
        self._stream = video_stream(path, container)
        self._context = self._stream.codec_context
        if motion:
            self._context.options = {**self._context.options, "flags2": "+export_mvs"}
        self._tick = float(self._stream.time_base)
        self._read(container)
        self.tolerance = min(self._tick / 2, 0.0005)
        if None in self._stamps or len(set(self._stamps)) < len(self._stamps):
            self.recount()
        else:
            self._number = {stamp: number for number, stamp in enumerate(sorted(self._shown))}
            self._set_times(sorted(self._shown))

    @property
    def codec(self) -> str:
        return self._context.name

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as the header tells them."""
        return self._context.height, self._context.width

    @property
    def aspect(self) -> Fraction | None:
        """A pixel's width over its height, where the file tells it."""
        return self._stream.sample_aspect_ratio

    def recount(self) -> None:
        """Decode everything to learn which frames there are: packets need not tell their times truly, nor hold a frame
        each. Raises Unreadable where the frames have no times either, or most packets hold none."""
        self._number = None
        stamps = [frame.pts for frame in self._decoded()]
        if 2 * len(stamps) < len(self._shown):
            raise Unreadable(UNDECODABLE, f"{len(stamps)} frames in {len(self._shown)} packets")
        if None in stamps:
            rate = self._stream.average_rate or self._stream.guessed_rate
            if not rate and len(stamps) > 1:
                raise Unreadable(NO_TIMES)
            stamps = [number / (float(rate or 1) * self._tick) for number in range(len(stamps))]
        self._set_times(stamps)

    def frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """The frames `wanted`, numbered in the order they are shown, each with its number.

        Of files whose keyframes can be trusted only what these frames are made from is decoded; they are those of a full
        decode. Where that does not yield them all, everything is decoded and some may come twice; a frame that does not
        come even then is not there (see `recount`). Raises Unreadable where one of them is damaged.
        """
        left = set(wanted)
        if self._number is not None and self.codec in SKIPPABLE and self._keys and self._keys[0] == 0:
            try:
                for frame in self._sought(sorted(left)):
                    left.discard(self._number[frame.pts])
                    yield self._number[frame.pts], frame
            except (av.FFmpegError, Unreadable):
                pass  # whatever is wrong is told when everything is decoded
            if not left:
                return
        left = set(wanted)
        for number, frame in self.all_frames():
            if number in left:
                left.discard(number)
                yield number, frame
                if not left:
                    return

    def all_frames(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Every frame with its number, as `frames` does."""
        for count, frame in enumerate(self._decoded()):
            number = count if self._number is None else self._number.get(frame.pts)
            if number is not None:
                yield number, frame

    def _read(self, container: InputContainer) -> None:
        self._packets: list[av.Packet] | None = []
        #: Of each packet, in the order of decoding, its time in ticks.
        self._stamps: list[int | None] = []
        #: The packets where decoding may start, and the stamps of all that are shown.
        self._keys: list[int] = []
        self._shown: list[int | None] = []
        durations, end, size, damaged = {}, 0, 0, None
        for packet in container.demux(self._stream):
            if not packet.size:
                continue
            stamp, duration = packet.pts, packet.duration
            at = packet.dts if stamp is None else stamp
            if at is not None:
                end = max(end, at + (duration or 0))
            if packet.is_keyframe:
                self._keys.append(len(self._stamps))
            if not packet.is_discard:
                self._shown.append(stamp)
                durations[stamp] = duration
            if packet.is_corrupt:
                damaged = packet
            self._stamps.append(stamp)
            size += packet.size
            if size > MOST_PACKED:
                self._packets = None
            elif self._packets is not None:
                self._packets.append(packet)
        check_length(self._path, container, self._stream, end * self._tick)
        if not self._shown:
            raise Unreadable(NO_VIDEO)
        if damaged is not None:
            raise Unreadable(UNDECODABLE, f"a damaged packet of {damaged.size} bytes")
        self._last_duration = durations.get(max(self._shown)) if None not in self._shown else None

    def _set_times(self, stamps: Sequence[float]) -> None:
        ticks = np.maximum.accumulate(np.array(stamps, dtype=np.float64) - stamps[0])
        if len(ticks) > 1 and ticks[-1] == 0:
            raise Unreadable(NO_TIMES, f"{len(ticks)} frames at one moment")
        if ticks[-1] * self._tick > MOST_SECONDS:
            raise Unreadable(NO_TIMES, f"they run to {ticks[-1] * self._tick:.0f} s")
        last = self._last_duration or (np.median(np.diff(ticks)) if len(ticks) > 1 else 0)
        self.times = ticks * self._tick
        self.end = float(ticks[-1] + min(last, MOST_SECONDS / self._tick)) * self._tick

    def _decoded(self) -> Iterator[av.VideoFrame]:
        self._restart()
        for packet in self._again():
            yield from map(self._sound, self._context.decode(packet))
        yield from map(self._sound, self._context.decode(None))

    def _sought(self, wanted: Sequence[int]) -> Iterator[av.VideoFrame]:
        spans = iter(self._spans(wanted))
        span = next(spans)
        self._restart()
        for at, packet in enumerate(self._again()):
            if at < span.first:
                continue
            # What no other frame is made from need not be decoded, unless it is wanted itself.
            self._context.skip_frame = "DEFAULT" if self._stamps[at] in span.wanted else "NONREF"
            decoded = self._context.decode(packet)
            if at == span.last:
                decoded += self._context.decode(None)
            for frame in decoded:
                # Before the keyframe itself may be shown what is made from pictures before it.
                if frame.pts is not None and frame.pts >= self._stamps[span.first]:
                    self._sound(frame)
                    if frame.pts in span.wanted:
                        yield frame
            if at == span.last:
                if (span := next(spans, None)) is None:
                    return
                self._restart()

    def _spans(self, wanted: Sequence[int]) -> list[_Span]:
        """What must be decoded for the frames `wanted`: each from the last keyframe before it that is not shown after
        it (what is shown before a keyframe but decoded after it may be made from pictures before that keyframe)."""
        place = {stamp: at for at, stamp in enumerate(self._stamps)}
        stamps = sorted(self._shown)
        spans: list[_Span] = []
        for stamp in (stamps[number] for number in wanted):
            at = place[stamp]
            nearest = bisect_right(self._keys, at) - 1
            while nearest and self._stamps[self._keys[nearest]] > stamp:
                nearest -= 1
            first = self._keys[nearest]
            if not spans or first > spans[-1].last + 1:
                spans.append(_Span(first, at))
            spans[-1].last = max(spans[-1].last, at)
            spans[-1].wanted.add(stamp)
        return spans

    def _again(self) -> Iterator[av.Packet]:
        """The packets once more, in the order of decoding."""
        if self._packets is not None:
            yield from self._packets
            return
        with opened(self._path) as container:
            for packet in container.demux(container.streams[self._stream.index]):
                if packet.size:
                    yield packet

    def _restart(self) -> None:
        self._context.flush_buffers()
        self._context.skip_frame = "DEFAULT"

    def _sound(self, frame: av.VideoFrame) -> av.VideoFrame:
        if frame.is_corrupt:
            raise Unreadable(UNDECODABLE, "damaged pictures")
        return frame
