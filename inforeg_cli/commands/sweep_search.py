"""`inforeg sweep method --search N`: the command's way through a search, from its arguments to what it prints."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inforeg_cli import console
from inforeg_cli.commands import options, sweep_output
from inforeg_cli.commands.sweep_crew import Crew
from inforeg_cli.errors import Misuse

if TYPE_CHECKING:
    from inforeg_cli.data.store import Store
    from inforeg_cli.sweep.axes import Axis
    from inforeg_cli.sweep.cells import Cell
    from inforeg_cli.sweep.search import Search


def planned_search(
    parsed: "Sequence[Axis]",
    method: str | None,
    seeds: "Axis | None",
    number: int,
    store: "Store",
    runs: Path,
    assigned: dict[str, Any],
) -> "Search":
    """The search that the arguments ask for. Raises Misuse for axes that a search has not, and without methods."""
    from inforeg_cli.sweep import space
    from inforeg_cli.sweep.search import plan

    methods = [value for one in parsed if one.key == "method" for value in one.values] or ([method] if method else [])
    if others := [one.name for one in parsed if one.key != "method"]:
        raise Misuse(f"--search draws settings itself, from presets/search.toml: leave out the axis {others[0]}")
    if method and parsed:
        raise Misuse("the axis method and --method both choose the methods; give one of them")
    if not methods:
        raise Misuse("--search tunes methods: name them, inforeg sweep method=joint,ogm --search 16")
    chosen = {} if seeds is None else {"seeds": [int(value) for value in seeds.values]}
    return plan(space.load(), methods, number, store, runs, assigned=assigned, **chosen)


def print_search(planned: "Search", shard: str | None, crew: Crew, retry: bool, format: options.Format) -> None:
    """What --dry-run says of a search."""
    from inforeg_cli.sweep.grid import shard as part
    from inforeg_cli.sweep.search import record_of, undecided, winners_of

    record = record_of(planned)
    cells, later = [*planned.cells, *winners_of(planned, record)], undecided(planned, record)
    sweep_output.print_search_plan(planned, len(later), format)
    sweep_output.print_plan(
        part(cells, shard), 0, planned.store, planned.runs, crew, retry, format, later=part(later, shard)
    )


def run_search(planned: "Search", shard: str | None, crew: Crew, retry: bool, command: sweep_output.Command) -> bool:
    """Whether no cell has failed."""
    from inforeg_cli.sweep.grid import shard as part
    from inforeg_cli.sweep.run import run_sweep
    from inforeg_cli.sweep.search import search
    from inforeg_cli.sweep.view import view_for

    failed: dict[str, str] = {}

    def run(cells: "Sequence[Cell]") -> None:
        summary = run_sweep(
            part(cells, shard), planned.store, planned.runs,
            engine=crew.engine, retry=retry, sweep=planned.name, view=view_for(console.out),
        )  # fmt: skip
        failed.update(summary.failed)
        sweep_output.print_summary(summary, command, last=False)

    _, path = search(planned, run, lambda line: console.out.print(line, markup=False))
    sweep_output.print_search_end(path, command)
    return not failed
