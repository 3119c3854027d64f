"""What `inforeg sweep` prints: cells before they run, what became of them, and what to do next."""

import re
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inforeg_cli.commands.options import Format
from inforeg_cli.commands.sweep_crew import Crew
from inforeg_cli.commands.tabular import Table, print_table
from inforeg_cli.console import err, out
from inforeg_cli.naming import count, duration, ranges

if TYPE_CHECKING:
    from inforeg_cli.data.store import Store
    from inforeg_cli.sweep.cells import Cell
    from inforeg_cli.sweep.estimate import Estimate
    from inforeg_cli.sweep.ledger import Summary
    from inforeg_cli.sweep.search import Search
    from inforeg_cli.sweep.state import State

#: On a terminal a table of more cells than the first shows so many as the second says.
_MOST, _SHOWN = 40, 20
#: So many failures are told one by one.
_FAILURES = 10
#: In the order in which they are counted.
_KINDS = ("done", "running", "interrupted", "failed", "new")


@dataclass(frozen=True)
class Command:
    """What was asked for, as far as the next command is about the same: --dataset, --preset as it stands, and --runs."""

    dataset: str
    presets: Sequence[str]
    runs: Path | None

    def compare(self) -> str:
        """The command that shows the results: a table or figure of the paper, or all runs side by side."""
        found = [re.fullmatch(r"paper/(table|figure)(\d)", name) for name in self.presets]
        what = {match[1] for match in found if match}
        if found and all(found) and len(what) == 1:
            words = [f"{what.pop()}s", *(match[2] for match in found if match)]
        else:
            words = ["runs"]
        elsewhere = ["--runs", str(self.runs)] if self.runs else []
        return shlex.join(["inforeg", "compare", *words, "--dataset", self.dataset, *elsewhere])


def merged_line(merged: int) -> str:
    """Why there are fewer cells than combinations."""
    return f"{count(merged, 'combination')} {'is' if merged == 1 else 'are'} the same experiment as another: run once"


def print_plan(
    cells: "Sequence[Cell]",
    merged: int,
    store: "Store",
    runs: Path,
    crew: Crew,
    retry: bool,
    format: Format,
    later: "Sequence[Cell]" = (),
) -> None:
    """The cells, how far each is, and how long the rest will take.

    `later`: cells that are not known yet, but as dear as these; they count for the time alone.
    """
    from inforeg_cli.engine import device
    from inforeg_cli.report.runs import all_runs
    from inforeg_cli.sweep.estimate import estimate
    from inforeg_cli.sweep.state import state_of

    states = [state_of(runs, cell.name) for cell in cells]
    todo = ("new", "interrupted", "failed") if retry else ("new", "interrupted")
    left = [cell for cell, state in zip(cells, states, strict=True) if state.kind in todo]
    kind = device.choose("auto").type if crew.device == "auto" else crew.device.partition(":")[0]
    finished = (run for run in all_runs(runs).runs if run.finished)
    _print_cells(cells, states, merged, store.name, format)
    if not retry and any(state.kind == "failed" for state in states):
        _say("--retry trains again what failed", format)
    expected = estimate([*left, *later], finished, store.name, kind, crew.jobs)
    _print_estimate(expected, crew.jobs, kind, store.name, format)


def _print_cells(cells: "Sequence[Cell]", states: "Sequence[State]", merged: int, dataset: str, format: Format) -> None:
    """The cells and their states; on a terminal the first of them, where they are many."""
    names = sorted(dict.fromkeys(name for cell in cells for name in cell.values), key=lambda name: name == "seed")
    counts = Counter(state.kind for state in states)
    told = ", ".join(f"{counts[kind]:,} {kind}" for kind in _KINDS if counts[kind]) or "none"
    rows = [
        (*(cell.values.get(name) for name in names), state.kind, state.reason, cell.name)
        for cell, state in zip(cells, states, strict=True)
    ]
    columns = (*names, "state", "reason", "run")
    if format == Format.rich and not counts["failed"]:
        columns, rows = (*names, "state", "run"), [(*row[:-2], row[-1]) for row in rows]
    many = format == Format.rich and len(rows) > _MOST
    title = f"{count(len(cells), 'cell')} on {dataset}: {told}"
    print_table(Table(title, columns, rows[:_SHOWN] if many else rows), format)
    if many:
        out.print(f"... and {len(rows) - _SHOWN:,} more; --format csv lists them all", markup=False)
    if merged:
        _say(merged_line(merged), format)


def _print_estimate(expected: "Estimate", jobs: int, device: str, dataset: str, format: Format) -> None:
    """How long it will take, and what says so."""
    left = count(expected.cells, "cell")
    at_once = f", {jobs} at a time" if jobs > 1 else ""
    if not expected.cells:
        _say("nothing is left to train", format)
    elif expected.seconds is None:
        _say(f"time for {left}: unknown, nothing was measured on {dataset} yet, on {device}", format)
    else:
        basis = f"from {count(expected.runs, 'finished run')} on {dataset}, on {device}"
        if expected.borrowed:
            basis += f"; for {count(expected.borrowed, 'cell')} from the slowest that is like them"
        _say(f"about {duration(expected.seconds)} for {left}{at_once} ({basis})", format)


def print_summary(summary: "Summary", command: Command, *, last: bool = True) -> None:
    """What became of the cells, with the failures' reasons; and, where it is the `last` of a command, what is next."""
    done, ran, failed, left = (len(part) for part in (summary.done, summary.ran, summary.failed, summary.left))
    parts = [
        f"{done} done ({ran} of them now)",
        *([f"{failed} failed"] if failed else []),
        *([f"{left} left"] if left else []),
    ]
    out.print(f"{count(done + failed + left, 'cell')}: {', '.join(parts)}", markup=False)
    for name, reason in list(summary.failed.items())[:_FAILURES]:
        out.print(f"failed          {name}: {reason}", markup=False)
    if failed > _FAILURES:
        out.print(f"                ... and {failed - _FAILURES} more; --dry-run lists them", markup=False)
    if failed:
        again = [argument for argument in sys.argv[1:] if argument != "--retry"]
        out.print(f"try again       {shlex.join(['inforeg', *again, '--retry'])}", markup=False)
    if last and done:
        out.print(f"compare         {command.compare()}", markup=False)


def print_search_plan(planned: "Search", undecided: int, format: Format) -> None:
    """What will be drawn, chosen and trained again. `undecided`: cells of winners that are not known yet."""
    seeds = f"{'seed' if len(planned.seeds) == 1 else 'seeds'} {ranges(planned.seeds)}"
    trials = f"{count(planned.number, 'trial')} for each of {count(len(planned.trials), 'method')}, with seed"
    _say(f"{planned.name}: {trials} {planned.seed}; each one's best on val is trained again with {seeds}", format)
    if undecided:
        _say(f"to come, once trials have decided on them: {count(undecided, 'cell')} of winners", format)


def print_search_end(record: Path, command: Command) -> None:
    """Where a search is written down, and what shows it."""
    elsewhere = ["--runs", str(command.runs)] if command.runs else []
    out.print(f"search          {record}", markup=False)
    trials = shlex.join(["inforeg", "compare", "searches", record.stem, *elsewhere])
    out.print(f"trials          {trials}", markup=False)
    out.print(f"compare         {command.compare()}", markup=False)


def _say(line: str, format: Format) -> None:
    """Beside a table for people; where a program reads the table, not among it."""
    (out if format == Format.rich else err).print(line, markup=False)
