"""A run's folder: made, found finished, resumed, protected from other configurations and other processes."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import torch

from inforeg_cli.engine import checkpoint, launch
from inforeg_cli.engine.guard import StopRequest
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.resolve import resolve
from inforeg_cli.run_folder import Busy, RunFolder

CPU = torch.device("cpu")
SHORT = {"epochs": 2, "batch_size": 8}


def test_a_run_is_described_and_finished_once(make_store, tmp_path, no_mlflow):
    store = make_store()
    experiment = resolve({**SHORT, "method": "inforeg"}, store)
    folder = launch.folder_of(experiment, store, tmp_path / "runs")
    assert folder.path.name == f"tiny-inforeg-s0-{experiment.id(store.digest)[:8]}"
    first = launch.train(experiment, store, folder, CPU, preset="x/y")
    assert first.trained
    config = json.loads((folder.path / "config.json").read_text())
    assert config["experiment"] == experiment.model_dump(mode="json")
    assert config["data"]["digest"] == store.digest and config["preset"] == "x/y"
    files = {file.name for file in folder.path.iterdir() if not file.name.startswith(".")}
    predictions = {f"predictions-{split}-{which}.parquet" for split in ("val", "test") for which in ("best", "last")}
    written_always = {"config.json", "result.json", "metrics.parquet", "last.pt", "best.pt"}
    assert files == {*written_always, "predictions-test-test-best.parquet", *predictions}
    written = (folder.path / "last.pt").stat().st_mtime_ns
    again = launch.train(experiment, store, folder, CPU)
    assert not again.trained and again.result == first.result
    assert (folder.path / "last.pt").stat().st_mtime_ns == written
    forced = launch.train(experiment, store, folder, CPU, force=True)
    assert forced.trained and forced.result["test"] == first.result["test"]


def test_another_configuration_does_not_overwrite_a_named_run(make_store, tmp_path, no_mlflow):
    store = make_store()
    folder = RunFolder(tmp_path / "runs" / "mine")
    launch.train(resolve(SHORT, store), store, folder, CPU)
    with pytest.raises(Misuse, match="another configuration"):
        launch.train(resolve({**SHORT, "seed": 1}, store), store, folder, CPU)


def test_a_run_that_is_being_trained_is_locked(make_store, tmp_path, no_mlflow):
    store = make_store()
    folder = RunFolder(tmp_path / "runs" / "mine")
    with folder.locked(), pytest.raises(Busy, match="another process"):
        launch.train(resolve(SHORT, store), store, RunFolder(folder.path), CPU)


def test_why_a_run_failed_stands_in_its_folder_until_it_is_tried_again(make_store, tmp_path, no_mlflow, monkeypatch):
    store = make_store()
    folder = RunFolder(tmp_path / "runs" / "mine")
    failure = folder.path / "failure.json"

    def full(*args):
        raise InforegError("cannot write: is the disk full?")

    with monkeypatch.context() as broken, pytest.raises(InforegError, match="full"):
        broken.setattr(RunFolder, "write_metrics", full)
        launch.train(resolve(SHORT, store), store, folder, CPU)
    told = json.loads(failure.read_text())
    assert (told["reason"], told["kind"]) == ("cannot write: is the disk full?", "InforegError")
    assert datetime.fromisoformat(told["at"]).utcoffset() == timedelta(0)
    with pytest.raises(Misuse):  # refused before it is tried
        launch.train(resolve({**SHORT, "seed": 1}, store), store, folder, CPU)
    assert json.loads(failure.read_text()) == told
    stop = StopRequest()
    stop.requested = True
    with pytest.raises(launch.Interrupted):
        launch.train(resolve(SHORT, store), store, folder, CPU, stop=stop)
    assert not failure.exists(), "it was tried again, and a stop is no failure"


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "a b"])
def test_a_name_must_be_a_plain_folder_name(name, make_store, tmp_path):
    store = make_store()
    with pytest.raises(Misuse, match="--name"):
        launch.folder_of(resolve(SHORT, store), store, tmp_path, name)


def test_a_changed_store_is_noticed(make_store, tmp_path, no_mlflow):
    from inforeg_cli.engine.build import restore

    store, other = make_store(), make_store(seed=1)
    folder = RunFolder(tmp_path / "runs" / "mine")
    launch.train(resolve(SHORT, store), store, folder, CPU)
    with pytest.raises(InforegError, match="has changed"):
        restore(folder, other, "best", CPU)


PROGRAM = """
import sys, time, torch
from pathlib import Path
from inforeg_cli.resolve import resolve
from inforeg_cli.data.store import Store
from inforeg_cli.engine import launch
from inforeg_cli.errors import InforegError
from inforeg_cli.progress import Silent
from inforeg_cli.run_folder import RunFolder

class NoTracker:
    run_id, ui_command = None, None
    def __init__(self, *args, **kwargs): ...
    def log_epoch(self, *args): ...
    def finish(self, *args): ...

class Slow(Silent):
    def step(self, index):
        time.sleep(float(sys.argv[3]))

torch.set_num_threads(1)
launch.Tracker = NoTracker
store = Store.open(Path(sys.argv[1]))
experiment = resolve({"epochs": 6, "batch_size": 8, "method": "inforeg", "window": {"when": "whole"}}, store)
try:
    launch.train(experiment, store, RunFolder(Path(sys.argv[2])), torch.device("cpu"), progress=Slow())
except InforegError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def start(store: Path, folder: Path, pause: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(store), str(folder), str(pause)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_interrupted_at_some_moment_and_started_again(number, make_store, tmp_path):
    """SIGINT and SIGTERM save the step they find; after SIGKILL the epoch is redone. Either way: the same bits."""
    store = make_store()
    whole, parts = tmp_path / "runs" / "whole", tmp_path / "runs" / "parts"
    reference = start(store.path, whole, 0)
    process = start(store.path, parts, 0.1)
    deadline = time.monotonic() + 60
    while not (parts / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.25)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=60)
    assert not (parts / "result.json").exists()
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert "--resume" in printed and checkpoint.load(parts / "last.pt")["step"] > 0
    assert start(store.path, parts, 0).wait(timeout=60) == 0
    assert reference.wait(timeout=60) == 0
    results = [json.loads((folder / "result.json").read_text()) for folder in (whole, parts)]
    for result in results:
        del result["seconds"], result["run"]
    assert results[0] == results[1]
    models = [checkpoint.load(folder / "last.pt")["model"] for folder in (whole, parts)]
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])
    tables = [pd.read_parquet(folder / "metrics.parquet") for folder in (whole, parts)]
    pd.testing.assert_frame_equal(*tables)
