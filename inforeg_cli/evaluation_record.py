"""A run's evaluations, kept in its folder: `evaluation-<split>-<checkpoint>.json`, measure by measure."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock

from inforeg_cli import __version__
from inforeg_cli.errors import InforegError
from inforeg_cli.files import file_digest, write_json

#: Raised when a number would change its meaning: evaluations of another format are made again, never shown.
FORMAT = 1
ABOUT = "about"


def path_of(run: Path, split: str, which: str) -> Path:
    return run / f"evaluation-{split}-{which}.json"


def about(checkpoint: Path, data_digest: str) -> dict[str, Any]:
    """What an evaluation is of, and by which it is known to be of the checkpoint that lies there now."""
    found = checkpoint.stat()
    return {
        "format": FORMAT,
        "inforeg": __version__,
        "checkpoint": {
            "file": checkpoint.name,
            "bytes": found.st_size,
            "modified": found.st_mtime_ns,
            "sha256": file_digest(checkpoint),
        },
        "data": data_digest,
    }


def read(run: Path, split: str, which: str) -> dict[str, Any] | None:
    """The measures of `split` at checkpoint `which` (best or last), and `about` them.

    None where there are none, or they are of an earlier training of the run. Raises InforegError for a damaged file.
    """
    path = path_of(run, split, which)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if _is_of(found[ABOUT], run) else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:  # JSON and Unicode errors are ValueErrors
        raise InforegError(f"{path} is damaged ({error!r}): remove it, and evaluate the run again") from None


def write(run: Path, split: str, which: str, described: Mapping[str, Any], measures: Mapping[str, Any]) -> Path:
    """Put `measures` into the run's evaluation. Those it holds already stay, if they are of the same checkpoint."""
    path = path_of(run, split, which)
    with filelock.FileLock(run / ".lock-evaluation"):
        try:
            earlier = read(run, split, which) or {}
        except InforegError:
            earlier = {}
        if earlier.get(ABOUT, {}).get("data") != described["data"]:
            earlier = {}
        write_json(path, {**earlier, **measures, ABOUT: dict(described)})
    return path


def _is_of(described: Mapping[str, Any], run: Path) -> bool:
    """Whether it is of the checkpoint that lies in the run's folder now, which a copy of the folder has, too."""
    if described["format"] != FORMAT:
        return False
    checkpoint = run / described["checkpoint"]["file"]
    if not checkpoint.is_file():
        return False
    found, saved = checkpoint.stat(), described["checkpoint"]
    if found.st_size != saved["bytes"]:
        return False
    return found.st_mtime_ns == saved["modified"] or file_digest(checkpoint) == saved["sha256"]
