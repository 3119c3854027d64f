"""Sweeps that are killed at any moment, or run side by side: no finished cell is lost, and none is run twice."""

import json
import os
import random
import signal
import time

import pytest
import torch
from cell_factory import SHORT, alive, cell, children, start_sweep, until, without_mlflow

from inforeg_cli.engine import launch
from inforeg_cli.run_folder import RunFolder

#: Of some milliseconds each.
EPOCHS = 60


@pytest.fixture(autouse=True)
def no_mlflow(tmp_path, monkeypatch):
    without_mlflow(tmp_path, monkeypatch)


def killed_again_and_again(store, folder, kills: int, cells: int, seed: int) -> None:
    """Kill a sweep's parent or one of its workers, at random, so often; start it again whenever it is gone."""
    chance = random.Random(seed)
    print(f"chance seed {seed}")
    runs, process, finished = folder / "runs", None, {}
    for _ in range(kills):
        if process is None or process.poll() is not None:
            process = start_sweep(store, runs, range(cells), EPOCHS)
        already = newest(runs)
        until(lambda: newest(runs) > already or process.poll() is not None)  # noqa: B023
        time.sleep(chance.uniform(0, 0.5))
        workers = children(process.pid)
        victim = chance.choice([process.pid, *workers])
        os.kill(victim, signal.SIGKILL)
        if victim == process.pid:
            process.wait()
            until(lambda: not any(alive(pid) for pid in workers), 30)  # noqa: B023
        for path in runs.glob("*/result.json"):
            finished.setdefault(path, marks(path))
    if process.poll() is None:
        process.communicate(timeout=120)
    process = start_sweep(store, runs, range(cells), EPOCHS)
    summary = json.loads(process.communicate(timeout=120)[0].splitlines()[-1])
    assert len(summary["done"]) == cells and summary["failed"] == {}
    assert len(list(runs.iterdir())) == cells
    assert {path: marks(path) for path in finished} == finished, "a finished cell is never touched again"
    same_as_uninterrupted(store, runs, folder / "reference", range(cells))


def marks(path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns


def newest(runs) -> int:
    return max((path.stat().st_mtime_ns for path in runs.glob("*/metrics.parquet")), default=0)


def same_as_uninterrupted(store, runs, reference, seeds) -> None:
    for seed in seeds:
        it = cell(store, {"seed": seed}, {**SHORT, "epochs": EPOCHS})
        result = json.loads((runs / it.name / "result.json").read_text())
        once = launch.train(it.experiment, store, RunFolder(reference / it.name), torch.device("cpu")).result
        assert {**result, "seconds": 0} == {**once, "seconds": 0}


def test_killing_parent_and_workers_loses_and_repeats_nothing(make_store, tmp_path):
    killed_again_and_again(make_store(), tmp_path, kills=2, cells=3, seed=random.randrange(10**6))


def test_two_sweeps_over_overlapping_grids_run_each_cell_once(make_store, tmp_path):
    store, runs = make_store(), tmp_path / "runs"
    sweeps = [start_sweep(store, runs, seeds, EPOCHS, jobs=1) for seeds in (range(4), range(1, 6))]
    printed = [json.loads(process.communicate(timeout=180)[0].splitlines()[-1]) for process in sweeps]
    assert [len(summary["done"]) for summary in printed] == [4, 5]
    ran = [name for summary in printed for name in summary["ran"]]
    assert sorted(ran) == sorted(path.name for path in runs.iterdir()) and len(ran) == 6
