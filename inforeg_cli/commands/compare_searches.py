"""`inforeg compare searches`: what was tried for each method, how good it was on val, and what was chosen."""

from typing import TYPE_CHECKING, Annotated

import typer

from inforeg_cli import paths
from inforeg_cli.commands import options
from inforeg_cli.commands.tabular import Table, print_json, print_table
from inforeg_cli.console import warn
from inforeg_cli.errors import Misuse
from inforeg_cli.naming import nearest

if TYPE_CHECKING:
    from inforeg_cli.search_record import SearchRecord

_COLUMNS = ("method", "trial", "settings", "val accuracy", "val loss", "fate")


def compare_searches(
    search: Annotated[str | None, typer.Argument(metavar="NAME", show_default="all", help="A search's name.")] = None,
    format: options.FormatOption = options.Format.rich,
    root: options.Root = None,
    runs: options.Runs = None,
) -> None:
    """List the trials of `inforeg sweep method --search N`, with what each was tried with and what came of it."""
    from inforeg_cli.report.searches import all_searches

    folder = paths.runs(runs)
    found = all_searches(folder)
    for problem in found.unreadable:
        warn(problem)
    records = {record.name: record for record in found.records}
    if search is not None and search not in records:
        hint = nearest(search, records) if records else "there are none"
        raise Misuse(f"there is no search '{search}' in {folder}: {hint}")
    if not records:
        raise Misuse(f"there are no searches in {folder}. Make one with: inforeg sweep method --search 16")
    chosen = [records[search]] if search is not None else list(records.values())
    if format == options.Format.json:
        print_json([record.model_dump(mode="json") for record in chosen])
        return
    for record in chosen:
        print_table(_table(record, exact=format == options.Format.csv), format)


def _table(record: "SearchRecord", exact: bool) -> Table:
    """One row a trial. Percent for people, plain fractions for programs."""
    rows = []
    for name, method in record.methods.items():
        for trial in method.trials:
            accuracy, loss = trial.accuracy, trial.loss
            if not exact:
                accuracy = None if accuracy is None else f"{accuracy:.2%}"
                loss = None if loss is None else f"{loss:.4f}"
            rows.append((name, trial.trial, trial.text, accuracy, loss, method.fate(trial)))
    return Table(record.title, _COLUMNS, rows)
