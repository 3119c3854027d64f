"""Violent-Flows: five folders are five folds, each a test split once, and what lies elsewhere is left out."""

import csv
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from video_factory import write_video

from inforeg_cli import paths, presets
from inforeg_cli.data import recipe_file
from inforeg_cli.data.preparing import prepare
from inforeg_cli.data.preparing.plan import Job, look
from inforeg_cli.data.sources import Scan, violent_flows
from inforeg_cli.engine.fit import Training
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.progress import Silent
from inforeg_cli.resolve import resolve
from inforeg_cli.run_folder import RunFolder
from inforeg_cli.settings import merge

RECIPE = paths.shipped("datasets") / "violent-flows" / "recipe.toml"
FOLDS = ("1", "2", "3", "4", "5")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "violent-flows" / "raw"
    folder.mkdir(parents=True)
    return folder


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"0123456789")


def five_folds(raw: Path, form: str = "{fold}/{label}/{name}.avi", **names: str) -> None:
    labels = {"Violence": "Violence", "NonViolence": "NonViolence", **names}
    for fold in FOLDS:
        touch(raw, *(form.format(fold=fold, label=labels["Violence"], name=f"fans_{fold}_{n}") for n in range(2)))
        touch(raw, form.format(fold=fold, label=labels["NonViolence"], name=f"crowd_{fold}"))


def scan(raw: Path, splits: Path | None = None) -> Scan:
    return violent_flows.scan(recipe_file.load(RECIPE), raw, splits)


def test_each_scheme_tests_on_one_folder(raw: Path) -> None:
    five_folds(raw)
    found = scan(raw)
    assert not found.problems
    assert found.warnings.lines() == ["15 clips: the published set has 246"]
    assert list(found.schemes) == [f"fold-{fold}" for fold in FOLDS]
    assert len(found.table.rows) == 15
    for row in found.table.rows:
        fold, label, name = row.cells["id"].split("/")
        assert row.cells["video"] == f"{fold}/{label}/{name}.avi"
        assert row.cells["class"] == label == ("Violence" if name.startswith("fans") else "NonViolence")
        assert {scheme for scheme in found.schemes if row.cells[scheme] == "test"} == {f"fold-{fold}"}
        assert Counter(row.cells[scheme] for scheme in found.schemes) == {"train": 4, "test": 1}
    assert [(line.what, line.count, line.bytes, line.remark) for line in found.found] == [
        (f"clips in fold {fold}", 3, 30, "2 of them of class Violence") for fold in FOLDS
    ]


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("movies/{fold}/{label}/{name}.avi", {}),
        ("{fold}/{label}/{name}.AVI", {"Violence": "violence", "NonViolence": "nonviolence"}),
        ("violent flows/movies/{fold}/{label}/{name}.mp4", {"Violence": "Violent", "NonViolence": "Non-Violent"}),
        ("{fold}/{label}/{name}.avi", {"NonViolence": "NON_VIOLENCE"}),
    ],
)
def test_folders_may_be_written_otherwise_and_lie_deeper(raw: Path, form: str, names: dict[str, str]) -> None:
    five_folds(raw)
    ids = [row.cells["id"] for row in scan(raw).table.rows]
    other = raw.parent / "other"
    five_folds(other, form, **names)
    assert [row.cells["id"] for row in scan(other).table.rows] == ids


def test_videos_elsewhere_are_counted_and_left_out(raw: Path) -> None:
    five_folds(raw)
    touch(raw, "6/Violence/more.avi", "1/stray.avi", "notes.txt", "1/Violence/Thumbs.db", "1/Violence/._fans_1_0.avi")
    touch(raw, "1/Violence/old/fans.avi", "Violence/flat.avi")
    found = scan(raw)
    assert len(found.table.rows) == 15
    assert found.warnings.lines()[0] == (
        "4 videos: outside the folders FOLD/Violence and FOLD/NonViolence, and left out "
        "(1/Violence/old/fans.avi, 1/stray.avi, 6/Violence/more.avi)"
    )


def test_a_fold_without_a_class_is_a_problem(raw: Path) -> None:
    five_folds(raw)
    (raw / "3" / "NonViolence" / "crowd_3.avi").unlink()
    told = "there are no videos: the five folds belong together"
    assert scan(raw).problems.lines() == [f"folder 3/NonViolence: {told}"]
    assert len(scan(raw / "5").problems) == 10


def test_names_may_repeat_and_are_warned_about_across_folds(raw: Path) -> None:
    five_folds(raw)
    touch(raw, "1/Violence/again.avi", "1/NonViolence/again.avi", "4/Violence/again.avi")
    found = scan(raw)
    ids = [row.cells["id"] for row in found.table.rows]
    assert len(set(ids)) == len(ids) == 18
    assert found.warnings.lines()[1] == (
        "again: a clip of one name stands in several folds, so that it may be both trained and tested on (folds 1, 4)"
    )


def test_a_name_that_is_not_utf_8_makes_an_id_that_is(raw: Path) -> None:
    five_folds(raw)
    try:
        touch(raw, b"2/Violence/caf\xe9.avi".decode(errors="surrogateescape"))
    except OSError:
        pytest.skip("this file system takes no such names")
    row = next(row for row in scan(raw).table.rows if "caf" in row.cells["id"])
    assert row.cells["id"] == "2/Violence/caf\\xe9"
    assert (raw / row.cells["video"]).is_file()


def test_another_clip_changes_the_inputs(raw: Path) -> None:
    five_folds(raw)
    before = scan(raw).inputs
    touch(raw, "6/Violence/more.avi")
    assert scan(raw).inputs == violent_flows.inputs(recipe_file.load(RECIPE), raw, None) == before
    touch(raw, "5/Violence/more.avi")
    assert scan(raw).inputs == violent_flows.inputs(recipe_file.load(RECIPE), raw, None) != before
    with pytest.raises(Misuse, match="cannot read the folder"):
        violent_flows.inputs(recipe_file.load(RECIPE), raw / "gone", None)


def test_there_are_no_split_lists(raw: Path) -> None:
    with pytest.raises(Misuse, match="violent-flows has no split lists; its folds are the folders 1, 2, 3, 4, 5"):
        scan(raw, raw)


NO_VECTORS = "2/Violence/fans_2_1"


@pytest.fixture
def job(raw: Path) -> Job:
    """Twenty AVI clips of a second, one of Motion JPEG, and the recipe for them as it ships but for the sizes."""
    text = RECIPE.read_text()
    for key, value in {"size": "48", "grid": "[3, 4]"}.items():
        text, changed = re.subn(rf"(?m)^{key} = (\d+|\[.*?\])", f"{key} = {value}", text)
        assert changed == 1
    (raw.parent / "recipe.toml").write_text(text)
    encoded = [
        write_video(raw.parent / f"{n}.avi", video="mpeg4", fps=25, size=(48, 64), seconds=1 + n / 5) for n in range(2)
    ]
    five_folds(raw)
    touch(raw, *(f"{fold}/NonViolence/crowd_{fold}_b.avi" for fold in FOLDS))
    for n, path in enumerate(sorted(raw.rglob("*.avi"))):
        shutil.copy(encoded[n % 2], path)
    write_video(raw / f"{NO_VECTORS}.avi", video="mjpeg")
    return Job(raw.parent / "recipe.toml", raw.parent / "prepared")


def test_from_clips_to_training(job: Job, tmp_path: Path) -> None:
    _, plan = look(job)
    assert not plan.problems
    with pytest.raises(InforegError) as stopped:
        prepare.prepare(job)
    assert stopped.value.exit_code == 1
    with (job.out.parent / "prepare-report.csv").open() as handle:
        assert {(row["clip"], row["modality"]) for row in csv.DictReader(handle)} == {(NO_VECTORS, "motion")}

    shutil.copy(job.out.parent / "0.avi", job.out.parent / "raw" / f"{NO_VECTORS}.avi")
    store, _ = prepare.prepare(job)
    assert len(store) == 20 and store.classes("class") == ("NonViolence", "Violence")
    assert list(store.schemes) == list(violent_flows.SCHEMES.values())
    for scheme in store.schemes:
        assert [len(store.split(scheme, split)) for split in ("train", "val", "test")] == [14, 2, 4]
    frames, fields = (store.clip(name, 0) for name in ("video", "motion"))
    assert frames.shape == (2, 3, 48, 64) and frames.dtype == np.uint8
    assert fields.shape == (5, 2, 3, 4) and fields.dtype == np.float16

    settings = {
        "epochs": 2,
        "batch_size": 4,
        "data": {"scheme": "fold-3"},
        "inputs": {"video": {"size": 16}, "motion": {"frames": 2}},
        "encoders": {name: {"name": "cnn", "channels": [4, 8]} for name in ("video", "motion")},
    }
    experiment = resolve(merge(presets.load("violent-flows/joint"), settings), store)
    result = Training(experiment, store, RunFolder(tmp_path / "run"), torch.device("cpu")).run(Silent())
    assert 0 <= result["test"]["accuracy"] <= 1
