"""Published split lists: found beside the raw files or fetched, and used only where they are the very ones expected."""

import hashlib
import http.client
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.files import write_atomically

#: Seconds to wait for a server that says nothing.
_PATIENCE = 5
#: A list is a few hundred kilobytes: what is larger is none.
_MOST_BYTES = 1 << 24


class NotFetched(Exception):
    """The lists cannot be had from the network; says why."""


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


def fetch(wanted: Mapping[str, str], url: str, into: Path) -> None:
    """Fetch every list `wanted` from the folder `url` into the folder `into`.

    Raises NotFetched where that fails or something else is served, InforegError where they cannot be written.
    """
    contents = {name: _read(name, url, sha256) for name, sha256 in wanted.items()}
    try:
        _keep(contents, into)
    except OSError as error:
        raise InforegError(
            f"cannot keep the split lists in {into}: {error.strerror}; put {' and '.join(wanted)} from {url} "
            "into a folder and give it with --splits DIR"
        ) from None


def copy(wanted: Mapping[str, str], place: Path, into: Path) -> None:
    """Copy the lists from `place`, so that they need not be given again; where that cannot be, they must."""
    with suppress(OSError):
        _keep({name: (place / name).read_bytes() for name in wanted}, into)


def _keep(contents: Mapping[str, bytes], into: Path) -> None:
    for name, content in contents.items():
        write_atomically(into / name, partial(_write, content))


def _read(name: str, url: str, sha256: str) -> bytes:
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
