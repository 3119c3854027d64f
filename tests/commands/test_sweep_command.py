"""`inforeg sweep` as a person meets it: what it plans, says, refuses, writes not, and exits with."""

import csv
import inspect
import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from inforeg_cli.app import main
from inforeg_cli.data.store import Store
from inforeg_cli.sweep import run as runner
from inforeg_cli.sweep.cells import Cell
from inforeg_cli.sweep.ledger import Summary
from inforeg_cli.sweep.local import Local
from inforeg_cli.sweep.view import View


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    return make_store()


@pytest.fixture
def sweep(inforeg: Callable[..., tuple], store: Store) -> Callable[..., tuple]:
    """`sweep("beta", ...)` on the tiny store: exit code, standard output, standard error."""

    def run(*arguments: object, dataset: object = store.path) -> tuple[int, str, str]:
        return inforeg("sweep", *map(str, arguments), *(["--dataset", str(dataset)] if dataset else []))

    return run


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the runner was asked for, in place of running it; cells of ogm fail, agm's are left."""
    made: list[dict[str, Any]] = []

    asked = inspect.signature(runner.run_sweep)

    def run_sweep(cells: Sequence[Cell], store: Store, runs: Path, **options: Any) -> Summary:
        asked.bind(cells, store, runs, **options)
        made.append({"cells": cells, "runs": runs, **options})
        names = {cell.name: cell.experiment.method.name for cell in cells}
        failed = {name: "the loss is not finite" for name, method in names.items() if method == "ogm"}
        left = tuple(name for name, method in names.items() if method == "agm")
        done = tuple(name for name in names if name not in failed and name not in left)
        return Summary(done, done[1:], failed, left)

    monkeypatch.setattr(runner, "run_sweep", run_sweep)
    return made


def _finish(runs: Path, cell: str, experiment: dict[str, Any], label: str, seconds: float) -> None:
    """A finished run's folder, as far as a plan reads it."""
    folder = runs / cell
    folder.mkdir(parents=True)
    scores = {"accuracy": 0.5, "macro_f1": 0.5, "head": {}, "own_head": {}}
    data = {"name": "tiny", "digest": "0", "path": ""}
    config = {"id": "0", "label": label, "experiment": experiment, "data": data, "method_version": 1}
    (folder / "config.json").write_text(json.dumps(config))
    result = {"val": scores, "test": scores, "seconds": seconds, "device": "cpu", "label": label}
    (folder / "result.json").write_text(json.dumps(result))


def test_help_teaches_the_command_without_torch() -> None:
    code = (
        "import sys; from inforeg_cli.app import app\n"
        "try: app(['sweep', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pandas', 'mlflow', 'ray', 'sklearn', 'scipy', 'numpy'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    for word in ("inforeg sweep beta K", "--zip", "--shard", "--search", "paper/table2", "0:1:0.25", "--per-device"):
        assert word in shown.stdout


def test_a_dry_run_lists_cells_and_writes_nothing(sweep: Callable[..., tuple], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, out, err = sweep("beta=.5,.9", "K=.1", "--seeds", "0-1", "--dry-run")
    assert (code, err) == (0, "")
    assert "4 cells on tiny: 4 new" in out
    assert "time for 4 cells: unknown, nothing was measured on tiny yet, on" in out
    assert sweep("beta=.5,.9", "--dry-run", dataset="digits")[0] == 0  # which is not prepared under this root
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_of_a_shard_without_cells(sweep: Callable[..., tuple]) -> None:
    for format in ("rich", "csv", "markdown", "json"):
        code, _, err = sweep("seed=0,1", "--shard", "3/3", "--dry-run", "--format", format)
        assert code == 0, err
    assert "0 cells on" in sweep("seed=0,1", "--shard", "3/3", "--dry-run")[1]


@pytest.mark.parametrize("format", ["csv", "json"])
def test_a_dry_run_for_programs(sweep: Callable[..., tuple], format: str) -> None:
    code, out, err = sweep("method=joint,inforeg", "beta=.5,.9", "--dry-run", "--format", format)
    assert code == 0
    rows = json.loads(out) if format == "json" else list(csv.DictReader(io.StringIO(out)))
    assert [(row["method"], row["beta"] or "", row["state"]) for row in rows] == [
        ("joint", "", "new"),
        ("inforeg", "0.5", "new"),
        ("inforeg", "0.9", "new"),
    ]
    assert list(rows[0]) == ["method", "beta", "state", "reason", "run"]
    assert "1 combination is the same experiment as another: run once" in err
    assert "time for 3 cells: unknown" in err


def test_many_cells_are_shown_in_part(sweep: Callable[..., tuple]) -> None:
    _, out, _ = sweep("seed=0:40:1", "--dry-run")
    assert "41 cells on tiny: 41 new" in out and "... and 21 more; --format csv lists them all" in out
    assert sum("tiny-joint-s" in line for line in out.splitlines()) == 20
    assert len(sweep("seed=0:40:1", "--dry-run", "--format", "csv")[1].splitlines()) == 42
    _, out, _ = sweep("seed=0:39:1", "--dry-run")
    assert sum("tiny-joint-s" in line for line in out.splitlines()) == 40


def test_states_and_the_time_that_is_left(sweep: Callable[..., tuple], tmp_path: Path) -> None:
    options = ("--seeds", "0-3", "--epochs", "10", "--devices", "cpu", "--dry-run")
    rows = json.loads(sweep("method=joint,ogm", *options, "--format", "json")[1])
    names = [row["run"] for row in rows]
    assert [row["state"] for row in rows] == ["new"] * 8
    _, out, _ = sweep("method=joint,ogm", *options)
    runs = tmp_path / "runs"
    like = {"seed": 0, "epochs": 5, "batch_size": 64, "modalities": ["vector", "picture"], "precision": "fp32"}
    like["method"] = {"name": "joint"}
    _finish(runs, names[0], like, "joint", seconds=10)
    (runs / names[1]).mkdir()
    (runs / names[1] / "config.json").write_text("{}")
    (runs / names[2]).mkdir()
    (runs / names[2] / "failure.json").write_text(json.dumps({"reason": "out of memory", "kind": "error", "at": ""}))
    _, out, err = sweep("method=joint,ogm", *options, "--format", "json")
    assert [row["state"] for row in json.loads(out)] == ["done", "interrupted", "failed", *["new"] * 5]
    assert json.loads(out)[2]["reason"] == "out of memory"
    # Two seconds an epoch, ten epochs; nothing but that run was measured, and its model was another one.
    assert "about 2 min for 6 cells (from 1 finished run on tiny, on cpu; for 6 cells from the slowest" in err
    _, out, _ = sweep("method=joint,ogm", *options)
    assert "8 cells on tiny: 1 done, 1 interrupted, 1 failed, 5 new" in out and "out of memory" in out
    assert "--retry trains again what failed" in out and "for 6 cells" in out
    _, out, _ = sweep("method=joint,ogm", *options, "--retry")
    assert "--retry trains" not in out and "for 7 cells" in out
    assert (
        "about 60 s for 6 cells, 2 at a time"
        in sweep("method=joint,ogm", *options, "--jobs", "2", "--per-device", "2")[1]
    )


def test_shards_of_a_sweep_are_one_sweep(sweep: Callable[..., tuple], calls: list[dict[str, Any]]) -> None:
    names = []
    for part in ("1/3", "2/3", "3/3", None):
        code, _, _ = sweep("beta", "--seeds", "0-1", *(["--shard", part] if part else []))
        assert code == 0
        names.append([cell.name for cell in calls[-1]["cells"]])
    whole = names.pop()
    assert sorted(name for part in names for name in part) == sorted(whole)
    assert names[0] == whole[::3]
    assert len({call["sweep"] for call in calls}) == 1


def test_what_the_runner_is_asked_for(sweep: Callable[..., tuple], calls: list[dict[str, Any]], tmp_path: Path) -> None:
    options = ("--jobs", 3, "--retry", "--runs", tmp_path / "mine", "--epochs", 2, "--set", "batch_size=8")
    code, out, _ = sweep("method=joint,pmr", "lr=.1,.2", *options)
    call = calls[0]
    assert code == 0
    assert call["engine"] == Local.of(3) and call["retry"] is True and call["runs"] == tmp_path / "mine"
    assert isinstance(call["view"], View)
    assert call["sweep"].startswith("tiny-method-lr-")
    assert {(cell.experiment.epochs, cell.experiment.batch_size) for cell in call["cells"]} == {(2, 8)}
    assert call["cells"][0].values == {"method": "joint", "lr": "0.1"}
    assert "4 cells: 4 done (3 of them now)" in out
    assert f"--runs {tmp_path / 'mine'}" in out


def test_failures_are_told_with_what_tries_them_again(sweep: Callable[..., tuple], calls: list) -> None:
    code, out, _ = sweep("method=joint,ogm,agm", "--epochs", 2)
    assert code == 1
    assert "3 cells: 1 done (0 of them now), 1 failed, 1 left" in out
    assert "failed          tiny-ogm-s0-" in out and ": the loss is not finite" in out
    assert "try again       inforeg sweep method=joint,ogm,agm --epochs 2 --dataset" in out and "--retry" in out
    assert "compare         inforeg compare runs --dataset" in out
    code, out, _ = sweep("method=ogm", "--retry")
    assert (code, out.count("--retry"), "compare" in out) == (1, 1, False)


def test_an_interrupted_sweep_exits_as_such(sweep: Callable[..., tuple], monkeypatch: pytest.MonkeyPatch) -> None:
    from inforeg_cli.engine.launch import Interrupted

    def stopped(*args: Any, **options: Any) -> Summary:
        raise Interrupted("1 of 6 cells are done, 5 left; the same command goes on with them")

    monkeypatch.setattr(runner, "run_sweep", stopped)
    code, _, err = sweep("beta")
    assert code == 130 and "stopped: 1 of 6 cells are done" in err


@pytest.mark.parametrize(
    ("presets", "compare"),
    [
        (["paper/table2"], "compare tables 2 --dataset"),
        (["paper/table2", "paper/table3"], "compare tables 2 3 --dataset"),
        (["paper/figure7"], "compare figures 7 --dataset"),
        (["paper/table2", "paper/figure7"], "compare runs --dataset"),
    ],
)
def test_the_next_command_shows_what_was_asked_for(
    sweep: Callable[..., tuple], calls: list, presets: list[str], compare: str
) -> None:
    _, out, _ = sweep(*(word for preset in presets for word in ("--preset", preset)), "--seeds", 0)
    assert f"inforeg {compare}" in out
    for changed in (("--epochs", 2), ("lr=.1",), ("--set", "batch_size=8")):
        assert "inforeg compare runs --dataset" in sweep("--preset", presets[0], "--seeds", 0, *changed)[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to sweep: name an axis"),
        (["beta", "method.beta=.1"], "two axes set method.beta"),
        (["beta", "--set", "method.beta=.1"], "method.beta is set twice"),
        (["epochs=1,2", "--epochs", "3"], "epochs is set twice"),
        (["bta"], "did you mean 'beta'"),
        (["--preset", "paper/tabel2"], "did you mean 'paper/table2'"),
        (["--preset", "gone.toml"], "there is no preset 'gone.toml'"),
        (["beta", "--shard", "0/4"], "--shard 0/4: it takes the part"),
        (["beta", "--shard", "5/4"], "--shard 5/4: it takes the part"),
        (["beta", "--jobs", "0"], "--jobs 0: there is at least 1"),
        (["beta", "--per-device", "0"], "--per-device 0: there is at least 1"),
        (["beta", "--devices", "gpu"], "'gpu' is no device"),
        (["beta", "--devices", "cpu,cuda:99"], "CUDA"),
        (["beta", "--engine", "ray", "--devices", "cuda:0,cuda:1"], "Ray hands out the GPUs itself"),
        (["beta", "--address", "auto"], "--address is a Ray cluster's: add --engine ray"),
        (["beta=.1,.2", "K=.1,.2,.3", "--zip"], "different numbers of values: beta 2, K 3"),
        (["beta", "--seeds", "x"], "--seeds takes whole numbers"),
        (["beta", "--set", "dataset=digits"], "the dataset is chosen with --dataset, not with --set"),
        (["beta", "--search", "4"], "--search draws settings itself"),
        (["--search", "4", "--seeds", "0"], "--search tunes methods: name them"),
        (["method=joint,ogm", "--search", "4", "--zip"], "leave out --preset and --zip"),
        (["method=joint", "beta=.5"], "method.beta: there is no such setting"),
    ],
)
def test_misuse_is_told_clearly(
    sweep: Callable[..., tuple], calls: list, tmp_path: Path, arguments: list[str], said: str
) -> None:
    for dry in ([], ["--dry-run"]):
        code, out, err = sweep(*arguments, *dry)
        assert (code, out) == (2, "")
        assert said in err
    assert not calls and not (tmp_path / "runs").exists()


def test_one_dataset_a_sweep(sweep: Callable[..., tuple], tmp_path: Path) -> None:
    for name in ("mine", "yours"):
        (tmp_path / "presets" / name).mkdir(parents=True)
        (tmp_path / "presets" / name / "fast.toml").write_text("epochs = 1")
    code, _, err = sweep("--preset", "mine/fast", "--preset", "yours/fast", dataset=None)
    assert code == 2 and "a sweep has one dataset, but the presets are for mine and yours" in err
    code, _, err = sweep("--preset", "mine/fast", dataset=None)
    assert code == 2 and "there is no dataset 'mine'" in err


def test_training_a_study_leads_here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["inforeg", "train", "--preset", "paper/table2"])
    with pytest.raises(SystemExit):
        main()
    assert "a study of several experiments: inforeg sweep --preset paper/table2" in capsys.readouterr().err
