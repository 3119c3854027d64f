"""Sound, with PyAV: any file's first audio stream as mono at the recipe's rate and of the recipe's length."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from inforeg_cli.data.kinds import AudioSettings
from inforeg_cli.data.media.containers import check_length, opened
from inforeg_cli.data.media.errors import CUT, NO_AUDIO, NOT_FINITE, UNDECODABLE, MediaError, Unreadable

#: A peak below this, -80 dB of full scale, counts as silence.
SILENCE = 10 ** (-80 / 20)

#: Of each of FFmpeg's sample formats the number that stands for silence, and that of full scale above it.
_LEVELS = {"u8": (128, 128), "s16": (0, 2**15), "s32": (0, 2**31), "s64": (0, 2**63), "flt": (0, 1), "dbl": (0, 1)}
_BLOCK = 2**20  # samples that are converted at a time at most
_MARGIN = 8192  # samples beyond those wanted, for the resampler's filter
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)  # what a program writes that streams a WAV into a pipe


def audio(path: Path, settings: AudioSettings) -> np.ndarray:
    """Mono float32 in [-1, 1], ``[samples]``: the channels' mean, at the recipe's rate and of the recipe's length."""
    wanted, pieces, found = settings.samples, [], 0
    with opened(path) as container:
        if not container.streams.audio:
            raise Unreadable(NO_AUDIO)
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise Unreadable(UNDECODABLE, "FFmpeg knows no such codec")
        for piece in _resampled(container, stream, settings.sample_rate, wanted):
            pieces.append(piece)
            found += len(piece)
            if found >= wanted:
                break
        if not found:
            raise Unreadable(NO_AUDIO)
        if found < wanted:
            check_length(path, container, stream, found / settings.sample_rate)
    samples = np.concatenate(pieces)[:wanted]
    if not np.isfinite(samples).all():
        raise MediaError(NOT_FINITE)
    if settings.fit == "tile":
        return np.resize(samples, wanted)
    return np.pad(samples, (0, wanted - len(samples)))


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Full scale is 32768, so that 16-bit recordings come back exactly; what is louder is clipped."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def silent(samples: np.ndarray) -> bool:
    """Whether a clip as stored, int16, never rises above -80 dB of full scale."""
    return bool(np.abs(samples.astype(np.int32)).max() < SILENCE * 32768)


def look_wav(path: Path) -> None:
    """FFmpeg reads a WAV that was cut as a shorter one; its header still says how many bytes of samples there were."""
    with path.open("rb") as handle:
        head = handle.read(12)
        if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
            return
        size, large = handle.seek(0, io.SEEK_END), None
        handle.seek(12)
        while len(chunk := handle.read(8)) == 8:
            name, length = struct.unpack("<4sI", chunk)
            if name == b"ds64" and length >= 16:  # RF64 keeps the true sizes here
                large = struct.unpack("<8xQ", handle.read(16))[0]
                length -= 16
            if name == b"data":
                promised = large if large is not None and length == _UNKNOWN_SIZES[1] else length
                there = size - handle.tell()
                if promised not in _UNKNOWN_SIZES and there < promised:
                    raise Unreadable(CUT, f"{there} of the {promised} bytes in its header")
                return
            handle.seek(length + length % 2, io.SEEK_CUR)
    raise Unreadable(CUT, "a WAV header without samples")


def _resampled(container: InputContainer, stream: av.AudioStream, rate: int, wanted: int) -> Iterator[np.ndarray]:
    """Pieces of mono float32 at `rate`, the first of which may hold all that is `wanted`."""
    resampler = av.AudioResampler(format="fltp", rate=rate)
    for samples, given in _blocks(container, stream, wanted / rate):
        if given == rate:
            yield samples
        else:
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = given
            yield from (piece.to_ndarray()[0] for piece in resampler.resample(frame))
    yield from (piece.to_ndarray()[0] for piece in resampler.resample(None))


def _blocks(container: InputContainer, stream: av.AudioStream, seconds: float) -> Iterator[tuple[np.ndarray, int]]:
    """Mono float32 and its rate, in blocks of `seconds` or what fits into memory: a call for each of a codec's small
    frames would cost more than the work itself."""
    frames: list[np.ndarray] = []
    form, count = None, 0
    for frame in container.decode(stream):
        now = frame.format.name, frame.sample_rate, frame.layout.nb_channels
        if frames and (now != form or count > min(seconds * form[1] + _MARGIN, _BLOCK)):
            yield _mono(frames, form[0]), form[1]
            frames, count = [], 0
        form = now
        samples = frame.to_ndarray()
        frames.append(samples if frame.format.is_planar else samples.reshape(-1, form[2]).T)
        count += frame.samples
    if frames:
        yield _mono(frames, form[0]), form[1]


def _mono(frames: list[np.ndarray], form: str) -> np.ndarray:
    # FFmpeg's own mix to mono would let equal channels grow by 3 dB.
    zero, full = _LEVELS[form.removesuffix("p")]
    channels = np.concatenate(frames, axis=1)
    if zero:
        channels = channels.astype(np.int16) - zero
    return channels.mean(axis=0, dtype=np.float32) / np.float32(full)
