"""`inforeg evaluate` as a person meets it: what it prints, keeps, writes and refuses."""

import csv
import io
import json
import os
import pickle
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kinds_factory import make_kinds
from no_tracker import NoTracker

from inforeg_cli import evaluation_record as record
from inforeg_cli.data.sources import Clip
from inforeg_cli.data.store import Store
from inforeg_cli.data.writer import write_store
from inforeg_cli.engine import launch
from inforeg_cli.resolve import resolve

MODALITIES = ("picture", "series")
SETTINGS = {
    "joint": {"method": "joint"},
    "uniform": {"method": "uniform"},
    "inforeg": {"method": "inforeg", "window": {"when": "whole"}},
    "picture": {"modalities": ["picture"]},
    "series": {"modalities": ["series"]},
    "series-1": {"modalities": ["series"], "seed": 1},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a store and a run of each of `SETTINGS`, two epochs each, which no test changes."""
    root = tmp_path_factory.mktemp("trained")
    store = make_kinds(root / "stores" / "kinds", *MODALITIES)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "Tracker", NoTracker)
        for name, settings in SETTINGS.items():
            experiment = resolve({**settings, "epochs": 2, "batch_size": 8}, store)
            folder = launch.folder_of(experiment, store, root / "runs", name)
            launch.train(experiment, store, folder, torch.device("cpu"))
    return root


@pytest.fixture
def root(trained, tmp_path):
    """The same folder, to be changed."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    for config in (tmp_path / "runs").glob("*/config.json"):
        config.write_text(config.read_text().replace(str(trained), str(tmp_path)))
    return tmp_path


@pytest.fixture
def evaluated(inforeg):
    """What `inforeg evaluate ... --format json` prints."""

    def run(*arguments: object) -> list[dict]:
        code, out, err = inforeg("evaluate", *arguments, "--format", "json")
        assert code == 0, err
        return json.loads(out)

    return run


def refused(inforeg, *arguments: object) -> tuple[int, str]:
    """The exit code and the one message; nothing else may be printed."""
    code, out, err = inforeg("evaluate", *arguments)
    assert code in (1, 2) and out == "", out + err
    return code, err


def kept(root: Path, name: str, split: str = "test", which: str = "best") -> dict | None:
    return record.read(root / "runs" / name, split, which)


def test_all_measures_agree_with_each_other_and_with_the_training(root, evaluated):
    (one,) = evaluated("uniform")
    result = json.loads((root / "runs" / "uniform" / "result.json").read_text())["test"]
    scores = {name: score["value"] for name, score in one["accuracy"]["scores"].items()}
    assert scores["accuracy"] == result["accuracy"] and scores["nll"] == pytest.approx(result["loss"], rel=1e-6)
    assert scores["macro_f1"] == pytest.approx(result["macro_f1"], rel=1e-12)
    confusion = np.array(one["accuracy"]["confusion"])
    assert confusion.trace() / confusion.sum() == scores["accuracy"]
    assert {name: found["clips"] for name, found in one["accuracy"]["by_class"].items()} == dict(
        zip(one["classes"], confusion.sum(axis=1).tolist(), strict=True)
    )
    by_modality = one["modalities"]["by_modality"]
    for name in MODALITIES:
        for kind in ("head", "own_head"):
            assert by_modality[name][kind]["accuracy"]["value"] == result[kind][name]["accuracy"]
    assert one["missing"][0] == {"present": list(MODALITIES)} | {
        key: one["missing"][0][key] for key in ("accuracy", "macro_f1", "log_likelihood")
    }
    assert one["missing"][0]["accuracy"] == scores["accuracy"]
    for curves in one["damage"].values():
        assert all(curve["accuracy"][0] == scores["accuracy"] for curve in curves.values())
    shapley, full, empty = (one["contribution"][key] for key in ("shapley", "full", "empty"))
    assert sum(shapley["accuracy"].values()) == pytest.approx(full["accuracy"] - empty["accuracy"])
    assert one["dynamics"]["epochs"] == 2


def test_what_is_kept_is_what_is_printed_and_only_changes_its_measures(root, evaluated):
    (printed,) = evaluated("joint", "--only", "accuracy,dynamics")
    found = kept(root, "joint")
    assert {*found} == {"accuracy", "dynamics", "about"}
    assert found["accuracy"] == printed["accuracy"]
    path = root / "runs" / "joint" / "evaluation-test-best.json"
    changed = {**found, "dynamics": "left alone"}
    path.write_text(json.dumps(changed))
    evaluated("joint", "--only", "missing,accuracy")
    found = kept(root, "joint")
    assert {*found} == {"accuracy", "missing", "dynamics", "about"} and found["dynamics"] == "left alone"
    evaluated("joint", "--only", "accuracy", "--split", "val", "--checkpoint", "last")
    assert kept(root, "joint", "val", "last")["accuracy"]["clips"] == 12


def test_predictions_are_kept_where_there_are_none(root, evaluated):
    folder = root / "runs" / "joint"
    (one,) = evaluated("joint", "--only", "accuracy", "--split", "train")
    table = pd.read_parquet(folder / "predictions-train-best.parquet")
    chosen = table[[f"fused.{index}" for index in range(3)]].to_numpy().argmax(axis=1)
    assert len(table) == 36
    assert (chosen == table["label"]).mean() == one["accuracy"]["scores"]["accuracy"]["value"]

    # Those that are there are left alone, unless they are older than the checkpoint.
    path = folder / "predictions-test-best.parquet"
    path.write_bytes(b"there already")
    evaluated("joint", "--only", "accuracy")
    assert path.read_bytes() == b"there already"
    os.utime(path, ns=(0, 0))
    evaluated("joint", "--only", "accuracy")
    assert len(pd.read_parquet(path)) == 12


def test_runs_of_a_modality_alone_stand_beside_it(root, evaluated):
    (one,) = evaluated("uniform", "--only", "modalities")
    found = one["modalities"]["by_modality"]
    for name in MODALITIES:
        result = json.loads((root / "runs" / name / "result.json").read_text())
        alone = found[name]["alone"]
        assert (alone["accuracy"], alone["runs"], alone["seeds"]) == (result["test"]["accuracy"], [name], [0])
        for kind, gap in found[name]["minus_alone"].items():
            assert gap == found[name][kind]["accuracy"]["value"] - alone["accuracy"]
    assert {*found["series"]["minus_alone"]} == {"head", "own_head", "probe"}

    # Without one of the same seed, all others'; without any, nothing. Runs under another protocol do not count.
    shutil.rmtree(root / "runs" / "series")
    config = root / "runs" / "picture" / "config.json"
    config.write_text(config.read_text().replace('"batch_size": 8', '"batch_size": 9'))
    (one,) = evaluated("uniform", "--only", "modalities")
    found = one["modalities"]["by_modality"]
    assert found["series"]["alone"]["runs"] == ["series-1"] and "alone" not in found["picture"]
    (one,) = evaluated("uniform", "--only", "modalities", "--split", "train")
    assert "alone" not in one["modalities"]["by_modality"]["series"]
    (one,) = evaluated("series-1", "--only", "modalities")
    assert "alone" not in one["modalities"]["by_modality"]["series"] and "fused_probe" not in one["modalities"]


def test_runs_stand_side_by_side_where_they_fit(root, inforeg, monkeypatch):
    from inforeg_cli import console

    for width, tables in ((80, 2), (140, 1)):
        monkeypatch.setattr(console.out, "width", width)
        code, out, err = inforeg("evaluate", "joint", "uniform", "inforeg")
        assert code == 0, err
        assert max(map(len, out.splitlines())) <= width
        lines = [line for line in out.splitlines() if line.startswith("│ macro-F1")]
        assert len(lines) == tables and sum(line.count("[") for line in lines) == 3
        assert "imbalance" in out and "picture: probe" in out and "regulated steps" in out


def test_runs_with_one_label_are_told_apart_by_seed(root, inforeg):
    code, out, _ = inforeg("evaluate", "series", "series-1", "--only", "accuracy")
    assert code == 0 and "series alone s0" in out and "series alone s1: series-1" in out


def test_csv_has_every_number_unrounded(root, inforeg, evaluated):
    _, out, _ = inforeg("evaluate", "joint", "inforeg", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    (one,) = evaluated("inforeg")
    found = {(row["measure"], row["name"]): row["value"] for row in rows if row["run"] == "inforeg"}
    assert float(found["accuracy", "scores.nll.low"]) == one["accuracy"]["scores"]["nll"]["low"]
    assert int(found["accuracy", "confusion.class-1.class-2"]) == one["accuracy"]["confusion"][1][2]
    subset = next(row for row in one["missing"] if row["present"] == ["series"])
    assert float(found["missing", "series.accuracy"]) == subset["accuracy"]
    assert found["dynamics", "by_modality.series.open_epochs"] == "0 1"
    noise = one["damage"]["series"]["noise"]
    assert [float(part) for part in found["damage", "series.noise.accuracy"].split()] == noise["accuracy"]
    assert {row["split"] for row in rows} == {"test"} and {row["run"] for row in rows} == {"joint", "inforeg"}


def test_out_gets_tables_predictions_and_pictures(root, inforeg):
    folder = root / "out"
    code, _, err = inforeg("evaluate", "uniform", "--out", folder)
    assert code == 0, err
    pictures = {f"{stem}.{kind}" for kind in ("png", "svg") for stem in (
        "uniform-test-best-confusion", "uniform-test-best-tsne", "evaluate-test-best-damage", "evaluate-test-best-missing",
    )}  # fmt: skip
    assert {path.name for path in folder.iterdir()} == pictures | {
        "evaluate-test-best.md",
        "uniform-test-best-predictions.parquet",
    }
    assert all(f"wrote {path}" in err.replace("\n", "") for path in folder.iterdir())
    text = (folder / "evaluate-test-best.md").read_text()
    assert "| macro-F1 |" in text and "| series: probe |" in text
    assert len(pd.read_parquet(folder / "uniform-test-best-predictions.parquet")) == 12


def test_a_folder_that_cannot_be_made_is_said_before_anything_is_computed(root, inforeg):
    (root / "file").write_text("")
    code, err = refused(inforeg, "joint", "--out", root / "file")
    assert code == 1 and str(root / "file") in err.replace("\n", "")
    assert kept(root, "joint") is None


def test_it_repeats_itself_to_the_last_bit(root, evaluated):
    assert evaluated("inforeg") == evaluated("inforeg")


def test_a_run_that_cannot_be_written_is_still_evaluated(root, inforeg, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "write", full)
    code, out, err = inforeg("evaluate", "joint", "--only", "accuracy")
    assert code == 0 and "macro-F1" in out and "joint cannot keep its evaluation (No space left on device)" in err


def test_what_is_kept_is_of_the_checkpoint_that_was_read(root, evaluated, monkeypatch):
    """A training that goes on may replace the checkpoint while its model is evaluated."""
    from inforeg_cli.evaluation import subject

    loaded, path = subject.loaded, root / "runs" / "joint" / "last.pt"

    def and_replaced(*arguments):
        found = loaded(*arguments)
        path.write_bytes(path.read_bytes() + b"0")
        return found

    monkeypatch.setattr(subject, "loaded", and_replaced)
    evaluated("joint", "--checkpoint", "last", "--only", "accuracy")
    assert kept(root, "joint", which="last") is None


# Bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["joint", "--only", "acuracy"], "did you mean 'accuracy'?"),
        (["joint", "--only", "accuracy,robustness"], "there is no measure 'robustness'"),
        (["joint", "--only", ","], "--only names no measure"),
        (["joint", "--only", "tsne"], "tsne is a picture, which needs a folder to go to: --out DIR"),
        (["joint", "--split", "tets"], "there is no split 'tets'; did you mean 'test'?"),
        (["jiont"], "there is no run 'jiont'"),
        (["joint", "--dataset", "nothing"], "there is no dataset 'nothing'"),
    ],
)
def test_misuse_is_one_message_and_exit_code_2(root, inforeg, arguments, said):
    code, err = refused(inforeg, *arguments)
    assert code == 2 and said in err and kept(root, "joint") is None


def test_a_run_that_is_half_there(root, inforeg, evaluated):
    folder = root / "runs" / "joint"
    (folder / "best.pt").unlink()
    assert "best.pt does not exist" in refused(inforeg, "joint")[1]
    (folder / "metrics.parquet").unlink()
    assert (
        "metrics.parquet does not exist" in refused(inforeg, "joint", "--checkpoint", "last", "--only", "dynamics")[1]
    )

    unfinished = root / "runs" / "uniform"
    (unfinished / "result.json").unlink()
    code, err = refused(inforeg, "uniform")
    assert code == 1 and "has not finished" in err and "--checkpoint last" in err and "--resume uniform" in err
    code, _, err = inforeg("evaluate", "uniform", "--checkpoint", "last", "--only", "dynamics")
    assert code == 0 and "uniform has not finished" in err
    (one,) = evaluated("uniform", "--checkpoint", "last")
    assert one["checkpoint"] == "last" and "by_modality" in one["dynamics"]

    (root / "runs" / "inforeg" / "config.json").unlink()
    for named in ("inforeg", root / "runs" / "inforeg"):
        code, err = refused(inforeg, named)
        assert code == 2 and "is a folder, but no run's: it holds no config.json" in err


def test_a_checkpoint_cut_short_or_of_another_format(root, inforeg):
    path = root / "runs" / "joint" / "best.pt"
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:size])
        code, err = refused(inforeg, "joint")
        assert code == 1 and "best.pt is damaged or cut short" in err.replace("\n", " "), (size, err)
    torch.save({"format": 99}, path)
    assert "has checkpoint format 99" in refused(inforeg, "joint")[1]
    torch.save([1, 2], path)
    assert "has checkpoint format None" in refused(inforeg, "joint")[1]


class _Evil:
    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("written", ["torch", "pickle"])
def test_a_checkpoint_that_would_execute_code_is_refused(root, inforeg, written):
    folder, target = root / "runs" / "joint", root / "executed"
    state = {"format": 1, "model": _Evil(target), "transforms": {}}
    for name in ("best", "last"):
        path = folder / f"{name}.pt"
        torch.save(state, path) if written == "torch" else path.write_bytes(pickle.dumps(state, protocol=2))
        code, err = refused(inforeg, "joint", "--checkpoint", name)
        assert code == 1 and f"{name}.pt is not a checkpoint of plain tensors" in err
    assert not target.exists()
    torch.load(folder / "best.pt", weights_only=False) if written == "torch" else pickle.loads(path.read_bytes())
    assert target.exists()  # it would have


def test_a_model_that_gives_nan_is_said(root, inforeg):
    path = root / "runs" / "joint" / "best.pt"
    state = torch.load(path, weights_only=True)
    next(iter(state["model"].values())).fill_(torch.nan)
    torch.save(state, path)
    code, err = refused(inforeg, "joint")
    assert code == 1 and "no finite probabilities for 12 of 12 clips" in err
    assert kept(root, "joint") is None


def remade(root: Path, change, name: str = "kinds", **description) -> Store:
    """The store made again with ``change(clip) -> (clip, arrays) or None`` for each of its clips, in its place or under
    another `name`."""
    path = root / "stores" / name
    old = Store.open(root / "stores" / "kinds")
    modalities = description.pop("modalities", old.modalities)
    labels, splits = (
        old.labels("label"),
        {row: split for split in ("train", "val", "test") for row in old.split("split", split)},
    )
    clips = []
    for row, key in enumerate(old.ids):
        label = old.classes("label")[labels[row]]
        lengths = old.lengths("series")[row]
        arrays = {"picture": np.array(old.clip("picture", row)), "series": np.array(old.clip("series", row))[:lengths]}
        made = change(Clip(str(key), {"label": label}, {"split": splits[row]}), arrays)
        if made:
            clips.append(made)
    if path.exists():
        shutil.rmtree(path)
    with write_store(path, modalities, name=name, source="manifest", recipe_digest="0" * 64) as writer:
        for clip, arrays in clips:
            writer.add(clip, arrays)
    return Store.open(path)


def louder(clip, arrays):
    return clip, {**arrays, "series": arrays["series"] * 1.01}


def test_data_that_changed_are_said_and_can_be_allowed(root, inforeg, evaluated):
    remade(root, louder)
    code, err = refused(inforeg, "joint")
    assert code == 1 and "has changed since joint was trained on it" in err and "--allow-changed" in err
    assert "its clips, classes and splits are the same, what is in them is not" in err

    code, out, err = inforeg("evaluate", "joint", "--allow-changed", "--only", "accuracy,modalities")
    assert code == 0 and "has changed since" in out and "nothing of it is kept" in err
    (one,) = evaluated("joint", "--allow-changed", "--only", "accuracy")
    assert "has changed since" in one["note"]
    assert kept(root, "joint") is None


def test_how_data_changed_is_told_as_far_as_it_is_known(root, inforeg):
    remade(root, lambda clip, arrays: None if clip.id in ("clip-012", "clip-013") else (clip, arrays))
    assert "test has 10 clips, then 12" in refused(inforeg, "joint")[1]
    shutil.rmtree(root / "stores" / "kinds")
    make_kinds(root / "stores" / "kinds", *MODALITIES)
    remade(root, lambda clip, arrays: (Clip(clip.id.replace("012", "new"), clip.labels, clip.splits), arrays))
    assert "test has other clips: clip-new" in refused(inforeg, "joint")[1]

    # A run whose store told how it was made remembers how its modalities lay there.
    then = Store.open(root / "stores" / "kinds").modalities
    prepared = {"modalities": {name: modality.to_json() for name, modality in then.items()}}
    (root / "runs" / "joint" / "preparation.json").write_text(json.dumps(prepared))
    longer = {**then, "series": replace(then["series"], shape=(6, 4), length=6)}
    remade(root, lambda clip, arrays: (clip, arrays), modalities=longer)
    assert "series: shape 6 x 4, then 5 x 4; series: length 6, then 5" in refused(inforeg, "joint")[1]


def test_changes_that_no_flag_can_allow(root, inforeg):
    remade(
        root,
        lambda clip, arrays: (Clip(clip.id, {"label": clip.labels["label"].replace("-2", "-x")}, clip.splits), arrays),
    )
    code, err = refused(inforeg, "joint", "--allow-changed")
    assert code == 2 and "classes: 3, there 3: it lacks class-2 and has besides class-x" in err
    old = Store.open(root / "stores" / "kinds").modalities
    only = {"series": old["series"]}
    remade(root, lambda clip, arrays: (clip, {"series": arrays["series"]}), modalities=only)
    assert "modality 'picture' is gone" in refused(inforeg, "joint", "--allow-changed")[1]


def test_another_dataset_is_scored_and_nothing_of_it_is_kept(root, inforeg, evaluated):
    other = remade(root, louder, name="louder")
    (one,) = evaluated("joint", "--dataset", other.path)
    assert one["dataset"] == "louder" and one["note"].startswith("scored on louder, not on kinds")
    assert "alone" not in one["modalities"]["by_modality"]["series"]
    (own,) = evaluated("joint")
    assert own["note"] is None and one["accuracy"]["scores"]["nll"] != own["accuracy"]["scores"]["nll"]
    # The picture is the same, and its probe is fitted on the run's own train clips: so are its scores.
    probes = [found["modalities"]["by_modality"]["picture"]["probe"] for found in (one, own)]
    assert probes[0] == probes[1]
    assert kept(root, "joint")["about"]["data"] != other.digest
    remade(root, lambda clip, arrays: (clip, {**arrays, "series": arrays["series"] * 2}))
    assert "has changed since" in refused(inforeg, "joint", "--dataset", other.path)[1]
    (one,) = evaluated("joint", "--dataset", other.path, "--allow-changed", "--only", "accuracy")
    assert "scored on louder" in one["note"] and "has changed since" in one["note"]


def test_probes_never_see_another_datasets_train_and_val(root, evaluated):
    def blank(clip, arrays):
        if clip.splits["split"] == "test":
            return clip, arrays
        return clip, {"picture": arrays["picture"] * 0, "series": arrays["series"] * 0}

    other = remade(root, blank, name="blank")
    found, own = (
        evaluated("joint", *arguments, "--only", "modalities,damage")[0]
        for arguments in (["--dataset", other.path], [])
    )
    for name in MODALITIES:
        assert found["modalities"]["by_modality"][name]["probe"] == own["modalities"]["by_modality"][name]["probe"]
    assert found["damage"] == own["damage"]  # whose strengths are in units of the run's own train clips


def test_what_is_written_of_another_dataset_says_so_in_its_name(root, inforeg):
    other = remade(root, louder, name="louder")
    written = time.time()
    code, _, err = inforeg("evaluate", "joint", "--dataset", other.path, "--only", "accuracy", "--out", root / "out")
    assert code == 0 and "nothing of it is kept" in err
    assert (root / "out" / "joint-test-best-on-louder-confusion.png").stat().st_mtime >= written - 1


def test_a_dataset_that_does_not_fit_is_named_field_by_field(root, inforeg):
    renamed = {"class-0": "a", "class-1": "b", "class-2": "class-2"}
    old = Store.open(root / "stores" / "kinds").modalities

    def change(clip, arrays):
        label = renamed[clip.labels["label"]]
        series = np.repeat(arrays["series"], 2, axis=1)
        return Clip(clip.id, {"label": label}, {"split": "train"}), {
            "picture": arrays["picture"][0, 0],
            "series": series,
        }

    modalities = {
        "picture": replace(old["series"], shape=(8,), dtype=np.dtype("u1"), sequence=False, length=None),
        "series": replace(old["series"], shape=(5, 8)),
    }
    other = remade(root, change, name="misfit", modalities=modalities)
    code, err = refused(inforeg, "joint", "--dataset", other.path)
    assert code == 2 and "misfit does not fit the model, which was trained on kinds:" in err
    for line in (
        "classes: 3, there 3: it lacks class-0, class-1 and has besides a, b",
        "modality 'picture': kind image, there features",
        "modality 'series': shape 5 x 4 to the encoder, there 5 x 8",
        "split 'test': no clips in scheme 'split'",
    ):
        assert line in err


def test_the_order_of_classes_counts(root, inforeg):
    from inforeg_cli.evaluation.fit_of_data import _difference

    told = _difference("classes", ("a", "b"), ("b", "a"))
    assert told == "classes: the same in another order, a, b, there b, a"
