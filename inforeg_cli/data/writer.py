"""Writing a store clip by clip, straight to the disk, into a folder that appears only when it is complete."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from inforeg_cli.data.sources import Clip
from inforeg_cli.data.store import FORMAT_VERSION, RAW, SPLITS, Modality, content_digest, file_digest
from inforeg_cli.files import folder_atomically, write_json

#: Clips of varying shape start at multiples of this, so that a view of any dtype is aligned.
_ALIGNMENT = 8


@dataclass(frozen=True)
class Encoded:
    """A clip as encoded bytes, `codec` naming the encoding; `shape` and `dtype` are those of the decoded numbers."""

    data: bytes
    codec: str
    shape: tuple[int, ...]
    dtype: np.dtype


@contextmanager
def write_store(
    path: Path,
    modalities: Mapping[str, Modality],
    *,
    name: str,
    source: str,
    recipe_digest: str,
    inputs_digest: str = "",
    decoders: Mapping[str, str] | None = None,
) -> Iterator["StoreWriter"]:
    """Inside the context `add` clips, in the order they shall have; at its end the store stands at `path`.

    Where the context ends with an error or an interruption nothing is left, and a store that stood at `path` stays.
    """
    head = {"name": name, "source": source, "recipe": recipe_digest, "inputs": inputs_digest}
    with folder_atomically(path) as folder:
        with ExitStack() as stack:
            streams = {
                modality: _Stream(described, stack.enter_context((folder / f"{modality}.bin").open("wb")))
                for modality, described in modalities.items()
            }
            writer = StoreWriter(streams)
            yield writer
            for modality, stream in streams.items():
                stream.finish(folder, modality)
        writer.finish(folder, {"format": FORMAT_VERSION, **head, "decoders": dict(decoders or {})})


class StoreWriter:
    """Takes the clips of a store; only their table is kept in memory. See `write_store`."""

    def __init__(self, streams: Mapping[str, "_Stream"]):
        self._streams = streams
        self._clips: list[tuple[Clip, str]] = []
        #: Clips left out, by reason; goes into store.json.
        self.dropped: dict[str, int] = {}

    def add(self, clip: Clip, arrays: Mapping[str, np.ndarray | Encoded], source: str = "") -> None:
        """One clip: an array a modality (sequences may have fewer steps than `length`), and its raw files' digest.

        Raises ValueError where an array's shape or dtype is not its modality's.
        """
        for name, stream in self._streams.items():
            try:
                stream.write(arrays[name])
            except ValueError as error:
                raise ValueError(f"clip {clip.id!r}, {name}: {error}") from None
        self._clips.append((clip, source))

    def finish(self, folder: Path, head: Mapping[str, Any]) -> None:
        import pyarrow
        import pyarrow.parquet

        table = _table_of(self._clips)
        pyarrow.parquet.write_table(pyarrow.table(table), folder / "clips.parquet")
        streamed = {f"{name}.bin": stream.sha256.hexdigest() for name, stream in self._streams.items()}
        classes, counts = counted([clip for clip, _ in self._clips])
        described = {
            **head,
            "clips": len(self._clips),
            "classes": classes,
            "schemes": list(counts),
            "counts": counts,
            "dropped": self.dropped,
            "modalities": {name: stream.modality.to_json() for name, stream in self._streams.items()},
            "indexes": {name: stream.names for name, stream in self._streams.items() if stream.modality.shape is None},
            "files": {
                file.name: {"bytes": file.stat().st_size, "sha256": streamed.get(file.name) or file_digest(file)}
                for file in sorted(folder.iterdir())
            },
        }
        described["content"] = content_digest(described, table)
        write_json(folder / "store.json", described)


@dataclass
class _Stream:
    """One modality's file while it is written."""

    modality: Modality
    handle: BinaryIO
    sha256: Any = field(default_factory=hashlib.sha256)
    offset: int = 0
    lengths: list[int] = field(default_factory=list)
    rows: list[tuple[int, int, tuple[int, ...], int, int]] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=lambda: {"dtypes": [], "codecs": []})

    def write(self, clip: np.ndarray | Encoded) -> None:
        if self.modality.sequence:
            self.lengths.append(clip.shape[0])
        if self.modality.shape is not None:
            self._append(self._fixed(clip).tobytes())
            return
        self._append(bytes(-self.offset % _ALIGNMENT))
        data, codec = (clip.data, clip.codec) if isinstance(clip, Encoded) else (clip.tobytes(), RAW)
        names = _position(self.names["dtypes"], clip.dtype.str), _position(self.names["codecs"], codec)
        self.rows.append((self.offset, len(data), clip.shape, *names))
        self._append(data)

    def finish(self, folder: Path, name: str) -> None:
        if self.modality.sequence:
            np.save(folder / f"{name}.lengths.npy", np.array(self.lengths, dtype=np.int64))
        if self.modality.shape is None:
            np.save(folder / f"{name}.index.npy", self._index())
        self.handle.flush()
        os.fsync(self.handle.fileno())

    def _append(self, data: bytes) -> None:
        self.handle.write(data)
        self.sha256.update(data)
        self.offset += len(data)

    def _fixed(self, clip: np.ndarray | Encoded) -> np.ndarray:
        shape, dtype = self.modality.shape, self.modality.dtype
        if isinstance(clip, Encoded) or clip.dtype != dtype:
            raise ValueError(f"{getattr(clip, 'codec', clip.dtype)} where raw {dtype} is expected")
        if self.modality.sequence and 1 <= len(clip) < shape[0] and clip.shape[1:] == shape[1:]:
            clip = np.concatenate([clip, np.zeros((shape[0] - len(clip), *shape[1:]), dtype)])
        if clip.shape != shape:
            raise ValueError(f"shape {list(clip.shape)} where {list(shape)} is expected")
        return clip

    def _index(self) -> np.ndarray:
        most = max(len(shape) for _, _, shape, _, _ in self.rows)
        columns = [("offset", "<i8"), ("bytes", "<i8"), ("dimensions", "u1"), ("shape", "<i8", (most,))]
        index = np.zeros(len(self.rows), [*columns, ("dtype", "u1"), ("codec", "u1")])
        for i, (offset, size, shape, dtype, codec) in enumerate(self.rows):
            index[i] = (offset, size, len(shape), (*shape, *[0] * (most - len(shape))), dtype, codec)
        return index


def class_order(values: Iterable[str]) -> list[str]:
    """Sorted; by value where all are whole numbers, so that 10 comes after 9."""
    names = sorted(set(values))
    return sorted(names, key=int) if all(name.isascii() and name.isdigit() for name in names) else names


def counted(clips: Sequence[Clip]) -> tuple[dict[str, list[str]], dict[str, dict[str, dict[str, dict[str, int]]]]]:
    """The classes of each label column, and the number of clips by scheme, split, label column and class."""
    classes = {label: class_order(clip.labels[label] for clip in clips) for label in clips[0].labels}
    counts: dict[str, Any] = {
        scheme: {split: {label: dict.fromkeys(names, 0) for label, names in classes.items()} for split in SPLITS}
        for scheme in clips[0].splits
    }
    for clip in clips:
        for scheme, split in clip.splits.items():
            for label, name in clip.labels.items():
                counts[scheme][split][label][name] += 1
    return classes, counts


def _table_of(clips: Sequence[tuple[Clip, str]]) -> dict[str, list[str]]:
    """The table of clips, each with the digest of its raw files."""
    first = clips[0][0]
    table = {"id": [clip.id for clip, _ in clips]}
    table |= {f"label.{label}": [clip.labels[label] for clip, _ in clips] for label in first.labels}
    table |= {f"split.{scheme}": [clip.splits[scheme] for clip, _ in clips] for scheme in first.splits}
    if first.group is not None:
        table["group"] = [clip.group for clip, _ in clips]
    table["source"] = [source for _, source in clips]
    return table


def _position(names: list[str], name: str) -> int:
    if name not in names:
        names.append(name)
    return names.index(name)
