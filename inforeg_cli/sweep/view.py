"""How a sweep shows itself: a live table of its cells on a terminal, a line a cell elsewhere, or nothing."""

import time
from collections import deque
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from inforeg_cli.naming import count, duration

if TYPE_CHECKING:
    from inforeg_cli.sweep.ledger import Ledger

#: Failures told when a sweep begins, and cells that a live table keeps after they ended.
_MOST_FAILURES, _KEPT = 20, 10
#: Seconds between two drawings of the table.
_REDRAW = 0.25


class View:
    """Shows nothing; the base of the other two. Cells are told by name; the ledger has them where they stand by then."""

    def begin(self, sweep: str, ledger: "Ledger") -> None:
        """Before the first cell."""

    def started(self, name: str) -> None:
        """A cell was given to a worker."""

    def booked(self, name: str) -> None:
        """A cell was done, failed, was found in another process's hands, or was put back."""

    def lost(self, name: str, reason: str) -> None:
        """A cell's worker died."""

    def said(self, text: str) -> None:
        """A line for people, such as a worker's warning."""

    def refresh(self) -> None:
        """Some time has gone by."""

    def end(self) -> None:
        """The sweep is over, one way or another."""


class Lines(View):
    """A plain line for each thing that happens to a cell, for files and pipes."""

    def __init__(self, console: Console):
        self.console = console

    def begin(self, sweep: str, ledger: "Ledger") -> None:
        self.ledger, self._begun, self._waits = ledger, {}, set()
        self._print(f"{sweep}: {_counts(ledger)}")
        for name in list(ledger.failed)[:_MOST_FAILURES]:
            self._line("failed", name, f"earlier: {ledger.failed[name]}")
        if (more := len(ledger.failed) - _MOST_FAILURES) > 0:
            self._print(f"  ... and {more} more; --retry tries them again")
        elif ledger.failed:
            self._print("  --retry tries what failed again")

    def started(self, name: str) -> None:
        self._begun[name] = time.monotonic()
        self._line("started", name, f"on {self.ledger.running[name].where}")

    def booked(self, name: str) -> None:
        ledger = self.ledger
        if name in ledger.done:
            took = f" in {duration(time.monotonic() - self._begun[name])}" if name in self._begun else ""
            self._line("done", name, f"val {percent(ledger.done[name])}{took}")
        elif name in ledger.failed:
            self._line("failed", name, ledger.failed[name])
        elif name in ledger.elsewhere and name not in self._waits:
            self._waits.add(name)
            self._line("waiting", name, "another process is training it")

    def lost(self, name: str, reason: str) -> None:
        self._line("lost", name, reason)

    def said(self, text: str) -> None:
        self._print(text)

    def _line(self, what: str, name: str, rest: str) -> None:
        width = len(str(len(self.ledger.cells)))
        over = len(self.ledger.done) + len(self.ledger.failed)
        self._print(f"[{over:>{width}}/{len(self.ledger.cells)}] {what:<7}  {self.ledger.what(name)}: {rest}")

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False)


class LiveTable(View):
    """The cells that run, the last ones that ended, and what can be said of the whole; redrawn in place."""

    def __init__(self, console: Console):
        self.console = console
        self._ended: deque[str] = deque(maxlen=_KEPT)
        self._live: Live | None = None
        self._drawn = 0.0

    def begin(self, sweep: str, ledger: "Ledger") -> None:
        self.sweep, self.ledger = sweep, ledger
        self._ended.extend(ledger.failed)
        # Drawn when it is asked to, not by a thread of its own: the ledger changes at any other moment.
        self._live = Live(console=self.console, get_renderable=self.render, auto_refresh=False)
        self._live.start()

    def booked(self, name: str) -> None:
        if name in self.ledger.done or name in self.ledger.failed:
            self._ended.append(name)

    def lost(self, name: str, reason: str) -> None:
        self.said(f"{self.ledger.what(name)}: {reason}")

    def said(self, text: str) -> None:
        self.console.print(text, markup=False)

    def refresh(self) -> None:
        if time.monotonic() - self._drawn > _REDRAW:
            self._drawn = time.monotonic()
            self._live.refresh()

    def end(self) -> None:
        if self._live is not None:
            self._live.stop()

    def render(self) -> Group:
        ledger = self.ledger
        table = Table(box=None, pad_edge=False)
        for heading in ("cell", "", "epoch", "val", "where"):
            table.add_column(heading, justify="right" if heading in ("epoch", "val") else "left", overflow="ellipsis")
        for name in self._ended:
            if name in ledger.failed:
                table.add_row(_plain(ledger.what(name)), "[red]failed[/]", "", "", _plain(ledger.failed[name]))
            else:
                table.add_row(_plain(ledger.what(name)), "[green]done[/]", "", percent(ledger.done[name]), "")
        for name, cell in ledger.running.items():
            epoch = f"{cell.epoch} of {cell.epochs}" if cell.epochs else ""
            table.add_row(_plain(ledger.what(name)), "running", epoch, percent(cell.score), _plain(cell.where))
        heading = Text(self.sweep, style="bold", overflow="ellipsis", no_wrap=True)
        counts = _counts(ledger)
        if ledger.left and (seconds := ledger.seconds_left()) is not None:
            counts = f"about {duration(seconds)} left: {counts}"  # first, where a narrow terminal cuts nothing off
        lines = [heading, _plain(counts), table]
        if best := ledger.best:
            lines.append(_plain(f"best on val so far: {ledger.what(best)}, {percent(ledger.done[best])}"))
        return Group(*lines)


def view_for(console: Console) -> View:
    return LiveTable(console) if console.is_terminal else Lines(console)


def percent(score: float | None) -> str:
    return "" if score is None else f"{100 * score:.1f}%"


def _counts(ledger: "Ledger") -> str:
    parts = [count(len(ledger.cells), "cell"), f"{len(ledger.done)} done"]
    for what, names in (("running", ledger.running), ("failed", ledger.failed), ("elsewhere", ledger.elsewhere)):
        if names:
            parts.append(f"{len(names)} {what}")
    return ", ".join([*parts, f"{len(ledger.waiting)} waiting"])


def _plain(text: str) -> Text:
    return Text(text, overflow="ellipsis", no_wrap=True)
