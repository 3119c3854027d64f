"""`inforeg compare report`: tables, figures and how everything was run, as one HTML page to send to somebody."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inforeg_cli import paths
from inforeg_cli.commands import options
from inforeg_cli.commands.run_choice import on_one_dataset
from inforeg_cli.console import out, warn
from inforeg_cli.errors import InforegError

if TYPE_CHECKING:
    from inforeg_cli.report.page import Picture, Section
    from inforeg_cli.report.rendering import Report
    from inforeg_cli.report.runs import Run
    from inforeg_cli.report.searches import Searches

#: Of the page's numbers.
_DECIMALS = 2


def compare_report(
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME|STORE", show_default="that of the runs", help="Which runs are reported."),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", show_default="figures/<dataset>/ under the root", help="The folder for report.html."),
    ] = None,
    device: options.Device = "auto",
    root: options.Root = None,
    runs: options.Runs = None,
) -> None:
    """Write one HTML page of all tables, figures and configurations, and of how each was run.

    It holds its pictures and asks nothing of any server, so it can be sent around and opened offline. Tables and figures
    of the paper of which nothing has been run are left out.
    """
    from inforeg_cli.report.page import write
    from inforeg_cli.report.searches import all_searches

    runs_dir = paths.runs(runs)
    searches = all_searches(runs_dir)
    for problem in searches.unreadable:
        warn(f"unreadable search left out: {problem}")
    name, found = on_one_dataset(runs_dir, dataset, "paper/table2")
    path = (out_dir or paths.root() / "figures" / name) / "report.html"
    write(path, f"Methods compared on {name}", _sections(found, searches, name, device))
    out.print(f"report          {path}", markup=False)


def _sections(runs: "Sequence[Run]", searches: "Searches", dataset: str, device: str) -> "list[Section]":
    from inforeg_cli.commands import reproduce
    from inforeg_cli.report import paper, paper_columns, rendering
    from inforeg_cli.report.groups import grouped
    from inforeg_cli.report.page import Section
    from inforeg_cli.report.paper_tables import PaperTables
    from inforeg_cli.report.searches import trials_sheet, tuned_tables
    from inforeg_cli.report.setups import data_facts, run_facts, setups
    from inforeg_cli.report.tables import comparison

    finished = [run for run in runs if run.finished]
    untuned = searches.untuned(finished)
    made = PaperTables(grouped(untuned))
    tables = [table for number in paper.TABLES if (table := made.table(number, dataset)).started]
    compared = comparison(untuned) + tuned_tables(searches, finished)
    here = {run.id for run in runs}
    trials = [trials_sheet(record) for record in searches.records if here & {trial.id for trial in record.trials}]
    facts = [*data_facts(finished), *run_facts(runs, len(grouped(finished)), len(searches.trials_among(finished)))]
    sections = [
        Section("What was run", facts=facts),
        _of_report("The paper's tables", paper_columns.report_of(tables)),
        _of_report("All runs", rendering.report_of(compared)),
        Section("Figures", pictures=_pictures(untuned, dataset, device)),
        Section("Searches", folded=trials),
    ]
    sections = [section for section in sections if section.content]
    made_by = setups(compared, finished, reproduce.command)
    return [*sections, Section("How it was run"), *(Section(title, folded=of, part=True) for title, of in made_by)]


def _of_report(title: str, report: "Report") -> "Section":
    from inforeg_cli.report.page import Section

    return Section(title, sheets=report.sheets(_DECIMALS), lines=report.legend)


def _pictures(runs: "Sequence[Run]", dataset: str, device: str) -> "list[Picture]":
    """The figures for which there are runs; what keeps one from being drawn is told, and keeps no other."""
    from inforeg_cli.commands.compare_figures import extractor
    from inforeg_cli.report.figures import paper, style
    from inforeg_cli.report.page import Picture

    pictures = []
    for number in paper.NUMBERS if runs else ():
        try:
            drawn = paper.picture(number, runs, dataset, extractor(device))
        except InforegError as error:
            warn(f"figure {number} left out: {error}")
            continue
        if drawn.figure:
            caption = f"{drawn.title} ({drawn.of})"
            pictures.append(Picture(drawn.title, caption, style.image(drawn.figure, "png")))
    return pictures
