"""Opening of sound and video files with PyAV, and whether they hold as much as their headers promise."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition, Stream

from inforeg_cli.data.media.errors import CUT, LARGE_PICTURE, NO_TIMES, NO_VIDEO, UNDECODABLE, Unreadable, decoding

#: What a video's frame may measure at most: one side, and its pixels (of the common formats the largest has 8192 x 4320).
MOST_SIDE, MOST_PIXELS = 8192, 8192 * 4320

#: No playlist may reach the network or other files; decoders refuse frames too large before they allocate them.
_OPTIONS = {"protocol_whitelist": "file", "max_pixels": str(MOST_PIXELS)}
#: Containers whose header says how long each stream is.
_EXACT_STREAMS = frozenset({"avi", "flac", "mov,mp4,m4a,3gp,3g2,mj2"})
#: Containers whose header says how long the whole is, and the bytes near their start by which they do. Without these
#: bytes FFmpeg guesses.
_EXACT_WHOLE = {"flv": b"duration", "matroska,webm": b"\x44\x89"}
_HEAD = 65536  # bytes of a header at most
#: Text and single images that FFmpeg would show as a video.
_STILL = ("image2", "tty", "bin", "xbin", "adf", "idf")


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """The file, its headers read. Whatever goes wrong with it in here is told as MediaError."""
    with decoding(), av.open(str(path), options=_OPTIONS | _probing(path)) as container:
        yield container


def video_stream(path: Path, container: InputContainer) -> av.VideoStream:
    """The first stream of pictures that is no cover, ready to be decoded in one thread. Raises Unreadable."""
    name = container.format.name
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams or name in _STILL or name.endswith("_pipe"):
        raise Unreadable(NO_VIDEO)
    context = streams[0].codec_context
    if context is None:
        raise Unreadable(UNDECODABLE, "FFmpeg knows no such codec")
    check_picture(context.height, context.width)
    if name == "avi" and _frozen(path):
        raise Unreadable(NO_TIMES, "0 frames a second in its header")
    # Clips are spread over processes; more threads in each decode no faster.
    context.thread_count = 1
    context.options = {"max_pixels": str(MOST_PIXELS)}
    return streams[0]


def check_picture(height: int, width: int) -> None:
    """Raises Unreadable for a picture that no camera made."""
    if min(height, width) < 1:
        raise Unreadable(UNDECODABLE, f"pictures of {height} x {width}")
    if max(height, width) > MOST_SIDE or height * width > MOST_PIXELS:
        raise Unreadable(LARGE_PICTURE, f"{height} x {width}")


def promised_seconds(path: Path, container: InputContainer, stream: Stream) -> tuple[float, bool]:
    """How long the header says that the stream is, or else the whole file (then True); 0 where it says nothing sure."""
    name = container.format.name
    if name in _EXACT_STREAMS and stream.duration:
        return float(stream.duration * stream.time_base), False
    if name in _EXACT_WHOLE and container.duration:
        with path.open("rb") as handle:
            if _EXACT_WHOLE[name] in handle.read(_HEAD):
                return container.duration / av.time_base, True
    return 0.0, True


def check_length(path: Path, container: InputContainer, stream: Stream, found: float) -> None:
    """Raises Unreadable where the file was cut: of `stream`, all of which has passed, `found` seconds were there."""
    promised, of_whole = promised_seconds(path, container, stream)
    if of_whole and _cut(found, promised):
        # A stream may be shorter than those beside it: has the file itself an end?
        found = max(found, _last_end(path))
    if _cut(found, promised):
        raise Unreadable(CUT, f"{found:.2f} s of the {promised:.2f} s in its header")


def _cut(found: float, promised: float) -> bool:
    # A codec's first and last frames may be trimmed, and headers are rounded.
    return found < 0.98 * promised - 0.1


def _last_end(path: Path) -> float:
    """Seconds until the last packet of any stream is over."""
    end = 0.0
    with opened(path) as container:
        for packet in container.demux():
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is not None:
                end = max(end, float((stamp + (packet.duration or 0)) * packet.time_base))
    return end


def _probing(path: Path) -> dict[str, str]:
    # FFmpeg would search half of a short WAV for compressed sound in disguise, which takes as long as all the rest, and
    # hand out its samples by sixteen milliseconds.
    with path.open("rb") as handle:
        head = handle.read(12)
    return {"probesize": "4096", "max_size": "8192"} if head[:4] == b"RIFF" and head[8:] == b"WAVE" else {}


def _frozen(path: Path) -> bool:
    """Whether an AVI's video has a rate of 0, for which FFmpeg puts in a rate of its own."""
    with path.open("rb") as handle:
        head = handle.read(_HEAD)
    at = head.find(b"vids", head.find(b"strh"))
    return at >= 0 and (head[at + 20 : at + 24] == bytes(4) or head[at + 24 : at + 28] == bytes(4))
