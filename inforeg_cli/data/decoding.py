"""What is done to one clip: its files are read and become the bytes of the store, or what is wrong with them.

This is what the worker processes run: it imports no more than decoding needs.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from inforeg_cli.data import media
from inforeg_cli.data.kinds import AudioSettings
from inforeg_cli.data.media import MediaError, Unreadable
from inforeg_cli.data.media.errors import NO_AUDIO
from inforeg_cli.data.store import RAW, Encoded, Modality
from inforeg_cli.files import digest, file_digest
from inforeg_cli.settings import Settings


class Flaw(NamedTuple):
    """What is wrong with one modality of a clip, in the words of a MediaError; `missing` if that was an Unreadable."""

    modality: str
    what: str
    detail: str
    missing: bool


@dataclass(frozen=True)
class Packed:
    """One modality of a clip as it lies in a store.

    data:   the bytes, uint8, of a sequence of fixed length with its padding.
    digest: their SHA-256, hexadecimal.
    shape:  of the numbers that the bytes stand for; `dtype` is theirs.
    steps:  how many of a sequence are valid, else None.
    """

    data: np.ndarray
    digest: str
    shape: tuple[int, ...]
    dtype: str
    codec: str
    steps: int | None

    @property
    def bytes(self) -> int:
        return self.data.nbytes


@dataclass(frozen=True)
class Task:
    """A clip's raw files, or numbers, by modality, as they are called where the clip is listed; and whether it is
    known to be odd."""

    media: Mapping[str, Path | np.ndarray]
    named: Mapping[str, str]
    odd: bool = False


@dataclass(frozen=True)
class Decoder:
    """What is the same for all clips: see `Plan`."""

    settings: Mapping[str, Settings]
    modalities: Mapping[str, Modality]


@dataclass(frozen=True)
class Decoded:
    """What became of a clip. Where there are flaws, nothing of it is stored.

    signature: of the raw files as they were before they were read.
    source:    digest of their content.
    silent:    the modalities whose audio is silent.
    """

    signature: list[list[Any]]
    source: str = ""
    packed: Mapping[str, Packed] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


def decode(decoder: Decoder, task: Task) -> Decoded:
    """Read and pack every modality of a clip; all that is wrong is found at once."""
    signed, hashes = signature(task), {}
    packed, flaws, silent, source = {}, [], [], []
    for name, raw in task.media.items():
        try:
            clip = _read(decoder, name, raw, task.odd)
            packed[name] = pack(clip, decoder.modalities[name])
            if isinstance(raw, Path) and raw not in hashes:  # several modalities may come from one file
                hashes[raw] = file_digest(raw)
            source += [name, hashes[raw] if isinstance(raw, Path) else digest(raw.tobytes())]
            if isinstance(decoder.settings.get(name), AudioSettings) and not task.odd and media.silent(clip):
                silent.append(name)
        except MediaError as error:
            flaws.append(Flaw(name, error.what, error.detail, isinstance(error, Unreadable)))
        except OSError as error:
            flaws.append(Flaw(name, "the file cannot be read", error.strerror or "", True))
    return Decoded(signed, flaws=flaws) if flaws else Decoded(signed, digest(*source), packed, silent=silent)


def signature(task: Task) -> list[list[Any]]:
    """By modality the name, size and time of change of its file, or the digest of its numbers.

    What was decoded from files of the same signature is not decoded again.
    """
    return [_signed(name, task.named.get(name, ""), raw) for name, raw in task.media.items()]


def pack(clip: np.ndarray | Encoded, modality: Modality) -> Packed:
    """A decoded clip as it is stored. Raises ValueError where it does not fit its modality."""
    if modality.shape is not None:
        steps, clip = len(clip) if modality.sequence else None, _padded(clip, modality)
    else:
        steps = clip.shape[0] if modality.sequence else None
    if isinstance(clip, Encoded):
        data, codec = np.frombuffer(clip.data, np.uint8), clip.codec
    else:
        data, codec = np.ascontiguousarray(clip).reshape(-1).view(np.uint8), RAW
    return Packed(data, hashlib.sha256(data).hexdigest(), tuple(clip.shape), clip.dtype.str, codec, steps)


def _read(decoder: Decoder, name: str, raw: Path | np.ndarray, odd: bool) -> np.ndarray | Encoded:
    settings, modality = decoder.settings.get(name), decoder.modalities[name]
    try:
        clip = raw if settings is None else media.read(settings, raw)
    except MediaError as error:
        if not (odd and isinstance(settings, AudioSettings) and error.what == NO_AUDIO):
            raise
        clip = np.zeros(modality.shape, modality.dtype)
    media.check_shape(clip, modality)
    return clip


def _signed(modality: str, named: str, raw: Path | np.ndarray) -> list[Any]:
    if isinstance(raw, np.ndarray):
        return [modality, named, raw.nbytes, digest(raw.tobytes())]
    try:
        status = raw.stat()
    except OSError:
        return [modality, named or str(raw), None, None]
    return [modality, named or str(raw), status.st_size, status.st_mtime_ns]


def _padded(clip: np.ndarray | Encoded, modality: Modality) -> np.ndarray:
    shape, dtype = modality.shape, modality.dtype
    if isinstance(clip, Encoded) or clip.dtype != dtype:
        raise ValueError(f"{getattr(clip, 'codec', clip.dtype)} where raw {dtype} is expected")
    if modality.sequence and 1 <= len(clip) < shape[0] and clip.shape[1:] == shape[1:]:
        clip = np.concatenate([clip, np.zeros((shape[0] - len(clip), *shape[1:]), dtype)])
    if clip.shape != shape:
        raise ValueError(f"shape {list(clip.shape)} where {list(shape)} is expected")
    return clip
