"""`inforeg compare tables`: the paper's tables from what has been run, each number beside the printed one."""

from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from inforeg_cli import console, paths
from inforeg_cli.commands import options
from inforeg_cli.errors import Misuse
from inforeg_cli.files import write_text
from inforeg_cli.naming import nearest
from inforeg_cli.report.rendering import Format, show, text_of

if TYPE_CHECKING:
    from inforeg_cli.report.runs import Run


class Metric(StrEnum):
    accuracy = "accuracy"
    macro_f1 = "macro_f1"
    auroc = "auroc"


class EpochRule(StrEnum):
    val = "val"
    last = "last"
    test = "test"


def compare_tables(
    number: Annotated[
        list[int] | None, typer.Argument(metavar="NUMBER", show_default="all of which anything was run", help="1 to 6.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME|STORE", show_default="each that has runs", help="On which data.")
    ] = None,
    metric: Annotated[
        Metric | None, typer.Option(show_default="each table's own", help="Which score is shown.")
    ] = None,
    epoch_rule: Annotated[
        EpochRule,
        typer.Option(
            help="Which epoch speaks for a run; with 'test' the one that is best on test, as in the paper's code."
        ),
    ] = EpochRule.val,
    format: Annotated[Format, typer.Option(help="How tables are printed.")] = Format.rich,
    out: Annotated[Path | None, typer.Option(help="Also write compare-tables.<ext> to this folder.")] = None,
    root: options.Root = None,
    runs: options.Runs = None,
) -> None:
    """Print the InfoReg paper's tables 1 to 6 from what has been run, beside the printed numbers.

    A dash stands for what has not been run, and below each table the one command that would run it.
    """
    from inforeg_cli.report import paper
    from inforeg_cli.report.groups import grouped
    from inforeg_cli.report.paper_columns import report_of, sweep_command
    from inforeg_cli.report.paper_tables import PaperTables
    from inforeg_cli.report.runs import all_runs
    from inforeg_cli.report.searches import all_searches

    numbers = sorted({*(number or paper.TABLES)})
    if unknown := [one for one in numbers if one not in paper.TABLES]:
        raise Misuse(f"there is no table {unknown[0]}; the paper has tables {paper.TABLES[0]} to {paper.TABLES[-1]}")
    runs_dir = paths.runs(runs)
    found, searches = all_runs(runs_dir), all_searches(runs_dir)
    for problem in (*found.unreadable, *searches.unreadable):
        _say(f"unreadable, so left out: {problem}")
    finished = [run for run in searches.untuned(found.runs) if run.finished]
    names, finished = _on(dataset, finished, runs_dir)
    made = PaperTables(grouped(finished), metric and metric.value, epoch_rule.value)
    tables = [made.table(one, name) for name in names for one in numbers]
    shown = [table for table in tables if table.started or (number and dataset)]
    command = partial(sweep_command, dataset=dataset, options=_options(root, runs))
    if not shown:
        example = next((table for table in tables if table.number == 2), tables[0])
        raise Misuse(
            f"nothing of the paper's tables has been run on {' or '.join(names)}. Run one with: {command(example)}"
        )
    report = report_of(shown, command)
    show(report, format, console.out)
    for table in tables:
        if table not in shown:
            _say(f"table {table.number} on {table.dataset}: nothing run. Run it with: {command(table)}")
    if out:
        path = out / f"compare-tables.{format.extension}"
        write_text(path, text_of(report, format))
        _say(f"written to {path}")


def _on(dataset: str | None, runs: "Sequence[Run]", runs_dir: Path) -> "tuple[list[str], list[Run]]":
    """The datasets that are meant, and the runs on them."""
    if dataset is None:
        if not runs:
            raise Misuse(
                f"there are no finished runs in {runs_dir}, so there is nothing to compare. "
                "Make some with: inforeg sweep --preset paper/table2 --dataset digits"
            )
        return sorted({run.dataset for run in runs}), list(runs)
    if kept := [run for run in runs if run.is_on(dataset)]:
        return sorted({run.dataset for run in kept}), kept
    known = {run.dataset for run in runs} | {
        folder.name
        for home in (paths.root() / "datasets", paths.shipped("datasets"))
        for folder in (home.iterdir() if home.is_dir() else ())
        if folder.is_dir() and not folder.name.startswith(".")
    }
    if dataset not in known:
        raise Misuse(f"no run is on dataset '{dataset}', and there is no such dataset; {nearest(dataset, known)}")
    return [dataset], []


def _options(root: Path | None, runs: Path | None) -> list[str]:
    """What a sweep must be told to find the same runs."""
    given = {"--root": root, "--runs": runs}
    return [word for name, folder in given.items() if folder for word in (name, str(folder))]


def _say(line: str) -> None:
    console.err.print(Text(line))
