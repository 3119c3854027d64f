"""A sweep on a Ray cluster of two worker processes, which may die, be stopped, or go on with what others began."""

import importlib.util
import io
import json
import os
import shutil
import signal
import socket
import tempfile
import threading

import pytest
import torch
from cell_factory import SHORT, alive, children, grid, holds, until, without_mlflow
from rich.console import Console

from inforeg_cli.engine import checkpoint, launch
from inforeg_cli.engine.launch import Interrupted
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.run_folder import RunFolder
from inforeg_cli.sweep.cluster import Cluster
from inforeg_cli.sweep.local import Local
from inforeg_cli.sweep.run import run_sweep
from inforeg_cli.sweep.state import state_of
from inforeg_cli.sweep.view import Lines

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
LONG = {**SHORT, "epochs": 80}


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory):
    """Started once: it takes longer than all that is asked of it."""
    import ray

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patched.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        without_mlflow(tmp_path_factory.mktemp("ray"), patched)
        # The paths of its sockets may have 107 characters.
        folder = tempfile.mkdtemp(prefix="inforeg-ray-", dir="/tmp")
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        ray.init(address="local", num_cpus=2, _temp_dir=folder, **quiet)
        yield
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def sweep(cells, store, runs, engine, told=None):
    view = Lines(Console(file=told or io.StringIO(), width=200))
    return run_sweep(cells, store, runs, engine=engine, sweep="tried", view=view)


@needs_ray
def test_a_killed_workers_cell_goes_on_and_another_engine_runs_nothing_twice(ray_cluster, make_store, tmp_path):
    store, runs, told = make_store(), tmp_path / "runs", io.StringIO()
    cells, killed = grid(store, 3, settings=LONG), []
    folder = runs / cells[0].name

    def kill():
        until(lambda: (folder / "last.pt").exists())
        killed.append(next(pid for pid in children(os.getpid()) if holds(pid, folder / ".lock")))
        os.kill(killed[0], signal.SIGKILL)

    murderer = threading.Thread(target=kill)
    murderer.start()
    summary = sweep(cells[:2], store, runs, Cluster(), told)
    murderer.join()
    assert set(summary.ran) == {each.name for each in cells[:2]} and not alive(killed[0])
    assert "the Ray worker died" in told.getvalue() and not (folder / "failure.json").exists()
    result = json.loads((folder / "result.json").read_text())
    whole = launch.train(cells[0].experiment, store, RunFolder(tmp_path / cells[0].name), torch.device("cpu")).result
    assert {**result, "seconds": 0} == {**whole, "seconds": 0}
    before = {each.name: (runs / each.name / "result.json").stat().st_mtime_ns for each in cells[:2]}
    assert sweep(cells, store, runs, Local.of(1)).ran == (cells[2].name,)
    assert sweep(cells, store, runs, Cluster()).ran == ()
    assert before == {name: (runs / name / "result.json").stat().st_mtime_ns for name in before}


@needs_ray
def test_a_stop_saves_what_runs(ray_cluster, make_store, tmp_path):
    store, runs = make_store(), tmp_path / "runs"
    cells = grid(store, 3, settings={**SHORT, "epochs": 100_000})
    paths = [runs / each.name / "last.pt" for each in cells[:2]]

    def stop():
        until(lambda: all(path.exists() for path in paths))
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=stop)
    asking.start()
    with pytest.raises(Interrupted, match="0 of 3 cells are done, 3 left"):
        sweep(cells, store, runs, Cluster())
    asking.join()
    assert [state_of(runs, each.name).kind for each in cells] == ["interrupted", "interrupted", "new"]
    assert all(checkpoint.load(path)["epoch"] > 0 for path in paths)


@needs_ray
def test_data_that_a_node_has_not_is_named(ray_cluster, make_store, tmp_path):
    store = make_store()
    cells = grid(store, 2)
    shutil.rmtree(store.path)
    with pytest.raises(InforegError, match=rf"{socket.gethostname()} has no tiny of digest {store.digest[:8]}"):
        sweep(cells, store, tmp_path / "runs", Cluster(jobs=1))


@needs_ray
def test_a_gpu_that_no_node_has_is_not_waited_for(ray_cluster, make_store, tmp_path):
    store = make_store()
    with pytest.raises(Misuse, match="no GPU"):
        sweep(grid(store, 1), store, tmp_path / "runs", Cluster(device="cuda"))


def test_without_ray_one_line_says_what_to_do(make_store, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Misuse, match=r'pip install "inforeg\[ray\]"'):
        sweep(grid(make_store(), 1), make_store(), tmp_path / "runs", Cluster())


def test_which_gpu_is_rays_choice(make_store, tmp_path):
    with pytest.raises(Misuse, match="'cuda:1'"):
        sweep(grid(make_store(), 1), make_store(), tmp_path / "runs", Cluster(device="cuda:1"))
