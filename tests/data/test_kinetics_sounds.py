"""Kinetics-Sounds: the lists as released, videos found whatever their folders, and all that is absent told."""

import csv
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from raw_factory import cut
from video_factory import write_video

from inforeg_cli import paths, presets
from inforeg_cli.data import recipe_file
from inforeg_cli.data.media import jpeg
from inforeg_cli.data.preparing import prepare
from inforeg_cli.data.preparing.plan import Job, look
from inforeg_cli.data.sources import Scan, families, kinetics_sounds
from inforeg_cli.engine.fit import Training
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.progress import Silent
from inforeg_cli.resolve import resolve
from inforeg_cli.run_folder import RunFolder
from inforeg_cli.settings import merge

RELEASED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "kinetics-sounds"
RECIPE = paths.shipped("datasets") / "kinetics-sounds" / "recipe.toml"

TRAIN = ("--4-0ihtnBU_000058_000068,10,4", "A_b-C_d-E_f_000007_000017,10,4", "00nar1nEPc__000033_000043,10,13")
TEST = ("-3Mwkq-7TV4_2,10,13", "zxVKdJbyFus_47,10,4")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "kinetics-sounds" / "raw"
    folder.mkdir(parents=True)
    return folder


def write_lists(folder: Path, train: tuple[str, ...] = TRAIN, test: tuple[str, ...] = TEST) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "my_train.txt").write_text("\n".join(train))
    (folder / "my_test.txt").write_text("\n".join(test) + "\n")
    return folder


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"0123456789")


def scan(raw: Path, splits: Path | None = None, **changes) -> Scan:
    return kinetics_sounds.scan(recipe_file.load(RECIPE).model_copy(update=changes), raw, splits)


def column(found: Scan, name: str) -> dict[str, str]:
    return {row.cells["id"]: row.cells[name] for row in found.table.rows}


@pytest.mark.skipif(not RELEASED.is_dir(), reason="the released lists are not here")
def test_the_released_lists(raw: Path) -> None:
    found = scan(raw, RELEASED)
    assert not found.problems and not found.warnings
    assert Counter(column(found, "released").values()) == {"train": 14_799, "test": 2_597}
    assert set(column(found, "class").values()) == set(map(str, range(31)))
    assert [line.remark for line in found.found] == [
        "of 14,799 listed in my_train.txt",
        "of 2,597 listed in my_test.txt",
    ]


@pytest.mark.parametrize("layout", ["flat", "class folders", "train and test", "deep"])
def test_videos_are_found_by_id_and_start_wherever_they_lie(raw: Path, layout: str) -> None:
    write_lists(raw)
    names = {
        "--4-0ihtnBU_000058_000068": "--4-0ihtnBU_000058_000068.mp4",
        "A_b-C_d-E_f_000007_000017": "A_b-C_d-E_f_7_17.MKV",
        "00nar1nEPc__000033_000043": "00nar1nEPc__000033.webm",
        "-3Mwkq-7TV4_2": "-3Mwkq-7TV4_000002_000012.mp4",
        "zxVKdJbyFus_47": "zxVKdJbyFus_47.mp4",
    }
    labels, splits = (column(found := scan(raw), name) for name in ("class", "released"))
    folder = {
        "flat": lambda id: "",
        "class folders": lambda id: f"action {labels[id]}/",
        "train and test": lambda id: f"{splits[id]}/",
        "deep": lambda id: f"k400/{splits[id]}/action {labels[id]}/",
    }[layout]
    expected = {id: folder(id) + name for id, name in names.items()}
    touch(raw, *expected.values())
    found = scan(raw)
    assert column(found, "video") == expected
    assert not found.problems and not found.warnings
    assert [(line.what, line.count, line.bytes) for line in found.found[:2]] == [
        ("train videos", 3, 30),
        ("test videos", 2, 20),
    ]
    assert [line.remark for line in found.found[2:]] == (
        ["4 action 4, 13 action 13"] if layout in ("class folders", "deep") else []
    )


def test_lists_that_are_asked_for_and_not_there_are_told_though_a_store_stands(raw: Path, tmp_path: Path) -> None:
    recipe = recipe_file.load(RECIPE)
    assert families.inputs(recipe, raw, None) is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(Misuse, match="do not lie together in"):
        families.inputs(recipe, raw, tmp_path / "empty")
    with pytest.raises(Misuse, match=r"--splits .*absent: there is no such folder"):
        families.inputs(recipe, raw, tmp_path / "absent")


def test_absent_videos_keep_their_rows(raw: Path) -> None:
    write_lists(raw)
    touch(raw, "zxVKdJbyFus_47.mp4")
    found = scan(raw)
    assert found.table.count == 5
    assert column(found, "video")["-3Mwkq-7TV4_2"] == "-3Mwkq-7TV4_2.mp4"
    assert [(line.count, line.remark) for line in found.found] == [
        (0, "of 3 listed in my_train.txt"),
        (1, "of 2 listed in my_test.txt"),
    ]


def test_videos_in_no_list_and_videos_twice_are_warned_about(raw: Path) -> None:
    write_lists(raw)
    touch(raw, "b/zxVKdJbyFus_47.mp4", "a/zxVKdJbyFus_000047_000057.mkv")
    touch(raw, "zxVKdJbyFus_48.mp4", "holiday.mp4", "zxVKdJbyFus_47.wav", ".hidden/-3Mwkq-7TV4_2.mp4", "._TV4_2.mp4")
    found = scan(raw)
    assert column(found, "video")["zxVKdJbyFus_47"] == "a/zxVKdJbyFus_000047_000057.mkv"
    assert sorted(found.warnings.lines()) == [
        "2 videos: in no list, and left out (holiday.mp4, zxVKdJbyFus_48.mp4)",
        "b/zxVKdJbyFus_47.mp4: the same video is there twice, and the first is taken (a/zxVKdJbyFus_000047_000057.mkv)",
    ]


def test_a_class_folder_with_videos_of_another_class_is_warned_about(raw: Path) -> None:
    write_lists(raw)
    touch(
        raw,
        "bowling/--4-0ihtnBU_58.mp4",
        "bowling/A_b-C_d-E_f_7.mp4",
        "bowling/-3Mwkq-7TV4_2.mp4",
        "organ/00nar1nEPc__33.mp4",
    )
    assert scan(raw).warnings.lines() == [
        "folder bowling: the folder has videos of several classes of the lists (2 of 3 are of class 4)"
    ]


MALFORMED = {
    "no class": "zxVKdJbyFu0_47,10",
    "a name for a class": "zxVKdJbyFu0_47,10,bowling",
    "a short id": "zxVKdJbyFu_47,10,3",
    "no start": "zxVKdJbyFu0,10,3",
    "a path": "../../zxVKdJbyFu0_47,10,3",
    "separated by blanks": "zxVKdJbyFu0_47 10 3",
    "a fourth field": "zxVKdJbyFu0_47,10,3,4",
    "no seconds": "zxVKdJbyFu0_47,long,3",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_line_is_told_with_its_place(raw: Path, name: str) -> None:
    write_lists(raw, train=(TRAIN[0], "", MALFORMED[name]))
    found = scan(raw)
    assert found.problems.lines() == [
        f"my_train.txt line 3: the line is not of the form youtubeid_start_end,seconds,class ({MALFORMED[name]})"
    ]
    assert found.table.count == 3


def test_a_video_is_listed_once(raw: Path) -> None:
    write_lists(raw, train=(*TRAIN, "A_b-C_d-E_f_7,10,4"), test=(*TEST, "--4-0ihtnBU_58_68,10,4"))
    found = scan(raw)
    assert found.problems.lines() == [
        "my_train.txt line 4: the video is listed twice (A_b-C_d-E_f_7; before in my_train.txt line 2)",
        "my_test.txt line 3: the video is in two lists (--4-0ihtnBU_58_68; before in my_train.txt line 1)",
    ]
    assert found.table.count == 5


def test_blanks_line_ends_and_a_byte_order_mark_do_not_matter(raw: Path) -> None:
    write_lists(raw)
    plain = [row.cells for row in scan(raw).table.rows]
    for path in raw.glob("*.txt"):
        path.write_bytes(
            b"\xef\xbb\xbf" + path.read_text().replace(",", " , ").replace("\n", " \r\n").encode() + b"\r\n\r\n"
        )
    found = scan(raw)
    assert not found.problems
    assert [row.cells for row in found.table.rows] == plain


def test_lists_may_lie_beside_the_videos_or_be_named(raw: Path, tmp_path: Path) -> None:
    places = [raw.parent / "splits", raw / "splits", raw, tmp_path / "mine"]
    for number, place in enumerate(places):
        write_lists(place, train=TRAIN[: number + 1]) if number < 3 else write_lists(place, train=TRAIN[1:])
    digests = []
    for place in reversed(places):
        named = place if place == tmp_path / "mine" else None
        found = scan(raw, named)
        assert found.inputs == kinetics_sounds.inputs(recipe_file.load(RECIPE), raw, named)
        digests.append(found.inputs)
        assert found.table.count == {places[0]: 3, places[1]: 4, places[2]: 5, places[3]: 4}[place]
        (place / "my_test.txt").unlink()  # lists of two folders are never mixed
    assert len(set(digests)) == 4
    with pytest.raises(Misuse, match=r"my_train\.txt and my_test\.txt do not lie together in .*raw, ") as told:
        scan(raw)
    assert "GeWu-Lab/OGM-GE_CVPR2022" in str(told.value) and "--splits DIR" in str(told.value)
    with pytest.raises(Misuse, match=r"do not lie together in .*mine"):
        scan(raw, tmp_path / "mine")


def test_a_list_of_val_is_taken_where_the_recipe_names_one(raw: Path) -> None:
    write_lists(raw)
    (raw / "my_val.txt").write_text("abcdefghijk_3,10,13\n")
    found = scan(raw, lists={"train": "my_train.txt", "val": "my_val.txt", "test": "my_test.txt"})
    assert Counter(column(found, "released").values()) == {"train": 3, "val": 1, "test": 2}


def test_lists_that_are_no_text(raw: Path) -> None:
    write_lists(raw)
    (raw / "my_test.txt").write_bytes(b"-3Mwkq-7TV4_2,10,13\n\xff\xfe")
    with pytest.raises(Misuse, match=r"my_test\.txt: line 2 is not UTF-8"):
        scan(raw)
    (raw / "my_test.txt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(Misuse, match=r"my_test\.txt is a Git LFS pointer"):
        scan(raw)
    for name in ("my_train.txt", "my_test.txt"):
        (raw / name).write_text("\n")
    assert scan(raw).problems.lines() == ["my_train.txt and my_test.txt: the lists are empty"]


ABSENT, WITHOUT_SOUND, CUT = "absent____0_000000_000010", "silent____0_000000_000010", "broken____0_000000_000010"


@pytest.fixture
def job(raw: Path) -> Job:
    """Videos of a second in folders by class, 14 for train and 6 for test, of which three cannot be used; and the
    recipe for them, as it ships but for the sizes."""
    text = RECIPE.read_text()
    for key, value in {"seconds": 1, "fps": 4, "frames": 3, "size": 32}.items():
        text, changed = re.subn(rf"(?m)^{key} = \d+", f"{key} = {value}", text)
        assert changed == 1
    (raw.parent / "recipe.toml").write_text(text)
    encoded = [
        write_video(raw.parent / "a.mp4", video="h264", audio="aac", rate=44100, size=(48, 64)),
        write_video(raw.parent / "b.mp4", video="mpeg4", audio="aac", fps=25, seconds=1.2, size=(64, 48)),
    ]
    silent, broken = write_video(raw.parent / "c.mp4", video="h264"), cut(shutil.copy(encoded[0], raw.parent / "d.mp4"))
    ids = [f"video_____{n:1x}_{n:06}_{n + 10:06}" for n in range(14)] + [f"test-_____{n}_{n}" for n in range(6)]
    ids[3], ids[6], ids[10] = ABSENT, WITHOUT_SOUND, CUT
    lines = [f"{id},10,{(4, 13)[n % 2]}" for n, id in enumerate(ids)]
    write_lists(raw, lines[:14], lines[14:])
    for n, id in enumerate(ids):
        if id != ABSENT:
            path = raw / ("playing guitar", "dribbling basketball")[n % 2] / f"{id}.mp4"
            path.parent.mkdir(exist_ok=True)
            shutil.copy({WITHOUT_SOUND: silent, CUT: broken}.get(id, encoded[n % 2]), path)
    return Job(raw.parent / "recipe.toml", raw.parent / "prepared")


def test_from_videos_to_training(job: Job, tmp_path: Path) -> None:
    _, plan = look(job)
    assert not plan.problems
    assert [line.count for line in plan.found] == [13, 6, 2]
    assert {(failure.clip.id, failure.what) for failure in plan.failures} >= {(ABSENT, "no such file")}

    with pytest.raises(InforegError) as stopped:
        prepare.prepare(job)
    assert stopped.value.exit_code == 1
    with (job.out.parent / "prepare-report.csv").open() as handle:
        reported = [(row["clip"], row["reason"]) for row in csv.DictReader(handle)]
    # Sound and frames lie in one file, which is told once.
    assert sorted(clip for clip, _ in reported) == sorted([ABSENT, WITHOUT_SOUND, CUT])
    assert dict(reported)[ABSENT] == "no such file"

    store, _ = prepare.prepare(replace(job, allow_missing=True))
    assert len(store) == 17 and store.classes("class") == tuple(map(str, range(31)))
    train, val, test = (len(store.split("released", split)) for split in ("train", "val", "test"))
    assert (train + val, test) == (11, 6) and val in (1, 2)
    assert store.modalities["audio"].shape == (16_000,) and store.modalities["video"].codec == "jpeg"
    for row in range(len(store)):
        frames = jpeg.decode(store.clip("video", row), range(3))
        assert frames.shape in ((3, 3, 32, 43), (3, 3, 43, 32))

    settings = {
        "epochs": 2,
        "batch_size": 4,
        "inputs": {"audio": {"mels": 16}, "video": {"size": 16}},
        "encoders": {name: {"name": "cnn", "channels": [4, 8]} for name in ("audio", "video")},
    }
    experiment = resolve(merge(presets.load("kinetics-sounds/inforeg"), settings), store)
    result = Training(experiment, store, RunFolder(tmp_path / "run"), torch.device("cpu")).run(Silent())
    assert 0 <= result["test"]["accuracy"] <= 1
