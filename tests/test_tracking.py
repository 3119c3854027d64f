import math
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from inforeg_cli import tracking
from inforeg_cli.tracking import Tracker

#: Forked after MLflow is imported, once, so that all four reach for the fresh store at the same moment.
FOUR_AT_ONCE = """
import os, sys, time
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from inforeg_cli.tracking import Tracker

start = time.monotonic() + 0.2
children = []
for index in range(4):
    child = os.fork()
    if child == 0:
        time.sleep(max(0, start - time.monotonic()))
        tags, params = {"method": "joint"}, {"seed": index}
        tracker = Tracker(Path(sys.argv[1]), "digits", f"run {index}", tags, params, sweep="all's \\"well\\"")
        for epoch in range(3):
            tracker.log_epoch(epoch, {"val.accuracy": epoch / 10})
        tracker.finish("FINISHED", {"result.test.accuracy": 0.9})
        os._exit(0 if tracker.run_id else 1)
    children.append(child)
sys.exit(max(os.waitpid(child, 0)[1] for child in children) != 0)
"""


@pytest.fixture(autouse=True)
def _no_store_of_the_users(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def warnings(monkeypatch):
    said = []
    monkeypatch.setattr(tracking, "warn", said.append)
    return said


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for the tests that may share it: creating it takes MLflow a second."""
    return tmp_path_factory.mktemp("tracked") / "runs [1] 100%"


def track(store, name, run_id=None, **params):
    return Tracker(store, name, f"{name}-run", {"method": "joint", "seed": 0}, {"lr": 0.1, **params}, run_id)


def read(tracker):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=shlex.split(tracker.ui_command)[-1])
    return client, client.get_run(tracker.run_id)


def history(tracker, key):
    client, run = read(tracker)
    return [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key)]


def test_a_run_is_mirrored(store, tmp_path, monkeypatch, warnings):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "config.json"
    config.write_text("{}")
    many = {f"p{index}": index for index in range(150)}
    tracker = track(store, "mirrored", modalities=["image", "sound"], text="x" * 9000, **many)
    tracker.log_epoch(0, {"val.accuracy": 0.5, "val.loss": 1.5})
    tracker.log_epoch(1, {"val.accuracy": 0.75, "val.loss": 1.25})
    tracker.finish("FINISHED", {"result.test.accuracy": 0.7}, [config])
    client, run = read(tracker)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "mirrored-run")
    assert client.get_experiment(run.info.experiment_id).name == "mirrored"
    assert (run.data.tags["method"], run.data.tags["seed"]) == ("joint", "0")
    assert (run.data.params["lr"], run.data.params["modalities"]) == ("0.1", "['image', 'sound']")
    assert len(run.data.params) == 153
    assert history(tracker, "val.accuracy") == [(0, 0.5), (1, 0.75)]
    assert run.data.metrics["result.test.accuracy"] == 0.7
    assert [path.name for path in store.glob("mlruns/*/artifacts/*")] == ["config.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    assert warnings == []


def test_a_resumed_run_goes_on_without_logging_twice(store, warnings):
    first = track(store, "resumed")
    for epoch in range(3):
        first.log_epoch(epoch, {"val.accuracy": epoch / 10})
    first.finish("KILLED", {})
    second = track(store, "resumed", first.run_id, added="later")
    assert second.run_id == first.run_id
    assert read(second)[1].info.status == "RUNNING"
    for epoch in range(1, 5):  # after a kill an epoch that was logged may be done again
        second.log_epoch(epoch, {"val.accuracy": epoch / 10})
    second.finish("FINISHED", {})
    assert history(second, "val.accuracy") == [(epoch, epoch / 10) for epoch in range(5)]
    assert read(second)[1].data.params == {"lr": "0.1", "added": "later"}
    assert warnings == []


def test_a_run_that_a_sweep_goes_on_with_stands_under_it(store, warnings):
    begun = track(store, "adopted")
    begun.finish("KILLED", {})
    assert "sweep" not in read(begun)[1].data.tags
    runs = [
        Tracker(store, "adopted", "adopted-run", {"method": "joint"}, {"lr": 0.1}, begun.run_id, sweep="table2"),
        Tracker(store, "adopted", "other-run", {}, {}, sweep="table2"),
    ]
    assert runs[0].run_id == begun.run_id
    tags = [read(run)[1].data.tags for run in runs]
    assert {each["sweep"] for each in tags} == {"table2"}
    assert len({each["mlflow.parentRunId"] for each in tags}) == 1
    elsewhere = Tracker(store, "adopted", "third-run", {}, {}, sweep="table3")
    assert read(elsewhere)[1].data.tags["mlflow.parentRunId"] != tags[0]["mlflow.parentRunId"]
    assert warnings == []


def test_a_finished_a_changed_and_a_forgotten_run_do_not_go_on(store, warnings):
    finished = track(store, "begun")
    finished.finish("FINISHED", {})
    assert track(store, "begun", finished.run_id).run_id not in (None, finished.run_id)
    killed = track(store, "begun")
    killed.finish("KILLED", {})
    changed = Tracker(store, "begun", "run", {}, {"lr": 0.2}, killed.run_id)
    assert changed.run_id not in (None, killed.run_id)
    assert track(store, "begun", "f" * 32).run_id is not None
    assert warnings == []


def test_what_is_not_finite_is_left_out_and_names_are_made_fit(store, warnings):
    tracker = track(store, "names", **{"encoders.[red]+.lr": 1})
    tracker.log_epoch(0, {"val.loss": math.nan, "trace.all": math.inf, "head.[red]+audio:é.accuracy": 0.5})
    tracker.finish("FINISHED", {})
    assert read(tracker)[1].data.metrics == {"head._red__audio_é.accuracy": 0.5}
    assert read(tracker)[1].data.params["encoders._red__.lr"] == "1"
    assert warnings == []


def test_the_command_for_the_interface_can_be_run_and_names_the_store_absolutely(store):
    tracker = track(store, "interface")
    program, *rest = shlex.split(tracker.ui_command)
    assert shutil.which(program)
    assert rest == ["ui", "--backend-store-uri", f"sqlite:///{store.resolve()}/mlflow.db".replace("%", "%25")]
    assert (store / "mlflow.db").is_file()


def test_another_store_is_taken_where_the_environment_names_one(store, tmp_path, monkeypatch, warnings):
    track(store, "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db".replace("%", "%25"))
    tracker = track(tmp_path / "runs", "elsewhere")
    assert tracker.run_id
    assert str(store.name.replace("%", "%25")) in tracker.ui_command
    assert not (tmp_path / "runs" / "mlflow.db").exists()
    assert warnings == []


def test_four_trainings_may_start_at_once_on_a_fresh_store(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    done = subprocess.run(
        [sys.executable, "-c", FOUR_AT_ONCE, str(tmp_path / "runs")], capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("digits")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == ['all\'s "well"', *(f"run {index}" for index in range(4))]
    parent = runs.pop('all\'s "well"')
    assert parent.info.status == "FINISHED"
    for run in runs.values():
        assert run.info.status == "FINISHED" and run.data.metrics["val.accuracy"] == 0.2
        assert (run.data.tags["sweep"], run.data.tags["mlflow.parentRunId"]) == ('all\'s "well"', parent.info.run_id)


@pytest.mark.parametrize("kind", ["garbage", "folder", "blocked"])
def test_a_broken_store_costs_one_warning_and_no_time(tmp_path, warnings, kind):
    runs = tmp_path / "runs"
    match kind:
        case "garbage":
            runs.mkdir()
            (runs / "mlflow.db").write_bytes(b"this is no database at all" * 100)
        case "folder":
            (runs / "mlflow.db").mkdir(parents=True)
        case "blocked":
            runs.write_text("a file where a folder should be")
    start = time.monotonic()
    tracker = track(runs, "broken")
    tracker.log_epoch(0, {"val.accuracy": 0.5})
    tracker.finish("FINISHED", {}, [tmp_path / "absent"])
    assert time.monotonic() - start < 5
    assert (tracker.run_id, tracker.ui_command) == (None, "")
    assert len(warnings) == 1
    assert "MLflow does not follow this run" in warnings[0]


def test_a_failure_in_mid_run_costs_one_warning(store, tmp_path, warnings):
    tracker = track(store, "failing")
    tracker.log_epoch(0, {"val.accuracy": 0.5})
    tracker.finish("FINISHED", {}, [tmp_path / "absent"])
    tracker.log_epoch(1, {"val.accuracy": 0.5})
    tracker.finish("FINISHED", {}, [tmp_path / "absent"])
    assert len(warnings) == 1


def test_of_an_error_in_the_store_mlflow_itself_says_nothing(tmp_path, warnings, capfd):
    runs = tmp_path / "runs"
    tracker = track(runs, "failing")
    with closing(sqlite3.connect(runs / "mlflow.db")) as database:
        database.execute("DROP TABLE runs")
        database.commit()
    tracker.finish("FINISHED", {})
    assert len(warnings) == 1 and "Traceback" not in capfd.readouterr().err


def test_without_mlflow_there_is_one_warning(tmp_path, monkeypatch, warnings):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    tracker = track(tmp_path, "absent")
    tracker.log_epoch(0, {"val.accuracy": 0.5})
    assert tracker.run_id is None
    assert len(warnings) == 1


def test_a_server_that_cannot_be_reached_costs_one_warning(tmp_path, monkeypatch, warnings):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = track(tmp_path, "server")
    assert tracker.run_id is None
    assert len(warnings) == 1


def test_a_warning_is_printed_as_it_is(tmp_path, capsys):
    runs = tmp_path / "[bold]"
    runs.write_text("a file where a folder should be")
    track(runs, "printed")
    assert "[bold]" in capsys.readouterr().err
