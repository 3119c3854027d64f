"""`inforeg demo`: modality imbalance seen, measured and treated, on real handwritten digits, in a few minutes."""

from typing import Annotated

import typer

from inforeg_cli import paths
from inforeg_cli.commands import options
from inforeg_cli.console import out

METHODS = ("joint", "uniform", "ogm", "inforeg")


def demo(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds a method.")] = 3,
    device: options.Device = "auto",
    root: options.Root = None,
    runs: options.Runs = None,
) -> None:
    """Prepare digits (each image with its telephone tone), train four methods over some seeds, and compare them.

    Runs that are there already are not trained again.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from inforeg_cli.commands.train import assemble
    from inforeg_cli.engine import device as devices
    from inforeg_cli.engine import launch
    from inforeg_cli.report.rendering import render
    from inforeg_cli.report.runs import read_run
    from inforeg_cli.report.tables import comparison

    chosen = devices.choose(device)
    folder = paths.runs(runs)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs"),
        TimeElapsedColumn(),
    )
    outcomes = []
    with Progress(*columns, console=out, disable=not out.is_terminal) as bar:
        task = bar.add_task("training", total=len(METHODS) * seeds)
        for method in METHODS:
            for seed in range(seeds):
                bar.update(task, description=f"{method}, seed {seed}")
                experiment, store, preset = assemble("digits", method, None, [], {"seed": seed}, say=lambda line: None)
                run = launch.folder_of(experiment, store, folder)
                outcome = launch.train(experiment, store, run, chosen, preset=preset)
                outcomes.append(outcome)
                score = outcome.result["test"]["accuracy"]
                note = "" if outcome.trained else " (was trained before)"
                out.print(f"{outcome.folder.path.name:40} test accuracy {score:.1%}{note}", markup=False)
                bar.advance(task)
    out.print()
    render(comparison([read_run(outcome.folder.path) for outcome in outcomes]), "rich", out)
