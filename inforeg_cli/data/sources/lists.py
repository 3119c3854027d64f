"""Lists of a dataset's clips as its publisher gives them: reading them, and finding or fetching the very ones expected."""

import hashlib
import http.client
import urllib.request
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from inforeg_cli.data.media import is_lfs_pointer
from inforeg_cli.data.problems import Problems
from inforeg_cli.errors import Misuse
from inforeg_cli.files import digest, file_digest, write_atomically

#: Seconds to wait for a server that says nothing.
_PATIENCE = 5
#: A list is a few hundred kilobytes: what is larger is none.
_MOST_BYTES = 1 << 24


class NotFetched(Exception):
    """The lists cannot be had from the network; says why."""


def read_list(path: Path) -> str:
    """The text of the list at `path`. Raises Misuse where there is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Misuse(f"{path}: cannot read the list: {error.strerror}") from None
    if is_lfs_pointer(content):
        raise Misuse(f"{path} is a Git LFS pointer, not the list itself: fetch it with `git lfs pull`")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Misuse(f"{path}: line {line} is not UTF-8") from None


def files_digest(files: Mapping[str, Path]) -> str:
    """Names what each of the files is, and its content."""
    return digest(*(part for what, path in files.items() for part in (what, file_digest(path))))


def find(wanted: Mapping[str, str], places: Sequence[Path]) -> Path | None:
    """The first of `places` that holds every list `wanted`, by file name its SHA-256.

    Raises Misuse where none does and a list of that name but of other content lies in one.
    """
    wrong = []
    for place in places:
        there = {path: sha256 for name, sha256 in wanted.items() if (path := place / name).is_file()}
        told = [f"{path}: {said}" for path, sha256 in there.items() if (said := _differs(path.read_bytes(), sha256))]
        if len(there) == len(wanted) and not told:
            return place
        wrong += told
    if wrong:
        told = "\n".join(f"  {said}" for said in wrong)
        raise Misuse(f"not the published split lists: move them away, or give others with --splits DIR\n{told}")
    return None


def fetch(wanted: Mapping[str, str], url: str) -> dict[str, bytes]:
    """The content of every list `wanted`, from the folder `url`; nothing is written.

    Raises NotFetched where that fails or something else is served.
    """
    return {name: _fetched(name, url, sha256) for name, sha256 in wanted.items()}


def keep(contents: Mapping[Path, bytes], warnings: Problems) -> None:
    """Write lists to where the next look finds them; where that cannot be, they must be given then, and it is told."""
    try:
        for path, content in contents.items():
            write_atomically(path, partial(_write, content))
    except OSError as error:
        folder = next(iter(contents)).parent
        warnings.add(f"cannot keep the split lists in {folder}", "give them with --splits DIR", error.strerror or "")


def _fetched(name: str, url: str, sha256: str) -> bytes:
    try:
        with urllib.request.urlopen(f"{url}/{name}", timeout=_PATIENCE) as response:
            content = response.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: what is no URL at all
        raise NotFetched(f"cannot fetch {name}: {getattr(error, 'reason', None) or error}") from None
    if said := _differs(content, sha256):
        raise NotFetched(f"something else is served as {name}: {said}")
    return content


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _differs(content: bytes, sha256: str) -> str | None:
    found = hashlib.sha256(content).hexdigest()
    return None if found == sha256 else f"its SHA-256 is {found}, expected {sha256}"
