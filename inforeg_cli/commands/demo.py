"""`inforeg demo`: modality imbalance seen, measured and treated, on real handwritten digits, in a few minutes."""

from statistics import mean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inforeg_cli import paths
from inforeg_cli.commands import options
from inforeg_cli.console import out

if TYPE_CHECKING:
    from inforeg_cli.engine.launch import Outcome

#: What is trained, over each seed: every modality by itself, then both together with each method.
TRAININGS: dict[str, dict[str, Any]] = {
    "sound alone": {"modalities": "sound"},
    "image alone": {"modalities": "image"},
    "joint": {},
    "uniform": {"method": "uniform"},
    "ogm": {"method": "ogm"},
    "inforeg": {"method": "inforeg"},
    "inforeg+own": {"method": "inforeg", "unimodal_losses": "own"},
}


def demo(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each.")] = 3,
    device: options.Device = "auto",
    root: options.Root = None,
    runs: options.Runs = None,
) -> None:
    """Prepare digits (each image with its telephone tone), train each modality alone and both by each method; compare.

    Runs that are there already are not trained again.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from inforeg_cli.commands.train import assemble
    from inforeg_cli.engine import device as devices
    from inforeg_cli.engine import launch
    from inforeg_cli.report.rendering import render
    from inforeg_cli.report.runs import read_run
    from inforeg_cli.report.tables import comparison

    chosen, folder = devices.choose(device), paths.runs(runs)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("runs"))
    outcomes: dict[str, list[Outcome]] = {}
    with Progress(*columns, TimeElapsedColumn(), console=out, disable=not out.is_terminal) as bar:
        task = bar.add_task("training", total=len(TRAININGS) * seeds)
        for name, settings in TRAININGS.items():
            outcomes[name] = []
            for seed in range(seeds):
                bar.update(task, description=f"{name}, seed {seed}")
                flags = {key: value for key, value in {**settings, "seed": seed}.items() if key != "method"}
                experiment, store, preset = assemble(
                    "digits", settings.get("method"), None, [], flags, say=lambda line: None
                )
                run = launch.folder_of(experiment, store, folder)
                outcome = launch.train(experiment, store, run, chosen, preset=preset)
                outcomes[name].append(outcome)
                note = "" if outcome.trained else "  (was there already)"
                accuracy = outcome.result["test"]["accuracy"]
                out.print(f"{name:12} seed {seed}  test accuracy {accuracy:.1%}{note}", markup=False)
                bar.advance(task)
    out.print()
    render(comparison([read_run(outcome.folder.path) for every in outcomes.values() for outcome in every]), "rich", out)
    out.print()
    for line in _conclusions({name: [outcome.result for outcome in every] for name, every in outcomes.items()}):
        out.print(line, markup=False)
    out.print(f"runs           {folder}", markup=False)
    out.print("one of them    inforeg evaluate RUN; again, with your settings: inforeg train --dataset digits --help")


def _conclusions(results: dict[str, list[dict[str, Any]]]) -> list[str]:
    """What the numbers say, whatever they are."""

    def score(name: str, *path: str) -> str:
        values = [result["test"] for result in results[name]]
        for key in path:
            values = [value[key] for value in values]
        return f"{mean(value['accuracy'] for value in values):.1%}"

    lines = [
        f"seen           the image alone is right in {score('image alone')} of the clips; the head of joint "
        f"training makes {score('joint', 'head', 'image')} of it",
        f"measured       sound alone {score('sound alone')}, joint {score('joint')}",
        f"treated        uniform {score('uniform')}, ogm {score('ogm')}",
    ]
    for name in ("inforeg", "inforeg+own"):
        acted = any(result["acted"] for result in results[name])
        lines[-1] += f", {name} {score(name)}" if acted else f" ({name} never acted, so it is not shown)"
    return lines
