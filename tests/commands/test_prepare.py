"""`inforeg prepare` as people type it: what it prints, where, and with which exit code."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inforeg_cli.app import main
from inforeg_cli.data.store import Store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def write_dataset(folder: Path, clips: int = 40) -> Path:
    folder.mkdir(parents=True)
    np.save(folder / "face.npy", np.random.default_rng(0).normal(size=(clips, 3)))
    lines = [f"clip-{i},{('sad', 'glad')[i % 2]}" for i in range(clips)]
    (folder / "manifest.csv").write_text("\n".join(["id,label", *lines]))
    recipe = folder / "recipe.toml"
    recipe.write_text(
        'name = "my-set"\norigin = "my own camera"\n[modalities.face]\nkind = "features"\narray = "face.npy"\n'
    )
    return recipe


@pytest.fixture
def inforeg(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """`inforeg(*arguments, code=0)`: what the command prints, off a terminal, as `out` and `err`."""
    monkeypatch.setenv("INFOREG_ROOT", str(root))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(root)

    def run(*arguments: str | Path, code: int = 0) -> Any:
        monkeypatch.setattr("sys.argv", ["inforeg", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        assert (left.value.code or 0) == code, printed.err
        return printed

    return run


def test_a_recipe_of_ones_own_from_the_first_look_to_the_next_command(root, inforeg):
    recipe = write_dataset(root / "far")
    looked = inforeg("prepare", recipe, "--dry-run")
    assert "nothing was written" in looked.out
    assert not (root / "datasets").exists()

    done = inforeg("prepare", recipe)
    store = Store.open(root / "datasets" / "my-set" / "prepared")
    for part in ("sad", "glad", "train", "features", "float32", str(store.path), store.digest):
        assert part in done.out
    assert "next: inforeg train --dataset my-set" in done.out
    assert "40 of 40 clips" in done.err

    again = inforeg("prepare", recipe, "--format", "json")
    assert "my-set is prepared already and up to date" in again.err
    described = json.loads(again.out)
    assert (described["digest"], described["clips"]) == (store.digest, 40)
    assert described["modalities"][0]["shape"] == [3]
    assert sum(sum(labels["label"].values()) for labels in described["counts"]["split"].values()) == 40

    verified = inforeg("prepare", "My_Set", "--verify", "--format", "csv")
    assert "verified" in verified.err
    rows = list(csv.DictReader(io.StringIO(verified.out)))
    assert len(rows) == 6
    assert sum(int(row["clips"]) for row in rows) == 40

    with (store.path / "face.bin").open("r+b") as handle:
        handle.write(b"\xff\xff")
    broken = inforeg("prepare", "my-set", "--verify", code=1)
    assert "the content of face.bin (1 clip: clip-0) is not what was prepared" in broken.err


def test_another_folder_is_named_in_the_next_command(root, inforeg):
    recipe = write_dataset(root / "far")
    done = inforeg("prepare", recipe, "--out", root / "else where", "--format", "rich")
    assert f"next: inforeg train --dataset '{root / 'else where'}'" in done.out


def test_the_list(root, inforeg):
    write_dataset(root / "datasets" / "my-set")
    listed = inforeg("prepare")
    for part in ("digits", "my-set", "not prepared", "my own camera", "embedded"):
        assert part in listed.out
    found = {row["dataset"]: row for row in json.loads(inforeg("prepare", "--format", "json").out)}
    assert found["my-set"] == {
        "dataset": "my-set",
        "state": "not prepared",
        "clips": None,
        "bytes": None,
        "raw_data": "my own camera",
    }


def test_bad_input_is_exit_code_2_and_every_line_of_it_is_told(root, inforeg):
    recipe = write_dataset(root / "far")
    values = np.load(root / "far" / "face.npy")
    values[4, 1] = np.nan
    np.save(root / "far" / "face.npy", values)
    manifest = root / "far" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("clip-7,", "clip-[bold]6,").replace("clip-9,", "clip-[bold]6,"))
    failed = inforeg("prepare", recipe, code=2)
    assert failed.out == ""
    assert "my-set: 1 problem; nothing was written" in failed.err
    assert "line 9, line 11: the id is a duplicate ('clip-[bold]6')" in failed.err
    manifest.write_text(manifest.read_text().replace("clip-[bold]6,", "clip-7,", 1))
    failed = inforeg("prepare", recipe, code=1)
    assert "1 clip cannot be used" in failed.err
    assert "NaN or infinite values" in failed.err
    assert "prepare-report.csv" in failed.err
    assert not (root / "datasets" / "my-set" / "prepared").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--force"], "name a dataset"),
        (["digts"], "did you mean 'digits'?"),
        (["absent/recipe.toml"], "cannot read the recipe"),
        (["digits", "--source", "."], "digits is embedded and needs no raw files"),
        (["digits", "--splits", "."], "digits is embedded and needs no raw files: leave --splits out"),
        (["crema-d", "--source", "a file", "--dry-run"], "a file is not a folder"),
        (["digits", "--verify"], "is not a prepared dataset"),
    ],
)
def test_misuse_is_exit_code_2_and_one_clear_line(root, inforeg, arguments, told):
    (root / "a file").touch()
    failed = inforeg("prepare", *arguments, code=2)
    assert told in failed.err
    assert failed.out == ""


def test_a_look_leaves_out_what_is_absent_where_it_may(root, inforeg):
    recipe = write_dataset(root / "far")
    manifest = root / "far" / "manifest.csv"
    lines = [f"{line},{'face' if not n else f'{n}.npy'}" for n, line in enumerate(manifest.read_text().splitlines())]
    manifest.write_text("\n".join(lines))
    recipe.write_text(recipe.read_text().replace('array = "face.npy"', ""))
    for n in range(2, 41):
        np.save(root / "far" / f"{n}.npy", np.zeros(3))
    assert "line 2, face 1.npy: no such file" in inforeg("prepare", recipe, "--dry-run", code=2).err
    looked = inforeg("prepare", recipe, "--dry-run", "--allow-missing").out
    assert "dry run: 39 clips, 1 left out, about 468 B of the " in looked
    assert not (root / "datasets").exists()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.write_bytes(b"\0" + path.read_bytes()[1:]), "(1 clip: clip-0)"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "face.bin has 479 bytes instead of 480"),
        (lambda path: path.unlink(), "face.bin is missing"),
    ],
)
def test_verifying_a_damaged_store_fails_with_exit_code_1(root, inforeg, damage, told):
    recipe = write_dataset(root / "far")
    inforeg("prepare", recipe)
    damage(root / "datasets" / "my-set" / "prepared" / "face.bin")
    assert told in inforeg("prepare", recipe, "--verify", code=1).err


def test_markdown(root, inforeg):
    recipe = write_dataset(root / "far")
    printed = inforeg("prepare", recipe, "--dry-run", "--format", "markdown")
    assert "| label | train | val | test | all |" in printed.out
    assert "| face | features | 3 | float32 | 480 B |" in printed.out
