"""Hateful Memes: lists of JSON lines, images and their texts, and lists without labels."""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from raw_factory import write_image

from inforeg_cli import paths, presets
from inforeg_cli.data import recipe_file
from inforeg_cli.data.preparing import prepare
from inforeg_cli.data.preparing.plan import Job, look
from inforeg_cli.data.sources import Scan, hateful_memes
from inforeg_cli.data.vocabulary import Vocabulary
from inforeg_cli.engine.fit import Training
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.progress import Silent
from inforeg_cli.resolve import resolve
from inforeg_cli.run_folder import RunFolder
from inforeg_cli.settings import merge

RECIPE = paths.shipped("datasets") / "hateful-memes" / "recipe.toml"
COUNTS = {"train.jsonl": 12, "dev_seen.jsonl": 4, "test_seen.jsonl": 6}
WORDS = ("look", "at", "this", "dog", "they", "always", "do", "that", "don\u2019t", "\u00fcber")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "hateful-memes" / "raw"
    (folder / "img").mkdir(parents=True)
    return folder


def memes(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "img": f"img/{number:05}.png",
            "label": number % 2,
            "text": " ".join(WORDS[(number * step) % 10] for step in range(1, 2 + number % 5)),
        }
        for number in range(first, first + count)
    ]


def write_list(path: Path, entries: list[Any]) -> None:
    text = "".join((entry if isinstance(entry, str) else json.dumps(entry)) + "\n" for entry in entries)
    path.write_text(text, encoding="utf-8")


def make_raw(raw: Path, counts: Mapping[str, int] = COUNTS) -> list[dict[str, Any]]:
    """Images of different sizes and modes, and their lists."""
    made: list[dict[str, Any]] = []
    for name, count in counts.items():
        entries = memes(1000 + len(made), count)
        write_list(raw / name, entries)
        made += entries
    for number, entry in enumerate(made):
        mode = ("RGB", "L", "RGBA", "P")[number % 4]
        write_image(raw / entry["img"], number, size=(20 + number, 30 - number), mode=mode)
    return made


def scan(raw: Path, splits: Path | None = None) -> Scan:
    return hateful_memes.scan(recipe_file.load(RECIPE), raw, splits)


def test_lists_are_splits_and_their_lines_clips(raw):
    made = make_raw(raw)
    found = scan(raw)
    assert not found.problems and found.schemes == ("standard",)
    rows = [row.cells for row in found.table.rows]
    assert [row["standard"] for row in rows] == ["train"] * 12 + ["val"] * 4 + ["test"] * 6
    assert rows[13] == {
        "id": "1013", "img": "img/01013.png", "label": "1", "text": made[13]["text"], "standard": "val",
    }  # fmt: skip
    assert found.table.rows[13].where == "dev_seen.jsonl:2"
    assert [(line.what, line.count, line.remark) for line in found.found] == [
        ("memes in train.jsonl", 12, "train: 6 of class 0, 6 of class 1"),
        ("memes in dev_seen.jsonl", 4, "val: 2 of class 0, 2 of class 1"),
        ("memes in test_seen.jsonl", 6, "test: 3 of class 0, 3 of class 1"),
    ]


def test_lists_go_by_other_names_and_may_lie_elsewhere(raw, tmp_path):
    make_raw(raw, {"train.jsonl": 12, "dev.jsonl": 4, "test_seen.jsonl": 6})
    first = scan(raw)
    assert first.found[1].what == "memes in dev.jsonl"
    lists = tmp_path / "lists"
    lists.mkdir()
    for path in raw.glob("*.jsonl"):
        path.rename(lists / path.name)
    with pytest.raises(Misuse, match=r"raw has no train\.jsonl, the list of the train split"):
        scan(raw)
    assert scan(raw, lists).inputs == hateful_memes.inputs(recipe_file.load(RECIPE), raw, lists) == first.inputs
    write_list(lists / "dev_seen.jsonl", memes(5000, 2))
    other = scan(raw, lists)
    assert other.found[1].what == "memes in dev_seen.jsonl" and other.inputs != first.inputs


def test_byte_order_marks_blank_lines_and_other_ends_of_line(raw):
    make_raw(raw)
    expected = [row.cells for row in scan(raw).table.rows]
    for path in raw.glob("*.jsonl"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    found = scan(raw)
    assert [row.cells for row in found.table.rows] == expected and not found.problems


def test_a_list_without_labels_is_refused(raw):
    make_raw(raw, {"train.jsonl": 12, "dev_seen.jsonl": 4, "test.jsonl": 6})
    unlabelled = [{key: value for key, value in entry.items() if key != "label"} for entry in memes(1016, 6)]
    for entries in (unlabelled, [{**entry, "label": None} for entry in unlabelled]):
        write_list(raw / "test.jsonl", entries)
        with pytest.raises(Misuse) as refused:
            scan(raw)
        told = "raw/test.jsonl has no labels, so it cannot be the test split: use test_seen.jsonl"
        assert str(refused.value).endswith(told)
    write_list(raw / "test_seen.jsonl", unlabelled)
    with pytest.raises(Misuse, match="cannot be the test split: choose a list with labels"):
        scan(raw)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"id": 1, "img": "img/1.png"', "train.jsonl:3: the line is not JSON"),
        ("[" * 100_000, "train.jsonl:3: the line is not JSON"),
        ("[1, 2]", "train.jsonl:3: the line is no JSON object (list)"),
        ('{"id": 1, "label": 0, "text": "x"}', "train.jsonl:3: the line has no img (it has: id, label, text)"),
        ('{"label": 0}', "train.jsonl:3: the line has no id and no img and no text (it has: label)"),
        ('{"id": 1, "img": "a", "label": 0, "text": ["x"]}', "train.jsonl:3: text is of the wrong kind (['x'])"),
        ('{"id": 1, "img": 7, "label": 0, "text": "x"}', "train.jsonl:3: img is of the wrong kind (7)"),
        ('{"id": 1.5, "img": "a", "label": 0, "text": "x"}', "train.jsonl:3: id is of the wrong kind (1.5)"),
        ('{"id": 1, "img": "a", "label": true, "text": "x"}', "train.jsonl:3: label is of the wrong kind (True)"),
    ],
)
def test_malformed_lines_are_told_with_file_and_line(raw, line, told):
    make_raw(raw)
    write_list(raw / "train.jsonl", [*memes(1000, 2), line, *memes(1002, 10)])
    found = scan(raw)
    assert len(found.table.rows) == 22
    assert [row.index for row in found.table.rows] == list(range(22))
    (said,) = found.problems.lines()
    assert said.startswith(told)


def test_lines_that_cannot_be_used_are_told_with_file_and_line(raw):
    make_raw(raw)
    odd = [
        {**memes(1000, 1)[0], "label": 2},
        {key: value for key, value in memes(1001, 1)[0].items() if key != "label"},
        memes(1004, 1)[0],
    ]
    write_list(raw / "train.jsonl", [*memes(1002, 10), *odd])
    _, plan = look(Job(RECIPE, raw.parent / "prepared", source=raw))
    assert sorted(plan.problems.lines()) == [
        "train.jsonl:11, column label: '2' is no class (there is: 0, 1)",
        "train.jsonl:12, column label: the label is empty",
        "train.jsonl:3, train.jsonl:13: the id is a duplicate ('1004')",
    ]


def test_lists_that_are_no_text(raw):
    make_raw(raw)
    (raw / "train.jsonl").write_bytes(b'{"id": 1}\n\xff\n')
    with pytest.raises(Misuse, match=r"train\.jsonl: line 2 is not UTF-8"):
        scan(raw)
    (raw / "train.jsonl").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9\n"
    )
    with pytest.raises(Misuse, match="is a Git LFS pointer"):
        scan(raw)
    for name in COUNTS:
        (raw / name).write_text("\n")
    with pytest.raises(Misuse, match="the lists are empty"):
        scan(raw)


def test_from_lists_and_images_to_training(raw, tmp_path):
    made = make_raw(raw)
    text = RECIPE.read_text()
    for key, value in {"size": 24, "vocabulary": 60, "length": 8}.items():
        text, changed = re.subn(rf"(?m)^{key} = \d+", f"{key} = {value}", text)
        assert changed == 1
    (raw.parent / "recipe.toml").write_text(text)
    job = Job(raw.parent / "recipe.toml", raw.parent / "prepared")
    absent = raw / made[15]["img"]
    image = absent.read_bytes()
    absent.unlink()
    with pytest.raises(InforegError):
        prepare.prepare(job)
    with (raw.parent / "prepare-report.csv").open() as handle:
        (row,) = csv.DictReader(handle)
    assert (row["clip"], row["modality"]) == ("1015", "image")
    absent.write_bytes(image)
    store, _ = prepare.prepare(job)

    assert [len(store.split("standard", split)) for split in ("train", "val", "test")] == [12, 4, 6]
    assert store.classes("label") == ("0", "1")
    assert store.modalities["image"].shape == (3, 24, 24) and store.modalities["text"].shape == (8,)
    vocabulary = Vocabulary.from_bytes((store.path / "text.vocabulary.json").read_bytes())
    tokens = vocabulary.encode(made[3]["text"])[:8]
    row = int(np.flatnonzero(store.ids == "1003")[0])
    assert store.array("text")[row].tolist() == tokens + [0] * (8 - len(tokens))

    settings = {
        "epochs": 2,
        "batch_size": 4,
        "inputs": {"image": {"size": 16}},
        "encoders": {"image": {"name": "cnn", "channels": [4, 8]}, "text": {"dim": 8, "depth": 1, "heads": 2}},
    }
    experiment = resolve(merge(presets.load("hateful-memes/joint"), settings), store)
    result = Training(experiment, store, RunFolder(tmp_path / "run"), torch.device("cpu")).run(Silent())
    for split in ("val", "test"):
        assert 0 <= result[split]["auroc"] <= 1
        assert {*result[split]["head"]} == {"image", "text"}
        assert all(0 <= head["auroc"] <= 1 for head in result[split]["head"].values())
