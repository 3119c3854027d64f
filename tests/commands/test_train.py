"""`inforeg train`, `evaluate` and `demo` as a person meets them: what they print, write, refuse, and exit with."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from inforeg_cli.app import app

SHORT = ("--epochs", "2", "--batch-size", "8", "--device", "cpu")


def test_train_evaluate_and_compare_agree(inforeg, make_store, tmp_path, no_mlflow):
    store = make_store()
    code, out, err = inforeg("train", "--dataset", store.path, "--method", "uniform", "--name", "mine", *SHORT)
    assert code == 0, err
    assert "uniform: test accuracy" in out and str(tmp_path / "runs" / "mine") in out
    result = json.loads((tmp_path / "runs" / "mine" / "result.json").read_text())

    code, out, err = inforeg("evaluate", "mine", "--only", "accuracy,modalities", "--format", "json")
    assert code == 0, err
    (evaluated,) = json.loads(out)
    assert evaluated["accuracy"]["scores"]["accuracy"]["value"] == result["test"]["accuracy"]
    by_modality = evaluated["modalities"]["by_modality"]
    own = by_modality["vector"]["own_head"]["macro_f1"]["value"]
    assert own == pytest.approx(result["test"]["own_head"]["vector"]["macro_f1"], rel=1e-12)
    predictions = pd.read_parquet(tmp_path / "runs" / "mine" / "predictions-test-best.parquet")
    chosen = predictions[[f"head.picture.{index}" for index in range(3)]].to_numpy().argmax(axis=1)
    assert by_modality["picture"]["head"]["accuracy"]["value"] == pytest.approx((chosen == predictions["label"]).mean())

    last = ("--split", "val", "--checkpoint", "last", "--only", "accuracy")
    code, out, err = inforeg("evaluate", "mine", *last, "--format", "json")
    assert json.loads(out)[0]["accuracy"]["scores"]["accuracy"]["value"] == result["last"]["val"]["accuracy"]

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
        (["--resume", "nobody", "--epochs", "5"], "--resume goes on with the run as it is"),
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "dataset=digits"], "chosen with --dataset"),
        (["--resume", "nobody", "--force"], "--resume goes on"),
        (["--resume", "nobody", "--name", "other"], "--resume goes on"),
    ],
)
def test_options_that_would_be_ignored_are_refused(arguments, said, inforeg):
    code, _, err = inforeg("train", *arguments)
    assert code == 2 and said in err


def test_a_folder_of_other_things_is_left_alone(inforeg, make_store, tmp_path, no_mlflow):
    folder = tmp_path / "runs" / "keep"
    folder.mkdir(parents=True)
    (folder / "notes.json").write_text("{}")
    for more in ((), ("--force",)):
        code, _, err = inforeg("train", "--dataset", make_store().path, "--name", "keep", *SHORT, *more)
        assert code == 2 and "notes.json" in err
    assert [file.name for file in folder.iterdir()] == ["notes.json"]


def test_a_runs_folder_that_cannot_be_written_is_one_line(inforeg, make_store, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = inforeg("train", "--dataset", make_store().path, "--runs", tmp_path / "file" / "runs", *SHORT)
    assert code == 1 and str(tmp_path / "file") in err


@pytest.mark.parametrize("text", ["{}", "[1]", "{", '{"id": "x", "data": 1, "experiment": {}}'])
def test_a_damaged_config_is_named(text, inforeg, make_store, tmp_path, no_mlflow):
    inforeg("train", "--dataset", make_store().path, "--name", "mine", *SHORT)
    (tmp_path / "runs" / "mine" / "config.json").write_text(text)
    for command in (("evaluate", "mine"), ("train", "--resume", "mine")):
        code, _, err = inforeg(*command)
        assert code == 1 and "config.json" in err


@pytest.mark.parametrize("file", ["best.pt", "last.pt"])
def test_a_checkpoint_of_something_else_is_named(file, inforeg, make_store, tmp_path, no_mlflow):
    import torch

    folder = tmp_path / "runs" / "mine"
    inforeg("train", "--dataset", make_store().path, "--name", "mine", *SHORT)
    torch.save({"format": 1, "threads": 1, "transforms": {}, "model": {}}, folder / file)
    code, _, err = inforeg("evaluate", "mine", "--checkpoint", file.removesuffix(".pt"))
    assert code == 1 and f"{file} does not fit" in err
    (folder / "result.json").unlink()
    if file == "last.pt":
        code, _, err = inforeg("train", "--resume", "mine")
        assert code == 1 and "last.pt does not fit" in err


def test_what_a_killed_training_left_half_written_is_removed(inforeg, make_store, tmp_path, no_mlflow):
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    (folder / ".last.pt.abc.tmp").write_bytes(b"half")
    code, _, err = inforeg("train", "--dataset", make_store().path, "--name", "mine", *SHORT)
    assert code == 0, err
    assert not list(folder.glob("*.tmp")) and not list(folder.glob(".*.tmp"))


def test_logits_that_do_not_vary_are_warned_about_once(inforeg, make_store, no_mlflow):
    constant = ("--fusion", "gated", "--set", "fusion.absent=zero")
    _, _, err = inforeg("train", "--dataset", make_store().path, *SHORT, *constant)
    assert err.count("the logits of 'gated' are the same for every clip") == 1 and "vector" in err
    _, _, err = inforeg("train", "--dataset", make_store().path, "--fusion", "gated", *SHORT)
    assert "the same for every clip" not in err


def test_a_moved_store_is_found_by_its_name(inforeg, tmp_path, no_mlflow):
    inforeg("train", "--dataset", "digits", "--name", "mine", "--device", "cpu", "--epochs", "1")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("datasets", "runs"):
        (tmp_path / name).rename(moved / name)
    code, out, err = inforeg("evaluate", "mine", "--only", "accuracy", "--root", moved)
    assert code == 0, err
    assert "macro-F1" in out


def test_a_model_that_cannot_be_built_leaves_no_run(inforeg, make_store, tmp_path):
    code, _, err = inforeg("train", "--dataset", make_store().path, "--set", "encoders.vector=cnn", *SHORT)
    assert code == 2 and "cnn" in err
    assert not list((tmp_path / "runs").glob("*/config.json"))


def test_the_name_of_a_preset_that_is_no_method_is_enough(inforeg):
    code, planned, _ = inforeg("train", "--dataset", "digits", "--method", "ogm-ge", "--dry-run")
    assert code == 0
    assert "# ogm-ge on digits, preset digits/ogm-ge" in planned
    assert "method.noise = True" in planned
    code, _, told = inforeg("train", "--dataset", "digits", "--method", "ogm-gee", "--dry-run")
    assert code == 2 and "there is no method" in told
