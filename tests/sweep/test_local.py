"""Worker processes of this machine: who gets which device and how many threads, and what becomes of their cells."""

import io
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from cell_factory import SHORT, alive, cell, children, grid, holds, read, start_sweep, until, without_mlflow
from rich.console import Console

from inforeg_cli.engine import checkpoint
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.sweep import local
from inforeg_cli.sweep.local import Local
from inforeg_cli.sweep.run import run_sweep
from inforeg_cli.sweep.view import Lines

#: Epochs of a few milliseconds each: enough of them to be found in the middle.
LONG = {**SHORT, "epochs": 80}


@pytest.fixture(autouse=True)
def no_mlflow(tmp_path, monkeypatch):
    without_mlflow(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("asked", "devices"),
    [
        ({}, ("auto",)),
        ({"jobs": 3}, ("auto",) * 3),
        ({"per_device": 3}, ("auto",) * 3),
        ({"jobs": 2, "per_device": 3}, ("auto",) * 2),
        ({"devices": ["cpu"], "per_device": 2}, ("cpu", "cpu")),
        ({"devices": ["cpu", "cpu"], "per_device": 2, "jobs": 3}, ("cpu",) * 3),
    ],
)
def test_slots(asked, devices):
    assert Local.of(**asked).devices == devices


def test_several_a_device_go_round_the_devices(monkeypatch):
    monkeypatch.setattr(local, "choose", lambda name: name)
    assert Local.of(None, ["cuda:0", "cuda:1"], 2).devices == ("cuda:0", "cuda:1", "cuda:0", "cuda:1")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"jobs": 0}, "--jobs 0"),
        ({"per_device": 0}, "--per-device 0"),
        ({"devices": ["gpu"]}, "gpu"),
        ({"devices": ["cpu", "cpu"], "jobs": 5}, "2 devices with 1 each take 2 at once; add --per-device 3"),
    ],
)
def test_slots_that_cannot_be(asked, said):
    with pytest.raises(Misuse, match=said):
        Local.of(**asked)


def test_cells_run_side_by_side_and_a_failing_one_harms_none(make_store, tmp_path):
    store, runs = make_store(), tmp_path / "runs"
    failing = cell(store, {"optimizer": {"lr": 1e30}})
    fixed = {key: value for key, value in SHORT.items() if key != "threads"}
    cells = [failing, cell(store, {"seed": 1}, fixed), *grid(store, 2)]
    told = io.StringIO()
    summary = run_sweep(
        cells, store, runs, engine=Local.of(2), sweep="tried", view=Lines(Console(file=told, width=200))
    )
    assert set(summary.ran) == {each.name for each in cells[1:]} and summary.left == ()
    assert "not finite" in summary.failed[failing.name]
    assert json.loads((runs / failing.name / "failure.json").read_text())["kind"] == "Diverged"
    shared = max(1, local.cores() // 2)
    assert [checkpoint.load(runs / each.name / "last.pt")["threads"] for each in cells[1:]] == [shared, 1, 1]
    assert told.getvalue().count("MLflow does not follow") == 1, "both workers warn of it"
    assert told.getvalue().count("done") == 4  # three, and the count at the beginning
    assert not [pid for pid in children(os.getpid()) if "serve(" in read(Path(f"/proc/{pid}/cmdline"))]


def test_a_killed_worker_is_replaced_and_its_cell_goes_on(make_store, tmp_path):
    store, runs = make_store(), tmp_path / "runs"
    cells = grid(store, 1, settings=LONG)
    killed, told = [], io.StringIO()

    def kill():
        until(lambda: (runs / cells[0].name / "last.pt").exists())
        killed.append(next(pid for pid in children(os.getpid()) if holds(pid, runs / cells[0].name / ".lock")))
        os.kill(killed[0], signal.SIGKILL)

    murderer = threading.Thread(target=kill)
    murderer.start()
    summary = run_sweep(
        cells, store, runs, engine=Local.of(1), sweep="tried", view=Lines(Console(file=told, width=200))
    )
    murderer.join()
    assert summary.ran == tuple(each.name for each in cells)
    assert "lost" in told.getvalue() and "killed by signal 9" in told.getvalue()
    assert not alive(killed[0]) and not (runs / cells[0].name / "failure.json").exists()


def test_workers_that_cannot_start_end_the_sweep(make_store, tmp_path, monkeypatch):
    store = make_store()
    monkeypatch.setattr(local, "_START", "raise SystemExit(3)")
    with pytest.raises(InforegError, match="no worker process can be started: it ended with exit code 3"):
        run_sweep(grid(store, 2), store, tmp_path / "runs", engine=Local.of(1), sweep="tried")


@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_the_end_of_the_parent_is_the_end_of_its_workers_and_nothing_is_lost(how, make_store, tmp_path):
    store, runs = make_store(), tmp_path / "runs"
    cells = grid(store, 2, settings={**SHORT, "epochs": 100_000})
    process = start_sweep(store, runs, seeds=[0, 1], epochs=100_000)
    until(lambda: all((runs / each.name / "last.pt").exists() for each in cells))
    workers = children(process.pid)
    assert len(workers) == 2
    process.send_signal(signal.Signals[how])
    printed, _ = process.communicate(timeout=60)
    until(lambda: not any(alive(pid) for pid in workers), 15)
    assert not list(runs.glob("*/failure.json"))
    states = [checkpoint.load(runs / each.name / "last.pt") for each in cells]
    assert all(state["epoch"] > 0 for state in states)
    if how != "SIGKILL":
        assert process.returncode == 130 and "0 of 2 cells are done, 2 left" in printed
