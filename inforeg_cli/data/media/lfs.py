"""Git LFS pointers: the small text files that stand where Git has not fetched the recordings themselves."""

import re

_START = b"version https://git-lfs.github.com/spec/"
#: The specification limits a pointer file to this many bytes.
MOST_BYTES = 1024
_LINE = re.compile(rb"[a-z0-9.-]+ [^\n]+")
_OID = re.compile(rb"sha256:([0-9a-f]{64})")


def is_lfs_pointer(content: bytes) -> bool:
    """Whether a file that starts so is a pointer, of any version, whole or not."""
    return content.startswith(_START)


def pointer(content: bytes) -> tuple[str, int] | None:
    """The recording's SHA-256 (hexadecimal) and size in bytes, of a pointer file of version 1; None of anything else.

    https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: lines of ``key value``, the version first, each ended
    by a newline.
    """
    if len(content) >= MOST_BYTES or not content.startswith(_START + b"v1\n") or not content.endswith(b"\n"):
        return None
    lines = content[:-1].split(b"\n")
    if not all(_LINE.fullmatch(line) for line in lines):
        return None
    values = dict(line.split(b" ", 1) for line in lines)
    oid, size = _OID.fullmatch(values.get(b"oid", b"")), values.get(b"size", b"")
    if oid is None or not size.isdigit():
        return None
    return oid[1].decode(), int(size)
