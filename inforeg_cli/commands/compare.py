"""`inforeg compare`: what training left behind, put side by side."""

import shlex
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from inforeg_cli import console, paths
from inforeg_cli.commands import options
from inforeg_cli.commands.compare_figures import compare_figures
from inforeg_cli.commands.compare_report import compare_report
from inforeg_cli.commands.compare_searches import compare_searches
from inforeg_cli.commands.compare_tables import compare_tables
from inforeg_cli.errors import Misuse
from inforeg_cli.files import write_text
from inforeg_cli.naming import count, nearest
from inforeg_cli.report.rendering import Format, as_text, render

if TYPE_CHECKING:
    from inforeg_cli.report.runs import Found
    from inforeg_cli.report.searches import Searches

compare_app = typer.Typer(no_args_is_help=True)


class Split(StrEnum):
    test = "test"
    val = "val"


@compare_app.callback()
def _compare() -> None:
    """Put results side by side."""


@compare_app.command("runs")
def compare_runs(
    run: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", show_default="all", help="Folders, names, or unique starts of their ids."),
    ] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME|STORE", help="Only runs on this dataset.")] = None,
    split: Annotated[Split, typer.Option(help="Which clips are scored, at the best epoch on val.")] = Split.test,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="Also columns of what `inforeg evaluate` has kept, e.g. ece,nll,probe,shapley,imbalance,robustness.",
        ),
    ] = None,
    format: Annotated[Format, typer.Option(help="How tables are printed.")] = Format.rich,
    out: Annotated[Path | None, typer.Option(help="Also write compare-runs.<ext> to this folder.")] = None,
    root: options.Root = None,
    runs: options.Runs = None,
) -> None:
    """Group runs by everything but the seed, and print mean, spread, and the difference to the baseline.

    Differences are paired by seed, with intervals over seeds and over clips. Protocols never share a table, and the
    winners of a search have one of their own.
    """
    from inforeg_cli.report import evaluated
    from inforeg_cli.report.searches import Searches, all_searches, tuned_tables
    from inforeg_cli.report.tables import comparison

    names = list(dict.fromkeys(name.strip() for text in measure or () for name in text.split(",")))
    evaluated.check(names)
    runs_dir = paths.runs(runs)
    found = _of_dataset(_chosen(run, runs_dir), dataset)
    searches = Searches(()) if run else all_searches(runs_dir)  # runs asked for by name are compared as they are
    _report_left_out(found, searches, runs)
    tables = comparison(searches.untuned(found.runs), split.value) + tuned_tables(searches, found.runs, split.value)
    if not tables:
        raise Misuse(_nothing(found, runs_dir, dataset))
    if names:
        tables = evaluated.with_measures(tables, found.runs, names, split.value)
    render(tables, format, console.out)
    if out:
        path = out / f"compare-runs.{format.extension}"
        write_text(path, as_text(tables, format))
        _say(f"written to {path}")


compare_app.command("tables", help=options.help_of(compare_tables))(compare_tables)
compare_app.command("searches", help=options.help_of(compare_searches))(compare_searches)
compare_app.command("figures", help=options.help_of(compare_figures))(compare_figures)
compare_app.command("report", help=options.help_of(compare_report))(compare_report)


def _chosen(arguments: Sequence[str] | None, runs_dir: Path) -> "Found":
    from inforeg_cli.report.runs import Found, all_runs, find_run, read_run

    if not arguments:
        return all_runs(runs_dir)
    # A damaged run that was asked for by name is an error; one among all the others is only named.
    folders = dict.fromkeys(find_run(argument, runs_dir) for argument in arguments)
    return Found(tuple(read_run(folder) for folder in folders), ())


def _of_dataset(found: "Found", dataset: str | None) -> "Found":
    from inforeg_cli.report.runs import Found

    if dataset is None:
        return found
    kept = [run for run in found.runs if run.is_on(dataset)]
    if not kept and found.runs:
        raise Misuse(f"no run is on dataset '{dataset}'; {nearest(dataset, {run.dataset for run in found.runs})}")
    return Found(tuple(kept), found.unreadable)


def _report_left_out(found: "Found", searches: "Searches", runs: Path | None) -> None:
    for problem in found.unreadable:
        _say(f"unreadable run left out: {problem}")
    for problem in searches.unreadable:
        _say(f"unreadable search left out: {problem}")
    trials = {run.id for run in searches.trials_among(found.runs)}
    if trials:
        _say(f"{count(len(trials), 'trial')} of searches not shown; list them with: inforeg compare searches")
    unfinished = [run.name for run in found.runs if not run.finished and run.id not in trials]
    if unfinished:
        resume = ["inforeg", "train", "--resume", unfinished[0], *(["--runs", str(runs)] if runs else [])]
        _say(f"{len(unfinished)} unfinished, left out: {', '.join(unfinished)}. Go on with: {shlex.join(resume)}")


def _nothing(found: "Found", runs_dir: Path, dataset: str | None) -> str:
    which = "none of the runs has finished" if found.runs else f"there are no runs in {runs_dir}"
    command = shlex.join(["inforeg", "train", *(["--dataset", dataset] if dataset else []), "--method", "joint"])
    return f"{which}, so there is nothing to compare. Make one with: {command}"


def _say(line: str) -> None:
    console.err.print(Text(line))
