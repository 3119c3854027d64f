"""What surrounds trainings costs: evaluating a run, making a grid's cells, asking where they stand, filling tables."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from inforeg_cli import presets
from inforeg_cli.benchmarks.turns import Figures, interleaved, quartiles, ratios
from inforeg_cli.console import err
from inforeg_cli.data import catalogue
from inforeg_cli.data.store import Store
from inforeg_cli.engine.launch import folder_of, train
from inforeg_cli.evaluation.assess import Assessment
from inforeg_cli.evaluation.subject import open_subject
from inforeg_cli.measures import MEASURES, PICTURES
from inforeg_cli.report import paper
from inforeg_cli.report.groups import grouped
from inforeg_cli.report.paper_tables import PaperTables
from inforeg_cli.report.runs import all_runs
from inforeg_cli.resolve import resolve
from inforeg_cli.sweep import axes
from inforeg_cli.sweep.cells import Cell
from inforeg_cli.sweep.grid import grid
from inforeg_cli.sweep.state import state_of

TRAINING = "training, joint on digits"
#: So many cells and runs the figures are of, if not a few more or less.
CELLS, RUNS = 2000, 200
COLUMNS = ("what", "milliseconds", "quartiles", "/ training")


def bench_around(turns: int, device: torch.device) -> Figures:
    """Time what people wait for beside trainings, each in this process and after all imports."""
    with tempfile.TemporaryDirectory(prefix="inforeg-bench-") as name:
        runs = Path(name) / "runs"
        store = catalogue.ensure_digits(temporary=True)
        experiment = resolve(presets.load("digits/joint"), store)
        trained, filled = folder_of(experiment, store, runs / "trained"), runs / "filled"

        def evaluate() -> None:
            assessment = Assessment(open_subject(trained.path, "test", "best", device), runs)
            for measure in MEASURES:
                if measure not in PICTURES:
                    assessment.measure(measure)

        def tables() -> None:
            made = PaperTables(grouped(all_runs(filled).runs))
            for number in paper.TABLES:
                made.table(number, store.name)

        with err.status(f"around trainings: {turns} turns"):
            train(experiment, store, trained, device)
            cells = _paper_cells(store, filled)
            for cell in cells:
                _finished_as(cell, trained.path, filled)
            many = _many_cells(store, runs)
            seconds = interleaved(
                {
                    TRAINING: lambda: train(experiment, store, trained, device, force=True),
                    "all measures of its evaluation but t-SNE": evaluate,
                    f"{len(many):,} cells of a grid": lambda: _many_cells(store, runs),
                    "where each of them stands": lambda: [state_of(filled, cell.name) for cell in many],
                    f"tables 1 to 6 of {len(cells)} runs": tables,
                },
                turns,
            )
    found = []
    for what, times in seconds.items():
        first, middle, third = (1000 * value for value in quartiles(times))
        found.append((what, round(middle), f"{first:.0f}-{third:.0f}", round(ratios(times, seconds[TRAINING])[1], 2)))
    return Figures(f"around trainings, {turns} turns", COLUMNS, found)


def _many_cells(store: Store, runs: Path) -> tuple[Cell, ...]:
    some = [axes.parse("method.beta=0.01:1:0.01"), axes.parse(f"window.K=0.01:{CELLS // 100 / 100}:0.01")]
    return grid(store, runs, some).cells


def _paper_cells(store: Store, runs: Path) -> tuple[Cell, ...]:
    """About as many cells of the paper's tables as `RUNS`, over several seeds."""
    names = [f"paper/table{number}" for number in paper.TABLES]
    each = len(grid(store, runs, [], seeds=axes.of_seeds("0"), presets=names).cells)
    return grid(store, runs, [], seeds=axes.of_seeds(f"0-{round(RUNS / each) - 1}"), presets=names).cells


def _finished_as(cell: Cell, trained: Path, runs: Path) -> None:
    """The trained run's folder once more, as that of `cell`: what its numbers are makes no difference to the time."""
    folder = runs / cell.name
    shutil.copytree(trained, folder, copy_function=os.link, ignore=shutil.ignore_patterns("*.json", "*.pt"))
    shutil.copy(trained / "result.json", folder)
    experiment: Any = cell.experiment
    config = json.loads((trained / "config.json").read_text(encoding="utf-8")) | {
        "id": cell.id,
        "label": experiment.label,
        "baseline": experiment.baseline,
        "preset": cell.preset,
        "method_version": experiment.method_class.version,
        "experiment": experiment.model_dump(mode="json"),
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
