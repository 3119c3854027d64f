"""A sweep's books: where each of its cells stands, how good the finished ones are, and how long the rest will take."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inforeg_cli.sweep.cells import Cell
from inforeg_cli.sweep.state import state_of


@dataclass
class Running:
    """A cell in a worker's hands. where: its device or machine. begun: when, of the monotonic clock.
    from_epoch: finished before it began; epoch: finished by now, of `epochs`. score: val accuracy so far."""

    where: str
    begun: float
    from_epoch: int = 0
    epoch: int = 0
    epochs: int = 0
    score: float | None = None

    @property
    def share(self) -> float:
        """Of the whole cell, what was done of it since it began."""
        return (self.epoch - self.from_epoch) / self.epochs if self.epochs else 0.0


class Ledger:
    """Every cell is in one of: `waiting`, `running`, `elsewhere` (another process trains it), `done`, `failed`.

    done: val accuracy by name. ran: those of them that this sweep finished. failed: the reason by name.
    """

    def __init__(self, cells: Sequence[Cell], runs: Path, *, retry: bool, since: str):
        """Failures older than `since` (ISO 8601, UTC) are tried again with `retry`; later ones are somebody's last word."""
        self.cells = {cell.name: cell for cell in cells}
        self._runs, self._retry, self._since = runs, retry, since
        self.waiting: deque[str] = deque()
        self.running: dict[str, Running] = {}
        self.elsewhere: set[str] = set()
        self.done: dict[str, float | None] = {}
        self.ran: list[str] = []
        self.failed: dict[str, str] = {}
        self.begun = time.monotonic()
        for name in self.cells:
            if self.look(name):
                self.waiting.append(name)

    def look(self, name: str) -> bool:
        """Whether a cell in nobody's hands may be begun; one that may not is booked as what its folder says."""
        state = state_of(self._runs, name)
        self.elsewhere.discard(name)
        if state.kind == "done":
            self.done[name] = state.score
        elif state.kind == "running":
            self.elsewhere.add(name)
        elif state.kind == "failed" and not (self._retry and (state.at or "") < self._since):
            self.failed[name] = state.reason or ""
        else:
            return True
        return False

    def start(self, name: str, where: str) -> None:
        self.running[name] = Running(where, time.monotonic())

    def what(self, name: str) -> str:
        """What tells the cell from the others, in words: ``method ogm, seed 0``."""
        return ", ".join(f"{axis} {value}" for axis, value in self.cells[name].values.items()) or name

    @property
    def left(self) -> tuple[str, ...]:
        return tuple(name for name in self.cells if name not in self.done and name not in self.failed)

    @property
    def best(self) -> str | None:
        """The name of the finished cell with the highest val accuracy."""
        scored = {name: score for name, score in self.done.items() if score is not None}
        return max(scored, key=scored.__getitem__, default=None)

    def seconds_left(self) -> float | None:
        """Estimated from what this sweep has done so far; None as long as there is nothing to go by."""
        gone = len(self.ran) + sum(cell.share for cell in self.running.values())
        if gone <= 0:
            return None
        ahead = len(self.left) - sum(cell.share for cell in self.running.values())
        return (time.monotonic() - self.begun) * ahead / gone


@dataclass(frozen=True)
class Summary:
    """What became of a sweep's cells, which are `done`, `failed` or `left`.

    done: the names of finished ones, by whom and whenever. ran: those of `done` that this call finished.
    failed: the reason of each one that failed, now or earlier, by name. left: those that are neither.
    """

    done: tuple[str, ...]
    ran: tuple[str, ...]
    failed: dict[str, str]
    left: tuple[str, ...]
