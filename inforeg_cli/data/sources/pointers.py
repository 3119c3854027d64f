"""Git LFS over a whole dataset: refusing pointers that stand in for recordings, and checking recordings against theirs.

A clone without Git LFS, or a ZIP download, holds a pointer of some 130 bytes where a recording should be:
https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from inforeg_cli.data.media.lfs import MOST_BYTES, is_lfs_pointer, pointer
from inforeg_cli.data.parallel import threaded_map
from inforeg_cli.errors import InforegError
from inforeg_cli.files import file_digest
from inforeg_cli.naming import count

#: Recordings named of many that differ.
_SHOWN = 5


class RawFile(NamedTuple):
    """A file and its size in bytes."""

    path: Path
    size: int


def raw_files(folder: Path, suffix: str) -> list[RawFile]:
    """The files right in `folder` that end in `suffix`, in any case, by name. Hidden ones are left out."""
    try:
        with os.scandir(folder) as entries:
            found = [
                RawFile(Path(entry.path), entry.stat().st_size)
                for entry in entries
                if entry.name.lower().endswith(suffix) and not entry.name.startswith(".") and entry.is_file()
            ]
    except OSError as error:
        raise InforegError(f"{folder}: cannot read the folder: {error.strerror}") from None
    return sorted(found)


def refuse_pointers(base: Path, folders: Mapping[str, Sequence[RawFile]]) -> None:
    """Raises InforegError where any file is a Git LFS pointer, with their number in each of the `folders` of `base`."""
    told = []
    for name, files in folders.items():
        if pointers := sum(map(_is_pointer, files)):
            what = "are Git LFS pointers, not recordings" if pointers > 1 else "is a Git LFS pointer, not a recording"
            told.append(
                f"{pointers:,} of {count(len(files), 'file')} under {name} {what}; run `git lfs pull` in {base}"
            )
    if told and not _is_clone(base):
        told.append(f"  {base} is no git clone, as a ZIP download is none: move it away and clone instead")
    if told:
        raise InforegError("\n".join(told))


def verify_against_pointers(
    base: Path, folders: Sequence[str], progress: Callable[[int, int], None], workers: int = 2
) -> int | None:
    """How many recordings under `folders` of the git clone `base` are, by size and SHA-256, what its HEAD points to.

    Absent recordings are passed over. None where `base` is no clone, or there is no git to ask; `progress` is told how
    many of how many are done. Raises InforegError where recordings differ, or the clone cannot be read.
    """
    if not _is_clone(base) or shutil.which("git") is None:
        return None
    known = [(path, *about) for path, about in _recorded(base, folders).items() if (base / path).is_file()]
    differing = []
    told = threaded_map(lambda one: _difference(base / one[0], *one[1:]), known, workers)
    for done, ((path, _, _), said) in enumerate(zip(known, told, strict=True), start=1):
        if said:
            differing.append(f"  {path}: {said}")
        progress(done, len(known))
    if differing:
        shown = differing[:_SHOWN] + ([f"  ... and {len(differing) - _SHOWN} more"] if len(differing) > _SHOWN else [])
        summary = f"{len(differing):,} of {count(len(known), 'recording')} differ from the Git LFS pointers of {base}"
        raise InforegError("\n".join([f"{summary}; remove them and run `git lfs pull` there", *shown]))
    return len(known)


def _is_pointer(file: RawFile) -> bool:
    if file.size >= MOST_BYTES:
        return False
    try:
        return is_lfs_pointer(file.path.read_bytes())
    except OSError:  # looking at the files' headers will say so
        return False


def _is_clone(base: Path) -> bool:
    """By itself: a folder somewhere within another project's clone is none."""
    return (base / ".git").exists()


def _difference(path: Path, sha256: str, size: int) -> str | None:
    try:
        if (found := path.stat().st_size) != size:
            return f"{found:,} bytes, expected {size:,}"
        return None if file_digest(path) == sha256 else f"the SHA-256 is not {sha256}"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _recorded(base: Path, folders: Sequence[str]) -> dict[str, tuple[str, int]]:
    """By path below `base`, the SHA-256 and size that a pointer in HEAD tells."""
    listing = _git(base, b"", "ls-tree", "-r", "-z", "HEAD", "--", *(f"{folder}/" for folder in folders))
    blobs = {}
    for line in listing.decode(errors="surrogateescape").split("\0"):
        about, _, path = line.partition("\t")
        if path and about.split(" ")[1] == "blob":
            blobs[path] = about.split(" ")[2]
    # Asked for all objects that are there, git fetches none that a partial clone lacks. By their sizes, recordings that
    # a clone holds themselves are not read.
    there = _git(base, b"", "cat-file", "--batch-all-objects", "--batch-check", "--unordered").decode().splitlines()
    small = {name for name, kind, size in map(str.split, there) if kind == "blob" and int(size) < MOST_BYTES}
    wanted = sorted(small.intersection(blobs.values()))
    contents = _contents(_git(base, "\n".join(wanted).encode(), "cat-file", "--batch"))
    told = {name: about for name, data in contents.items() if (about := pointer(data))}
    return {path: told[name] for path, name in blobs.items() if name in told}


def _contents(stream: bytes) -> dict[str, bytes]:
    """By name, the objects in what `git cat-file --batch` says: a line "name type size", the content, a line feed."""
    found, at = {}, 0
    while at < len(stream):
        end = stream.index(b"\n", at)
        name, _, size = stream[at:end].decode().split(" ")
        found[name] = stream[end + 1 : end + 1 + int(size)]
        at = end + 1 + int(size) + 1
    return found


def _git(base: Path, given: bytes, *arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(base), *arguments], input=given, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise InforegError(f"{base}: git cannot read the clone: {said}")
    return done.stdout
