"""Writing a store clip by clip, straight to the disk, into a folder that takes its name only when it is complete."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inforeg_cli.data.decoding import Packed, pack
from inforeg_cli.data.sources import Clip
from inforeg_cli.data.store import FORMAT_VERSION, SPLITS, Encoded, Modality, content_digest
from inforeg_cli.files import file_digest, folder_atomically, write_json

#: Clips of varying shape start at multiples of this, so that a view of any dtype is aligned.
_ALIGNMENT = 8


@dataclass(frozen=True)
class Part:
    """Where one modality of a clip lies in its file, and what it is; see `Packed`."""

    offset: int
    bytes: int
    digest: str
    shape: tuple[int, ...]
    dtype: str
    codec: str
    steps: int | None

    def to_json(self) -> dict[str, Any]:
        return vars(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Part":
        return cls(**{**entry, "shape": tuple(entry["shape"])})


@dataclass(frozen=True)
class Entry:
    """A clip of the store, the digest of its raw files, and its modalities."""

    clip: Clip
    source: str
    parts: Mapping[str, Part]


class Bins:
    """The modalities' files. What is added is with the operating system when `add` returns: no buffer is lost with
    this process."""

    def __init__(self, folder: Path, modalities: Mapping[str, Modality]):
        self._modalities = modalities
        self._handles = {}
        try:
            for name in modalities:
                self._handles[name] = (folder / f"{name}.bin").open("ab", buffering=0)
        except BaseException:
            self.close()
            raise
        self._sizes = {name: handle.tell() for name, handle in self._handles.items()}

    def add(self, packed: Mapping[str, Packed]) -> dict[str, Part]:
        """Append one clip."""
        parts = {}
        for name, handle in self._handles.items():
            clip, size = packed[name], self._sizes[name]
            offset = starts_at(size, self._modalities[name])
            write_all(handle, bytes(offset - size))
            write_all(handle, clip.data)
            self._sizes[name] = offset + clip.data.nbytes
            parts[name] = Part(offset, clip.data.nbytes, clip.digest, clip.shape, clip.dtype, clip.codec, clip.steps)
        return parts

    def sync(self) -> None:
        for handle in self._handles.values():
            os.fsync(handle.fileno())

    def close(self) -> None:
        for handle in self._handles.values():
            handle.close()


def starts_at(end: int, modality: Modality) -> int:
    """Where a clip begins in its file when the one before it ends at `end`."""
    return end if modality.shape is not None else end + -end % _ALIGNMENT


def finish(
    folder: Path,
    modalities: Mapping[str, Modality],
    entries: Sequence[Entry],
    head: Mapping[str, Any],
    *,
    classes: Mapping[str, Sequence[str]],
    dropped: Mapping[str, int],
    attachments: Mapping[str, bytes],
) -> None:
    """Write all but the modalities' files, which lie in `folder` in the order of the entries; store.json comes last."""
    import pyarrow
    import pyarrow.parquet

    table, indexes = _table_of(entries, modalities), {}
    written = ["clips.parquet", *(f"{name}.bin" for name in modalities), *attachments]
    pyarrow.parquet.write_table(pyarrow.table(table), folder / "clips.parquet")
    for name, data in attachments.items():
        (folder / name).write_bytes(data)
    for name, modality in modalities.items():
        parts = [entry.parts[name] for entry in entries]
        if modality.sequence:
            np.save(folder / f"{name}.lengths.npy", np.array([part.steps for part in parts], dtype=np.int64))
            written.append(f"{name}.lengths.npy")
        if modality.shape is None:
            index, indexes[name] = _index(parts)
            np.save(folder / f"{name}.index.npy", index)
            written.append(f"{name}.index.npy")
    for name in written:
        sync(folder / name)
    found, counts = counted([entry.clip for entry in entries], classes)
    described = {
        "format": FORMAT_VERSION,
        **head,
        "clips": len(entries),
        "classes": found,
        "schemes": list(counts),
        "counts": counts,
        "dropped": dict(dropped),
        "modalities": {name: modality.to_json() for name, modality in modalities.items()},
        "indexes": indexes,
        "attachments": sorted(attachments),
        "files": {name: _described(folder / name) for name in sorted(written)},
    }
    described["content"] = content_digest(described, table)
    write_json(folder / "store.json", described)
    sync(folder)


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
    classes: Mapping[str, Sequence[str]] | None = None,
    attachments: Mapping[str, bytes] | None = None,
) -> Iterator["StoreWriter"]:
    """Inside the context `add` clips, in the order they shall have; at its end the store stands at `path`.

    Where the context ends with an error or an interruption nothing is left, and a store that stood at `path` stays.
    """
    head = described_by(name, source, recipe_digest, inputs_digest, decoders or {})
    with folder_atomically(path) as folder:
        writer = StoreWriter(Bins(folder, modalities), modalities)
        try:
            yield writer
        finally:
            writer.bins.close()
        extra = {"classes": classes or {}, "dropped": writer.dropped, "attachments": attachments or {}}
        finish(folder, modalities, writer.entries, head, **extra)


def described_by(
    name: str, source: str, recipe_digest: str, inputs_digest: str, decoders: Mapping[str, str]
) -> dict[str, Any]:
    """What store.json says first: which dataset this is, and what made it from what."""
    made = {"recipe": recipe_digest, "inputs": inputs_digest, "decoders": dict(decoders)}
    return {"name": name, "source": source, **made}


@dataclass
class StoreWriter:
    """Takes the clips of a store; only their table is kept in memory. See `write_store`."""

    bins: Bins
    modalities: Mapping[str, Modality]
    entries: list[Entry] = field(default_factory=list)
    #: Clips left out, by reason; goes into store.json.
    dropped: dict[str, int] = field(default_factory=dict)

    def add(self, clip: Clip, arrays: Mapping[str, np.ndarray | Encoded], source: str = "") -> None:
        """One clip: an array a modality (sequences may have fewer steps than `length`), and its raw files' digest.

        Raises ValueError where an array's shape or dtype is not its modality's.
        """
        packed = {}
        for name, modality in self.modalities.items():
            try:
                packed[name] = pack(arrays[name], modality)
            except ValueError as error:
                raise ValueError(f"clip {clip.id!r}, {name}: {error}") from None
        self.entries.append(Entry(clip, source, self.bins.add(packed)))


def class_order(values: Iterable[str]) -> list[str]:
    """Sorted; by value where all are whole numbers, so that 10 comes after 9."""
    names = sorted(set(values))
    return sorted(names, key=int) if all(name.isascii() and name.isdigit() for name in names) else names


def counted(
    clips: Sequence[Clip], fixed: Mapping[str, Sequence[str]] | None = None
) -> tuple[dict[str, list[str]], dict[str, dict[str, dict[str, dict[str, int]]]]]:
    """The classes of each label column, in the order that is `fixed` or else their own, and the number of clips by
    scheme, split, label column and class."""
    classes = {
        label: list((fixed or {}).get(label) or class_order(clip.labels[label] for clip in clips))
        for label in clips[0].labels
    }
    counts: dict[str, Any] = {
        scheme: {split: {label: dict.fromkeys(names, 0) for label, names in classes.items()} for split in SPLITS}
        for scheme in clips[0].splits
    }
    for clip in clips:
        for scheme, split in clip.splits.items():
            for label, name in clip.labels.items():
                counts[scheme][split][label][name] += 1
    return classes, counts


def _table_of(entries: Sequence[Entry], modalities: Iterable[str]) -> dict[str, list[str]]:
    """The table of clips, with the digest of each one's raw files and of its bytes."""
    first, clips = entries[0].clip, [entry.clip for entry in entries]
    table = {"id": [clip.id for clip in clips]}
    table |= {f"label.{label}": [clip.labels[label] for clip in clips] for label in first.labels}
    table |= {f"split.{scheme}": [clip.splits[scheme] for clip in clips] for scheme in first.splits}
    if first.group is not None:
        table["group"] = [clip.group for clip in clips]
    table["source"] = [entry.source for entry in entries]
    return table | {f"digest.{name}": [entry.parts[name].digest for entry in entries] for name in modalities}


def _index(parts: Sequence[Part]) -> tuple[np.ndarray, dict[str, list[str]]]:
    """Of each clip offset, bytes, shape, dtype and codec, the last two as places in lists of names."""
    names = {"dtypes": [*dict.fromkeys(part.dtype for part in parts)]}
    names["codecs"] = [*dict.fromkeys(part.codec for part in parts)]
    most = max(len(part.shape) for part in parts)
    columns = [("offset", "<i8"), ("bytes", "<i8"), ("dimensions", "u1"), ("shape", "<i8", (most,))]
    index = np.zeros(len(parts), [*columns, ("dtype", "u1"), ("codec", "u1")])
    for row, part in zip(index, parts, strict=True):
        row["offset"], row["bytes"], row["dimensions"] = part.offset, part.bytes, len(part.shape)
        row["shape"][: len(part.shape)] = part.shape
        row["dtype"], row["codec"] = names["dtypes"].index(part.dtype), names["codecs"].index(part.codec)
    return index, names


def _described(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    return {"bytes": size} if path.suffix == ".bin" else {"bytes": size, "sha256": file_digest(path)}


def write_all(handle: Any, data: bytes | np.ndarray) -> None:
    view = memoryview(data)
    while view.nbytes:
        view = view[handle.write(view) :]


def sync(path: Path) -> None:
    """Hand a file or a folder over to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
