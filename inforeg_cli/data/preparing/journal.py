"""The work on a store that is not finished: what is done is kept whatever happens to the process, and found again.

The folder holds the modalities' files, which grow clip by clip, and `journal.jsonl`: in its first line what the work
is for, then a line a clip. A clip's bytes are with the operating system before its line is, so a killed process leaves
no line without its bytes; what a power cut may have torn off is cut back to the last whole clip.
"""

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from inforeg_cli.data.decoding import Decoded, Flaw
from inforeg_cli.data.store import Modality
from inforeg_cli.data.writer import Bins, Part, starts_at, write_all
from inforeg_cli.files import canonical_json, write_text

JOURNAL = "journal.jsonl"
#: Raised when lines mean something else than before.
_VERSION = 1
#: Seconds between two hand-overs of lines to the operating system, and of everything to the disk.
_FLUSH, _SYNC = 0.5, 1.0
_CHUNK = 8 * 2**20


@dataclass(frozen=True)
class Record:
    """What became of a clip: its place in the modalities' files, or its flaws. See `Decoded`."""

    id: str
    signature: list[list[Any]]
    source: str = ""
    parts: Mapping[str, Part] = field(default_factory=dict)
    flaws: Sequence[Flaw] = ()
    silent: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "parts": {name: part.to_json() for name, part in self.parts.items()}}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Record":
        parts = {name: Part.from_json(part) for name, part in entry["parts"].items()}
        return cls(**{**entry, "parts": parts, "flaws": [Flaw(*flaw) for flaw in entry["flaws"]]})


class Journal:
    """The work in `folder`, begun or gone on with; one process at a time.

    purpose: what the bytes depend on beside the clips' files. Work that was for another purpose is discarded.
    said:    is told of that.
    """

    def __init__(
        self,
        folder: Path,
        purpose: Mapping[str, Any],
        modalities: Mapping[str, Modality],
        said: Callable[[str], None] = lambda message: None,
    ):
        self._folder, self._modalities = folder, modalities
        self._purpose = json.loads(canonical_json({**purpose, "journal": _VERSION}))
        #: By clip id.
        self.records: dict[str, Record] = {}
        self._lines = 0
        folder.mkdir(exist_ok=True)
        self._resume(said)
        self._bins = Bins(folder, modalities)
        self._file = (folder / JOURNAL).open("ab", buffering=0)
        self._unwritten: list[bytes] = []
        self._flushed = self._synced = time.monotonic()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._syncing: Future[int] | None = None

    @property
    def size(self) -> int:
        """Bytes of the modalities' files."""
        return sum((self._folder / f"{name}.bin").stat().st_size for name in self._modalities)

    def add(self, clip: str, decoded: Decoded) -> Record:
        """Keep what became of a clip. Raises OSError where it cannot be written."""
        parts = self._bins.add(decoded.packed) if decoded.packed else {}
        record = Record(clip, decoded.signature, decoded.source, parts, decoded.flaws, decoded.silent)
        self.records[clip] = record
        self._unwritten.append(_line(record.to_json()))
        self._lines += 1
        now = time.monotonic()
        if now - self._flushed > _FLUSH:
            self._flush()
            self._flushed = now
        if now - self._synced > _SYNC and (self._syncing is None or self._syncing.done()):
            self._note_sync()
            self._flush()
            # In a thread: the disk may take seconds, and the workers' results want to be fetched meanwhile.
            self._syncing, self._synced = self._pool.submit(self._sync, self._lines), now
        return record

    def close(self) -> None:
        """Hand everything over to the disk. Where that fails, what reached it before is found again."""
        if self._file.closed:
            return
        try:
            self._note_sync()
            self._flush()
            self._syncing = self._pool.submit(self._sync, self._lines)
            self._note_sync()
            self._flush()
        finally:
            self._pool.shutdown()
            self._file.close()
            self._bins.close()

    def arrange(self, clips: Sequence[str]) -> None:
        """Close, and bring the modalities' files into this order of clips, without any others.

        Nothing is moved where they are so already, as after work in one go; clips that were mended later come last.
        """
        self.close()
        for name, modality in self._modalities.items():
            parts, offsets, end = [self.records[clip].parts[name] for clip in clips], [], 0
            for part in parts:
                offsets.append(starts_at(end, modality))
                end = offsets[-1] + part.bytes
            path = self._folder / f"{name}.bin"
            if path.stat().st_size == end and [part.offset for part in parts] == offsets:
                continue
            # The new file and the journal that knows its offsets take their places together: see `_resume`.
            moved = self._folder / f"{name}.bin.{secrets.token_hex(4)}"
            _copy(path, moved, parts, offsets)
            kept = {clip: record for clip, record in self.records.items() if not record.parts}
            for clip, part, offset in zip(clips, parts, offsets, strict=True):
                at = {**self.records[clip].parts, name: replace(part, offset=offset)}
                kept[clip] = replace(self.records[clip], parts=at)
            self.records = kept
            lines = [_line(record.to_json()) for record in kept.values()]
            text = [self._head({name: moved.name}), *lines, _line({"synced": len(lines)})]
            write_text(self._folder / JOURNAL, b"".join(text).decode())
            moved.replace(path)

    def remove(self) -> None:
        """Close and forget the work, and its folder with it."""
        self.close()
        shutil.rmtree(self._folder)

    def _note_sync(self) -> None:
        if self._syncing is not None:
            self._unwritten.append(_line({"synced": self._syncing.result()}))
            self._syncing = None

    def _flush(self) -> None:
        write_all(self._file, b"".join(self._unwritten))
        self._unwritten.clear()

    def _sync(self, records: int) -> int:
        self._bins.sync()
        os.fsync(self._file.fileno())
        return records

    def _head(self, moved: Mapping[str, str]) -> bytes:
        return _line({"for": self._purpose, "moved": moved})

    def _resume(self, said: Callable[[str], None]) -> None:
        """Find what was done, or begin anew."""
        lines = _whole_lines(self._folder / JOURNAL)
        begun = lines[0][0] if lines else {}
        if lines and (before := begun.get("for", {})) != self._purpose:
            changed = [name for name in self._purpose if self._purpose[name] != before.get(name)]
            said(
                f"the work that was begun is discarded: it was for {' and '.join(f'another {what}' for what in changed)}"
            )
        if not lines or begun.get("for") != self._purpose:
            shutil.rmtree(self._folder)
            self._folder.mkdir()
            (self._folder / JOURNAL).write_bytes(self._head({}))
            return
        for name, moved in begun["moved"].items():
            with suppress(FileNotFoundError):
                (self._folder / moved).replace(self._folder / f"{name}.bin")
        own = {JOURNAL, *(f"{name}.bin" for name in self._modalities)}
        for other in self._folder.iterdir():  # what finishing or arranging wrote before it was interrupted
            if other.name not in own:
                other.unlink()
        self._take(lines)

    def _take(self, lines: Sequence[tuple[dict[str, Any], int]]) -> None:
        """Read the records, and cut all files back to the last that is whole.

        The bytes of those that were not yet known to be on the disk are compared with their digests.
        """
        synced = max(entry.get("synced", 0) for entry, _ in lines)
        end, ends = lines[0][1], dict.fromkeys(self._modalities, 0)
        with ExitStack() as stack:
            handles = {
                name: stack.enter_context((self._folder / f"{name}.bin").open("a+b")) for name in self._modalities
            }
            for entry, line_end in lines[1:]:
                if "synced" not in entry:
                    record, checked = Record.from_json(entry), self._lines < synced
                    if not all(_whole(part, handles[name], checked) for name, part in record.parts.items()):
                        break
                    self._lines += 1
                    self.records[record.id] = record
                    ends |= {name: max(ends[name], part.offset + part.bytes) for name, part in record.parts.items()}
                end = line_end
            for name, handle in handles.items():
                handle.truncate(ends[name])
        os.truncate(self._folder / JOURNAL, end)


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _whole_lines(path: Path) -> list[tuple[dict[str, Any], int]]:
    """The entries of a journal up to the first that is torn, and where each one's line ends."""
    found, end = [], 0
    if not path.is_file():
        return found
    with path.open("rb") as handle:
        for line in handle:
            end += len(line)
            try:
                entry = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                break
            if not isinstance(entry, dict):
                break
            found.append((entry, end))
    return found


def _whole(part: Part, handle: BinaryIO, checked: bool) -> bool:
    if handle.seek(0, os.SEEK_END) < part.offset + part.bytes:
        return False
    handle.seek(part.offset)
    return checked or hashlib.sha256(handle.read(part.bytes)).hexdigest() == part.digest


def _copy(old: Path, new: Path, parts: Sequence[Part], offsets: Sequence[int]) -> None:
    with old.open("rb", buffering=0) as source, new.open("wb", buffering=0) as target:
        end = 0
        for part, offset in zip(parts, offsets, strict=True):
            write_all(target, bytes(offset - end))
            source.seek(part.offset)
            for start in range(0, part.bytes, _CHUNK):
                write_all(target, source.read(min(_CHUNK, part.bytes - start)))
            end = offset + part.bytes
        os.fsync(target.fileno())
