"""How far a cell is, from its run's folder alone: no torch, and cheap enough to ask of thousands."""

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["done", "failed", "running", "interrupted", "new"]


@dataclass(frozen=True)
class State:
    """kind: ``done``; ``running``, by whatever process; ``failed``, and not tried again since; ``interrupted``, with
    something to go on from; ``new``.

    reason: of a failure, its first line. at: when it failed, in ISO 8601, UTC.
    score: val accuracy of a finished cell, a fraction. seconds: that it was trained for.
    """

    kind: Kind
    reason: str | None = None
    at: str | None = None
    score: float | None = None
    seconds: float | None = None


def state_of(runs: Path, name: str) -> State:
    """The state of the cell whose folder is `name`. It changes nothing, and a training does not notice being asked."""
    folder = runs / name
    if (text := _text(folder / "result.json")) is not None:
        return _finished(text, folder)
    if _held(folder / ".lock"):
        return State("running")
    if (text := _text(folder / "failure.json")) is not None:
        failure = _table(text)
        return State("failed", reason=str(failure.get("reason", "unknown")), at=str(failure.get("at", "")))
    if (folder / "config.json").exists() or (folder / "last.pt").exists():
        return State("interrupted")
    return State("new")


def _finished(text: str, folder: Path) -> State:
    result = _table(text)
    try:
        return State("done", score=float(result["val"]["accuracy"]), seconds=float(result["seconds"]))
    except (KeyError, TypeError, ValueError):
        reason = f"{folder / 'result.json'} is damaged; remove it, and the run is finished again"
        return State("failed", reason=reason, at="")


def _held(lock: Path) -> bool:
    """Whether another open file has locked this one, as `RunFolder.locked` does."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        # Shared, so that two who ask do not see each other; gone before a training that begins now gives up waiting.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without such locks: it cannot be told
        return False
    finally:
        os.close(descriptor)
    return False


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _table(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
