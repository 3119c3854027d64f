"""`inforeg sweep method --search N`: what it plans, what it prints, and how it ends; trainings are made up."""

import csv
import io
import json
import sys

import pytest
from typer.testing import CliRunner

from inforeg_cli.app import app
from inforeg_cli.errors import InforegError
from inforeg_cli.sweep import run as running
from inforeg_cli.sweep.ledger import Summary


@pytest.fixture
def store(make_store):
    return make_store()


@pytest.fixture
def sweep(store, tmp_path, monkeypatch):
    """`inforeg sweep ... --search ...` on a small store, whose trainings are made up: those of `failing` methods fail."""
    asked = []

    def run_sweep(cells, store, runs, *, retry, **rest):
        asked.append([cell.name for cell in cells])
        done, failed = [], {}
        for cell in cells:
            (runs / cell.name).mkdir(parents=True, exist_ok=True)
            if cell.values["method"] in sweep.failing:
                failed[cell.name] = "the loss is not finite"
                text = json.dumps({"reason": failed[cell.name], "at": ""})
                (runs / cell.name / "failure.json").write_text(text)
                continue
            accuracy = 0.9 if cell.values["trial"] == "1" else 0.5
            keys = ("label", "best_epoch", "test_if_chosen_on_test", "open_epochs", "regulated_steps", "acted")
            scores = {"accuracy": accuracy, "macro_f1": accuracy, "loss": 1.0}
            result = {**dict.fromkeys(keys), "val": scores, "test": scores, "seconds": 2.0}
            (runs / cell.name / "result.json").write_text(json.dumps(result))
            done.append(cell.name)
        return Summary(tuple(done), tuple(done), failed, ())

    monkeypatch.setattr(running, "run_sweep", run_sweep)

    def sweep(*arguments):
        words = ["sweep", *arguments, "--dataset", str(store.path)]
        monkeypatch.setattr(sys, "argv", ["inforeg", *words])
        result = CliRunner().invoke(app, words)
        if isinstance(result.exception, InforegError):
            raise result.exception
        return result

    sweep.failing, sweep.asked = (), asked
    return sweep


def record(tmp_path):
    (path,) = (tmp_path / "runs" / "searches").glob("*.json")
    return path, json.loads(path.read_text())


def test_trials_then_winners_then_a_record(sweep, tmp_path):
    result = sweep("method=joint,ogm", "--search", "3", "--seeds", "0,1")
    assert result.exit_code == 0
    assert [len(cells) for cells in sweep.asked] == [6, 4]
    path, made = record(tmp_path)
    assert {name: method["winner"] for name, method in made["methods"].items()} == {"joint": 1, "ogm": 1}
    assert [run["seed"] for run in made["methods"]["ogm"]["runs"]] == [0, 1]
    assert {run["run"] for method in made["methods"].values() for run in method["runs"]} == {*sweep.asked[1]}
    assert path.name in result.stdout.replace("\n", "") and f"inforeg compare searches {path.stem}" in result.stdout


def test_every_method_is_tuned_where_none_is_named(sweep, tmp_path):
    sweep("method", "--search", "1")
    methods = record(tmp_path)[1]["methods"]
    assert {"joint", "uniform", "ogm-ge", "inforeg-own"} < {*methods} and len(methods) == 11


def test_failures_end_with_1_and_leave_the_others_winners(sweep, tmp_path):
    sweep.failing = ("ogm",)
    result = sweep("method=joint,ogm", "--search", "2")
    assert result.exit_code == 1
    assert "ogm: 2 of 2 trials failed, the first one: the loss is not finite" in result.stdout
    assert [len(cells) for cells in sweep.asked] == [4, 3]
    assert record(tmp_path)[1]["methods"]["ogm"]["winner"] is None


def test_shards_make_one_search(sweep, tmp_path):
    first = sweep("method=joint,ogm", "--search", "2", "--shard", "1/2")
    assert "2 of 4 trials are missing" in first.stdout and len(sweep.asked) == 1
    sweep("method=joint,ogm", "--search", "2", "--shard", "2/2")
    assert [len(cells) for cells in sweep.asked] == [2, 2, 3]
    assert record(tmp_path)[1]["methods"]["joint"]["winner"] == 1


def test_the_dry_run_plans_trials_and_winners_and_touches_nothing(sweep, tmp_path):
    result = sweep("method=joint,ogm", "--search", "2", "--dry-run", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["method"], row["trial"], row["state"]) for row in rows] == [
        ("joint", "0", "new"), ("ogm", "0", "new"), ("joint", "1", "new"), ("ogm", "1", "new")
    ]  # fmt: skip
    assert "2 trials for each of 2 methods, with seed 1000" in result.stderr
    assert "6 cells of winners" in result.stderr and "10 cells" in result.stderr
    assert not (tmp_path / "runs").exists() and not sweep.asked
    sweep("method=joint,ogm", "--search", "2")
    known = sweep("method=joint,ogm", "--search", "2", "--dry-run", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(known.stdout)))
    assert len(rows) == 10 and {row["state"] for row in rows} == {"done"}
    assert "of winners" not in known.stderr and "nothing is left to train" in known.stderr


def test_set_and_epochs_are_every_trials(sweep, tmp_path):
    sweep("method=joint", "--search", "1", "--set", "batch_size=4", "--epochs", "2")
    assert record(tmp_path)[1]["assigned"] == {"batch_size": 4, "epochs": 2}
