"""What a sweep's estimate rests on: the same method and model first, then the slowest like it, then the slowest at all."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inforeg_cli.data.store import Store
from inforeg_cli.report.runs import Run
from inforeg_cli.sweep import axes
from inforeg_cli.sweep.cells import Cell
from inforeg_cli.sweep.estimate import estimate
from inforeg_cli.sweep.grid import grid


@pytest.fixture
def cells(make_store: Callable[..., Store], tmp_path: Path) -> tuple[Cell, ...]:
    """joint and ogm with concat and sum, ten epochs each."""
    parsed = [axes.parse("method=joint,ogm"), axes.parse("fusion=concat,sum")]
    return grid(make_store(), tmp_path, parsed, assigned={"epochs": 10}).cells


def _run(cell: Cell, seconds: float, device: str = "cpu") -> Run:
    """A finished run of the cell's experiment, with another seed."""
    experiment = cell.experiment.model_copy(update={"seed": 7}).model_dump(mode="json")
    data = {"name": "tiny", "digest": "0"}
    result = {"seconds": seconds, "device": device}
    return Run(Path(cell.name), cell.id, cell.experiment.label, None, None, experiment, data, 1, result)


def test_nothing_measured_is_no_estimate(cells: tuple[Cell, ...]) -> None:
    assert estimate(cells, [], "tiny", "cpu", 1).seconds is None
    assert estimate(cells, [_run(cells[0], 5)], "other", "cpu", 1).seconds is None
    assert estimate(cells, [_run(cells[0], 5, "cuda:1")], "tiny", "cpu", 1).seconds is None
    assert estimate(cells, [_run(cells[0], 5, "cuda:1")], "tiny", "cuda", 1).runs == 1


def test_nothing_left_takes_no_time(cells: tuple[Cell, ...]) -> None:
    assert estimate([], [_run(cells[0], 5)], "tiny", "cpu", 1).seconds == 0


def test_one_like_it_counts_before_the_slowest(cells: tuple[Cell, ...]) -> None:
    joint, _, ogm, ogm_sum = cells
    finished = [_run(joint, 10), _run(joint, 30), _run(joint, 20), _run(ogm_sum, 90)]
    found = estimate([joint], finished, "tiny", "cpu", 1)
    assert (found.seconds, found.cells, found.runs, found.borrowed) == (20, 1, 4, 0)
    found = estimate([ogm], finished, "tiny", "cpu", 1)  # joint's model, joint's slowest
    assert (found.seconds, found.borrowed) == (30, 1)
    found = estimate(
        [replace(ogm, experiment=ogm.experiment.model_copy(update={"batch_size": 8}))], finished, "tiny", "cpu", 1
    )
    assert (found.seconds, found.borrowed) == (90, 1)


def test_time_is_of_epochs_and_shared_by_jobs(cells: tuple[Cell, ...]) -> None:
    joint = cells[0]
    longer = replace(joint, experiment=joint.experiment.model_copy(update={"epochs": 30}))
    finished = [_run(joint, 10)]
    assert estimate([joint, longer], finished, "tiny", "cpu", 1).seconds == 40
    assert estimate([joint, longer], finished, "tiny", "cpu", 2).seconds == 20
    assert estimate([joint, longer], finished, "tiny", "cpu", 16).seconds == 20
