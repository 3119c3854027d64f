"""`inforeg train`, `evaluate` and `demo` as a person meets them: what they print, write, refuse, and exit with."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from inforeg_cli.app import app, main

SHORT = ("--epochs", "2", "--batch-size", "8", "--device", "cpu")


@pytest.fixture
def inforeg(capsys, monkeypatch):
    """`inforeg("train", ...)`: exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["inforeg", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return stopped.value.code or 0, printed.out, printed.err

    return run


@pytest.fixture
def no_mlflow(monkeypatch):
    """The mirror has tests of its own, and takes seconds to start."""
    from inforeg_cli.engine import launch

    class NoTracker:
        run_id, ui_command = None, ""

        def __init__(self, *args, **kwargs): ...

        def log_epoch(self, *args): ...

        def finish(self, *args): ...

    monkeypatch.setattr(launch, "Tracker", NoTracker)


def test_train_evaluate_and_compare_agree(inforeg, make_store, tmp_path, no_mlflow):
    store = make_store()
    code, out, err = inforeg("train", "--dataset", store.path, "--method", "uniform", "--name", "mine", *SHORT)
    assert code == 0, err
    assert "uniform: test accuracy" in out and str(tmp_path / "runs" / "mine") in out
    result = json.loads((tmp_path / "runs" / "mine" / "result.json").read_text())

    code, out, err = inforeg("evaluate", "mine", "--format", "json")
    assert code == 0, err
    rows = {row["output"]: row for row in json.loads(out)}
    assert rows["fused"]["accuracy"] == result["test"]["accuracy"]
    assert rows["vector, own head"]["macro-F1"] == result["test"]["own_head"]["vector"]["macro_f1"]
    predictions = pd.read_parquet(tmp_path / "runs" / "mine" / "predictions-test-best.parquet")
    chosen = predictions[[f"head.picture.{index}" for index in range(3)]].to_numpy().argmax(axis=1)
    assert rows["picture, head"]["accuracy"] == pytest.approx((chosen == predictions["label"]).mean())

    code, out, err = inforeg("evaluate", "mine", "--split", "val", "--checkpoint", "last", "--format", "json")
    assert json.loads(out)[0]["accuracy"] == result["last"]["val"]["accuracy"]

    code, out, err = inforeg("compare", "runs", "--format", "json")
    assert code == 0, err
    assert f"{result['test']['accuracy']}" in out

    code, out, err = inforeg("train", "--dataset", store.path, "--method", "uniform", "--name", "mine", *SHORT)
    assert code == 0 and "finished already" in out


def test_settings_come_from_preset_then_set_then_flag(inforeg, make_store, tmp_path):
    store = make_store()
    preset = tmp_path / "mine.toml"
    preset.write_text('epochs = 7\nbatch_size = 9\nseed = 5\n[method]\nname = "ogm"\nalpha = 0.7\n')
    code, out, err = inforeg(
        "train", "--dataset", store.path, "--preset", preset, "--set", "batch_size=10", "--set", "epochs=8",
        "--epochs", 3, "--dry-run",
    )  # fmt: skip
    assert code == 0, err
    lines = out.splitlines()
    assert {"epochs = 3", "batch_size = 10", "seed = 5", "method.name = ogm", "method.alpha = 0.7"} <= set(lines)
    assert "4 steps an epoch, 3 epochs" in lines  # 36 clips in batches of 10


def test_a_dry_run_touches_nothing(inforeg, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    code, out, err = inforeg("train", "--method", "inforeg", "--dry-run")
    assert code == 0, err
    assert sorted(tmp_path.rglob("*")) == before
    assert "method.beta = 0.9" in out and "sound:" in out and "fusion and heads:" in out
    assert "training on digits" in err and "preset digits/inforeg" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "infareg"], "did you mean 'inforeg'?"),
        (
            ["--set", "method.betta=1", "--method", "inforeg"],
            "method.betta: there is no such setting; did you mean 'beta'?",
        ),
        (["--set", "epochs"], "--set takes key=value"),
        (["--set", "optimiser.lr=1"], "did you mean 'optimizer'?"),
        (["--modalities", "vector,pixture"], "did you mean 'picture'?"),
        (["--fusion", "concatenate"], "fusion.name: 'concatenate' is none of"),
        (["--fusion", "film", "--unimodal-losses", "slice"], "choose --fusion concat or sum"),
        (["--method", "uniform", "--unimodal-losses", "slice"], "uniform is joint training with unimodal_losses = own"),
        (["--window", "9-3"], "the range '9-3' is empty"),
        (["--window", "sometimes"], "whole, prime, other"),
        (["--epochs", "0"], "epochs: "),
        (["--batch-size", "1"], "batch_size: "),
        (["--seed", "-1"], "seed: "),
        (["--lr", "nan"], "optimizer.lr: "),
        (["--device", "cuda:99"], "CUDA device"),
        (["--device", "gpu"], "'gpu' is no device"),
        (["--preset", "digits/nothing"], "there is no preset 'digits/nothing'"),
        (["--name", "../../etc"], "--name '../../etc'"),
        (["--resume", "nobody"], "there is no run 'nobody'"),
        (["--resume", "nobody", "--epochs", "5"], "--resume goes on with the run's own settings"),
        (["--dataset", "digitss"], "did you mean 'digits'?"),
    ],
)
def test_misuse_is_one_message_and_exit_code_2(arguments, said, inforeg, make_store, tmp_path):
    arguments = ["train", *arguments]
    if "--dataset" not in arguments and "--resume" not in arguments:
        arguments += ["--dataset", str(make_store().path)]
    code, out, err = inforeg(*arguments)
    assert code == 2, out + err
    assert said in err
    assert not (tmp_path / "runs").exists()


def test_divergence_is_one_message_and_exit_code_1(inforeg, make_store, tmp_path, no_mlflow):
    code, _, err = inforeg("train", "--dataset", make_store().path, "--lr", "1e30", *SHORT)
    assert code == 1
    assert "is not finite" in err and "smaller --lr" in err


def test_evaluate_and_compare_without_runs(inforeg):
    code, _, err = inforeg("evaluate", "nobody")
    assert code == 2 and "nobody" in err
    code, _, err = inforeg("compare", "runs")
    assert code == 2 and "inforeg train" in err


def test_a_damaged_run_is_named(inforeg, make_store, tmp_path, no_mlflow):
    store = make_store()
    inforeg("train", "--dataset", store.path, "--name", "mine", *SHORT)
    best = tmp_path / "runs" / "mine" / "best.pt"
    best.write_bytes(best.read_bytes()[:1000])
    code, _, err = inforeg("evaluate", "mine")
    assert code == 1 and "best.pt is damaged" in err
    (store.path / "vector.bin").write_bytes(b"")
    code, _, err = inforeg("evaluate", "mine")
    assert code == 2 and "vector.bin" in err


def test_every_command_has_help_that_imports_nothing_heavy():
    for command in (
        (),
        ("prepare",),
        ("train",),
        ("evaluate",),
        ("compare",),
        ("compare", "runs"),
        ("demo",),
        ("bench",),
    ):
        result = CliRunner().invoke(app, [*command, "--help"])
        assert result.exit_code == 0 and "Usage" in result.output
    program = (
        "import sys, inforeg_cli.app; print(*[m for m in ('torch', 'pandas', 'mlflow', 'sklearn') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == ""


def test_the_demo_prints_the_comparison(inforeg, tmp_path, monkeypatch, no_mlflow):
    """On a shortened protocol: two epochs, one seed."""
    folder = tmp_path / "presets" / "digits"
    folder.mkdir(parents=True)
    shipped = Path(__file__).resolve().parents[2] / "presets" / "digits"
    for preset in shipped.glob("*.toml"):
        (folder / preset.name).write_text(preset.read_text().replace("epochs = 40", "epochs = 2"))
    code, out, err = inforeg("demo", "--seeds", 1, "--device", "cpu")
    assert code == 0, err
    assert {"sound alone", "image alone", "joint", "uniform", "ogm", "inforeg"} <= {
        line.split("  ")[0] for line in out.splitlines()
    }
    assert "seen" in out and "treated" in out
    code, out, err = inforeg("demo", "--seeds", 1, "--device", "cpu")
    assert out.count("(was there already)") == 7
