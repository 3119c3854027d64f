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
from inforeg_cli.errors import Misuse
from inforeg_cli.files import write_text
from inforeg_cli.naming import nearest
from inforeg_cli.report.rendering import Format, as_text, render

if TYPE_CHECKING:
    from inforeg_cli.report.runs import Found

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
    format: Annotated[Format, typer.Option(help="How tables are printed.")] = Format.rich,
    out: Annotated[Path | None, typer.Option(help="Also write compare-runs.<ext> to this folder.")] = None,
    root: options.Root = None,
    runs: options.Runs = None,
) -> None:
    """Group runs by everything but the seed, and print mean, spread, and the difference to the baseline.

    Differences are paired by seed, with intervals over seeds and over clips. Protocols never share a table.
    """
    from inforeg_cli.report.tables import comparison

    runs_dir = paths.runs(runs)
    found = _of_dataset(_chosen(run, runs_dir), dataset)
    _report_left_out(found, runs)
    tables = comparison(found.runs, split.value)
    if not tables:
        raise Misuse(_nothing(found, runs_dir, dataset))
    render(tables, format, console.out)
    if out:
        path = out / f"compare-runs.{format.extension}"
        write_text(path, as_text(tables, format))
        _say(f"written to {path}")


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
    store = Path(dataset).resolve()
    kept = [run for run in found.runs if run.dataset == dataset or Path(run.data.get("path", "")).resolve() == store]
    if not kept and found.runs:
        raise Misuse(f"no run is on dataset '{dataset}'; {nearest(dataset, {run.dataset for run in found.runs})}")
    return Found(tuple(kept), found.unreadable)


def _report_left_out(found: "Found", runs: Path | None) -> None:
    for problem in found.unreadable:
        _say(f"unreadable run left out: {problem}")
    unfinished = [run.name for run in found.runs if not run.finished]
    if unfinished:
        resume = ["inforeg", "train", "--resume", unfinished[0], *(["--runs", str(runs)] if runs else [])]
        _say(f"{len(unfinished)} unfinished, left out: {', '.join(unfinished)}. Go on with: {shlex.join(resume)}")


def _nothing(found: "Found", runs_dir: Path, dataset: str | None) -> str:
    which = "none of the runs has finished" if found.runs else f"there are no runs in {runs_dir}"
    command = shlex.join(["inforeg", "train", *(["--dataset", dataset] if dataset else []), "--method", "joint"])
    return f"{which}, so there is nothing to compare. Make one with: {command}"


def _say(line: str) -> None:
    console.err.print(Text(line))
