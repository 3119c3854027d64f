"""CREMA-D: the publisher's layout, the two schemes, lists that are checked, and a store that can be trained on."""

import csv
import hashlib
import json
import shutil
import subprocess
import urllib.request
from collections import Counter
from io import BytesIO
from itertools import combinations
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from crema_factory import (
    ACTORS,
    EMOTIONS,
    clip_ids,
    make_files,
    make_recordings,
    shipped_recipe,
    write_lists,
    write_recipe,
)
from raw_factory import write_wav
from typer.testing import CliRunner

from inforeg_cli.app import app
from inforeg_cli.data.preparing.plan import Job, look
from inforeg_cli.data.preparing.prepare import prepare
from inforeg_cli.data.recipe import CremaDRecipe
from inforeg_cli.data.recipe_file import load
from inforeg_cli.data.sources import Scan, crema_d
from inforeg_cli.data.sources import lists as lists_of_publishers
from inforeg_cli.data.sources.pointers import RawFile
from inforeg_cli.data.splits import complete
from inforeg_cli.errors import BadInput, InforegError, Misuse

REAL = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "crema-d"
with_real_lists = pytest.mark.skipif(not REAL.is_dir(), reason="the shared data is not here")

IDS = clip_ids()
#: As in the published lists, every actor stands in both.
TEST = [clip for index, clip in enumerate(IDS) if index % 6 == index // 6 % 6]
TRAIN = [clip for clip in IDS if clip not in TEST]


class Network:
    """Stands for the network: what it serves by URL, and what it was asked."""

    def __init__(self):
        self.served: dict[str, bytes] = {}
        self.asked: list[str] = []

    def __call__(self, url: str, timeout: float) -> BytesIO:
        assert timeout <= 10
        self.asked.append(url)
        if url not in self.served:
            raise urllib.error.URLError("no network in this test")
        return BytesIO(self.served[url])


@pytest.fixture(autouse=True)
def network(monkeypatch) -> Network:
    stand_in = Network()
    monkeypatch.setattr(urllib.request, "urlopen", stand_in)
    return stand_in


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return make_files(tmp_path / "crema-d" / "raw", IDS)


@pytest.fixture
def lists(tmp_path: Path) -> dict[str, str]:
    """The SHA-256 of the lists in the folder `given`."""
    return write_lists(tmp_path / "given", TRAIN, TEST)


@pytest.fixture
def recipe(tmp_path: Path, lists: dict[str, str]) -> CremaDRecipe:
    return load(write_recipe(tmp_path / "recipe.toml", lists))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where lists are kept: with the dataset under the root."""
    return tmp_path / "datasets" / "crema-d" / "splits"


def serve(network: Network, recipe: CremaDRecipe, folder: Path) -> None:
    for name in recipe.lists:
        network.served[f"{recipe.lists_url}/{name}"] = (folder / name).read_bytes()


def scanned_and_kept(recipe: CremaDRecipe, raw: Path, splits: Path | None = None) -> Scan:
    scan = crema_d.scan(recipe, raw, splits)
    lists_of_publishers.keep(scan.keep, scan.warnings)
    return scan


def everything_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def column(scan: Scan, name: str) -> list[str]:
    return [row.cells[name] for row in scan.table.rows]


def test_the_table_holds_the_listed_clips_with_their_files(recipe, raw, tmp_path):
    scan = crema_d.scan(recipe, raw, tmp_path / "given")
    assert column(scan, "id") == sorted(IDS)
    assert scan.schemes == ["paper", "speaker"]
    assert {row.cells["id"] for row in scan.table.rows if row.cells["paper"] == "test"} == set(TEST)
    assert set(column(scan, "actor")) == set(map(str, ACTORS))
    first = scan.table.rows[0].cells
    assert first["emotion"] == "ANG" and first["audio"] == "AudioWAV/1001_DFA_ANG_XX.wav"
    assert first["video"] == "VideoFlash/1001_DFA_ANG_XX.flv"
    assert not scan.problems and not scan.warnings
    found = {line.what: line for line in scan.found}
    assert (found["files under AudioWAV"].count, found["files under VideoFlash"].bytes) == (60, 60 * 2000)
    assert (found["clips in train.csv"].count, found["clips in test.csv"].count) == (50, 10)
    assert found["clips in test.csv"].remark == str(tmp_path / "given")


def test_without_lists_and_network_there_is_only_the_speaker_scheme(recipe, raw, network):
    scan = crema_d.scan(recipe, raw, None)
    assert scan.schemes == ["speaker"] and "paper" not in scan.table.columns
    assert column(scan, "id") == sorted(IDS)
    said = "\n".join(scan.warnings.lines())
    assert "there is only the scheme 'speaker'" in said and "no network in this test" in said
    assert "--splits DIR" in said and recipe.lists_url in said
    assert crema_d.inputs(recipe, raw, None) == scan.inputs
    assert len(network.asked) == 1


def test_lists_are_fetched_once_and_kept_with_the_dataset(recipe, raw, network, kept, tmp_path):
    serve(network, recipe, tmp_path / "given")
    first = scanned_and_kept(recipe, raw)
    assert first.schemes == ["paper", "speaker"] and not first.warnings
    assert sorted(path.name for path in kept.iterdir()) == ["test.csv", "train.csv"]
    second = crema_d.scan(recipe, raw, None)
    assert len(network.asked) == 2 and not second.keep
    assert first.inputs == second.inputs == crema_d.inputs(recipe, raw, None)


@pytest.mark.parametrize("given", [True, False])
def test_a_dry_run_uses_lists_and_keeps_none(recordings, network, given):
    recipe, raw = recordings
    folder = (raw.parent / "splits").rename(raw.parent / "lists")
    serve(network, load(recipe), folder)
    before = everything_under(raw.parent)
    arguments = ["prepare", str(recipe), "--dry-run", *(["--splits", str(folder)] if given else [])]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0 and "split scheme paper" in result.output
    assert everything_under(raw.parent) == before
    look(Job(recipe, raw.parent / "prepared", splits=folder if given else None))
    assert everything_under(raw.parent) == sorted([*before, "splits", "splits/test.csv", "splits/train.csv"])


def test_what_is_served_in_place_of_a_list_is_not_taken(recipe, raw, network, tmp_path):
    for name in recipe.lists:
        network.served[f"{recipe.lists_url}/{name}"] = b"<html>please log in</html>"
    scan = crema_d.scan(recipe, raw, None)
    assert scan.schemes == ["speaker"] and not scan.keep
    assert f"expected {recipe.lists['train.csv']}" in "\n".join(scan.warnings.lines())


def test_lists_that_cannot_be_kept_are_told_in_one_line(recipe, raw, network, kept, tmp_path):
    serve(network, recipe, tmp_path / "given")
    kept.parent.parent.mkdir()
    kept.parent.write_text("a file where the folder should be")
    (line,) = scanned_and_kept(recipe, raw).warnings.lines()
    assert line.startswith(f"cannot keep the split lists in {kept}: give them with --splits DIR")


def test_lists_that_were_given_once_need_not_be_given_again(recipe, raw, network, kept, tmp_path):
    first = scanned_and_kept(recipe, raw, tmp_path / "given")
    assert crema_d.inputs(recipe, raw, None) == first.inputs
    assert crema_d.scan(recipe, raw, None).schemes == ["paper", "speaker"] and not network.asked
    other = kept / "train.csv"
    other.write_text("somebody else's\n")
    scanned_and_kept(recipe, raw, tmp_path / "given")
    assert other.read_text() == "somebody else's\n"
    (kept / "test.csv").unlink()
    with pytest.raises(Misuse, match="move them away"):
        crema_d.scan(recipe, raw, None)
    assert not network.asked


@pytest.mark.parametrize("place", [".", "splits", "../splits"])
def test_lists_that_lie_with_the_raw_files_are_found(recipe, raw, network, place):
    write_lists(raw / place, TRAIN, TEST)
    assert crema_d.scan(recipe, raw, None).schemes == ["paper", "speaker"]
    assert not network.asked


def test_other_lists_are_refused_with_what_was_expected(recipe, raw):
    other = write_lists(raw / "splits", TEST, TRAIN)
    with pytest.raises(Misuse, match=f"SHA-256 is {other['train.csv']}, expected {recipe.lists['train.csv']}"):
        crema_d.scan(recipe, raw, None)
    write_lists(raw.parent / "splits", TRAIN, TEST)
    assert crema_d.scan(recipe, raw, None).schemes == ["paper", "speaker"], "the right ones further on are used"


def test_a_given_folder_must_hold_both_lists(recipe, raw, tmp_path):
    (tmp_path / "given" / "test.csv").unlink()
    with pytest.raises(Misuse, match=r"--splits .*given: expected train.csv and test.csv there"):
        crema_d.scan(recipe, raw, tmp_path / "given")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (["1001_DFA_ANG_XX", "1001_DFA_ANG_XX"], "line 2: 1001_DFA_ANG_XX is listed twice"),
        (["1001_DFA_ANG_XX", "1001_DFA_NEU_QQ"], "line 2 is no clip and its emotion: '1001_DFA_NEU_QQ,NEU'"),
        ([TEST[0]], f"test.csv: line 1: {TEST[0]} is listed twice"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(raw, tmp_path, train, message):
    lists = write_lists(tmp_path / "mine", train, TEST)
    with pytest.raises(Misuse) as caught:
        crema_d.scan(load(write_recipe(tmp_path / "mine.toml", lists)), raw, tmp_path / "mine")
    assert message in str(caught.value)


def test_a_list_whose_emotion_is_not_the_names_is_refused(raw, tmp_path):
    lists = write_lists(tmp_path / "mine", TRAIN, TEST)
    train = tmp_path / "mine" / "train.csv"
    train.write_bytes(train.read_bytes().replace(b",HAP", b",SAD", 1))
    lists["train.csv"] = hashlib.sha256(train.read_bytes()).hexdigest()
    with pytest.raises(Misuse, match=r"train.csv: line 1 is no clip and its emotion: '1001_DFA_HAP_XX,SAD'"):
        crema_d.scan(load(write_recipe(tmp_path / "mine.toml", lists)), raw, tmp_path / "mine")


def test_recordings_in_no_list_are_left_out_and_counted(recipe, raw, tmp_path):
    make_files(raw, [f"1099_DFA_{emotion}_XX" for emotion in EMOTIONS])
    scan = crema_d.scan(recipe, raw, tmp_path / "given")
    assert column(scan, "id") == sorted(IDS)
    assert scan.warnings.lines() == [
        "train.csv and test.csv: recordings that stand in no list are left out "
        "(6 clips: 1099_DFA_ANG_XX, 1099_DFA_DIS_XX, 1099_DFA_FEA_XX, ...)"
    ]


@pytest.mark.parametrize("name", ["1040_ITH_SAD_X", "1040_ITH_SAD_XX"])
def test_both_names_of_the_renamed_recording_lead_to_its_clip(raw, tmp_path, name):
    lists = write_lists(tmp_path / "given", [*TRAIN, "1040_ITH_SAD_XX"], TEST)
    make_files(raw, [name])
    scan = crema_d.scan(load(write_recipe(tmp_path / "mine.toml", lists)), raw, tmp_path / "given")
    (row,) = (row for row in scan.table.rows if row.cells["actor"] == "1040")
    assert row.cells["id"] == "1040_ITH_SAD_XX" and row.cells["paper"] == "train"
    assert (raw / row.cells["audio"]).name == f"{name}.wav" and (raw / row.cells["video"]).is_file()
    assert not scan.problems and not scan.warnings


def test_a_clip_of_which_one_file_is_absent_keeps_its_row(recipe, raw):
    (raw / "VideoFlash" / f"{IDS[7]}.flv").unlink()
    (raw / "AudioWAV" / f"{IDS[8]}.wav").unlink()
    scan = crema_d.scan(recipe, raw, None)
    assert column(scan, "id") == sorted(IDS)
    assert f"VideoFlash/{IDS[7]}.flv" in column(scan, "video")


def test_other_names_are_reported_and_other_files_ignored(recipe, raw, tmp_path):
    for name in ("notes.txt", ".DS_Store", "._1001_DFA_ANG_XX.wav", "1001_DFA_ANG_XX.mp3"):
        (raw / "AudioWAV" / name).write_bytes(b"x")
    (raw / "AudioWAV" / "folder.wav").mkdir()
    assert not crema_d.scan(recipe, raw, tmp_path / "given").problems
    (raw / "AudioWAV" / "1001_DFA_ANG.wav").write_bytes(b"x" * 2000)
    said = "AudioWAV/1001_DFA_ANG.wav: the name is not that of a recording (expected ACTOR_SENTENCE_"
    listed = crema_d.scan(recipe, raw, tmp_path / "given")  # which recordings there are, the lists say
    assert not listed.problems and listed.warnings.lines()[0].startswith(said)
    (line,) = crema_d.scan(recipe, raw, None).problems.lines()
    assert line.startswith(said)


def test_suffixes_in_capitals_are_recordings(recipe, raw, tmp_path):
    (raw / "AudioWAV" / f"{IDS[3]}.wav").rename(raw / "AudioWAV" / f"{IDS[3]}.WAV")
    (raw / "VideoFlash" / f"{IDS[4]}.FLV").write_bytes(b"x" * 2000)
    scan = crema_d.scan(recipe, raw, tmp_path / "given")
    assert all((raw / path).is_file() for path in column(scan, "audio"))
    assert scan.warnings.lines() == [
        f"VideoFlash/{IDS[4]}.flv: another file holds the same clip and is read in its stead (VideoFlash/{IDS[4]}.FLV)"
    ]


@pytest.mark.parametrize("inner", ["CREMA-D", "CREMA-D-master"])
def test_the_folder_above_is_as_good(recipe, tmp_path, inner):
    base = make_files(tmp_path / "above" / "raw" / inner, IDS)
    scan = crema_d.scan(recipe, base.parent, tmp_path / "given")
    assert scan.folder == base and len(scan.table.rows) == 60
    assert scan.inputs == crema_d.inputs(recipe, base.parent, tmp_path / "given")
    make_files(base.parent / "another", IDS[:6])
    with pytest.raises(Misuse, match="name one with --source"):
        crema_d.scan(recipe, base.parent, tmp_path / "given")


def test_missing_folders_are_named_with_what_was_found(recipe, raw):
    (raw / "VideoFlash").rename(raw / "Videos")
    with pytest.raises(Misuse, match=r"expected the folders AudioWAV and VideoFlash in .*; found AudioWAV, Videos"):
        crema_d.scan(recipe, raw, None)
    (raw / "VideoFlash").mkdir()
    with pytest.raises(Misuse, match=r"no recordings \*.flv in .*VideoFlash"):
        crema_d.scan(recipe, raw, None)


def test_a_modality_that_is_left_out_needs_no_folder(recipe, raw, tmp_path):
    audio = recipe.model_copy(update={"modalities": {"audio": recipe.modalities["audio"]}})
    (raw / "VideoFlash").rename(raw / "Videos")
    assert crema_d.scan(audio, raw, tmp_path / "given").table.columns == ("id", "emotion", "actor", "paper", "audio")


def test_pointers_end_the_scan_at_once(recipe, raw, tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 72862\n"
    for clip in IDS[:59]:
        (raw / "AudioWAV" / f"{clip}.wav").write_bytes(pointer)
    with pytest.raises(
        InforegError, match="59 of 60 files under AudioWAV are Git LFS pointers, not recordings"
    ) as caught:
        crema_d.scan(recipe, raw, tmp_path / "given")
    assert caught.value.exit_code == 1


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")
def test_the_recordings_of_a_clone_are_verified_wherever_it_lies(recipe, tmp_path):
    base = make_files(tmp_path / "above" / "CREMA-D", IDS[:5])
    told: list[tuple[int, int]] = []
    assert crema_d.verify(recipe, base.parent, lambda *numbers: told.append(numbers)) is None
    sha256 = hashlib.sha256(b"\0" * 2000).hexdigest()
    make_files(base, IDS[:5], f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize 2000\n".encode())
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    for command in (("init", "--quiet"), ("add", "--all"), (*identity, "commit", "--quiet", "--message", "pointers")):
        subprocess.run(["git", "-C", str(base), *command], check=True)
    make_files(base, IDS[:5])
    assert crema_d.verify(recipe, base.parent, lambda *numbers: told.append(numbers)) == 10
    assert told[-1] == (10, 10)


def test_a_recipe_without_the_paper_scheme_asks_for_no_lists(raw, network, tmp_path):
    recipe = load(write_recipe(tmp_path / "mine.toml", split='split = "speaker"'))
    assert crema_d.scan(recipe, raw, None).schemes == ["speaker"]
    assert not network.asked
    with pytest.raises(Misuse, match="has no scheme 'paper'"):
        crema_d.scan(recipe, raw, tmp_path)
    recipe = load(write_recipe(tmp_path / "mine.toml", split='split = "paper"'))
    with pytest.raises(Misuse, match="needs its split lists"):
        crema_d.scan(recipe, raw, None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"split": 'split = ["speeker"]'}, "Input should be 'paper' or 'speaker'"),
        ({"group": 'group = "sentence"'}, "Input should be 'actor'"),
        ({"lists_url": 'lists_url = "file:///etc"'}, "lists_url"),
        ({'"test.csv"': ""}, "lists"),
        ({'"test.csv"': '"test.csv" = "abc"'}, "lists.test.csv"),
    ],
)
def test_what_a_recipe_cannot_say(tmp_path, line, said):
    with pytest.raises(BadInput) as caught:
        load(write_recipe(tmp_path / "mine.toml", **line))
    assert said in str(caught.value)


@with_real_lists
def test_the_published_lists_and_the_counts_in_the_readme(monkeypatch, tmp_path):
    with (REAL / "summaryTable.csv").open(newline="") as handle:
        every = [row["FileName"] for row in csv.DictReader(handle)]
    recipe = load(shipped_recipe())
    raw = make_files(tmp_path / "raw", [])
    # As if there were all 14,884 files, which would take seconds to make.
    monkeypatch.setattr(
        crema_d, "raw_files", lambda folder, suffix: [RawFile(folder / f"{clip}{suffix}", 2000) for clip in every]
    )
    scan = crema_d.scan(recipe, raw, REAL)
    assert Counter(column(scan, "paper")) == {"train": 6698, "test": 744}
    assert not scan.problems and not scan.warnings and set(recipe.odd) < set(column(scan, "id"))
    actors, paper = column(scan, "actor"), column(scan, "paper")
    assert len({actor for actor, split in zip(actors, paper, strict=True) if split == "test"}) == len(set(actors)) == 91
    strata = list(zip(column(scan, "emotion"), strict=True))
    readme = (shipped_recipe().parent / "README.md").read_text(encoding="utf-8")
    for scheme, given, groups in (("paper", paper, None), ("speaker", [None] * 7442, actors)):
        splits = complete(given, strata, groups, recipe.splits, scheme, column(scan, "id")).tolist()
        numbers = [f"{splits.count(split):,}" for split in ("train", "val", "test")]
        assert f"| `{scheme}` | {' | '.join(numbers)} |" in readme
        sides = [{actor for actor, split in zip(actors, splits, strict=True) if split == side} for side in set(splits)]
        assert len(set.intersection(*sides)) == (91 if scheme == "paper" else 0)


@with_real_lists
def test_a_zip_download_is_told_from_recordings(tmp_path):
    raw = tmp_path / "raw"
    make_files(raw, [])
    for path in (REAL / "lfs-pointers").iterdir():
        (raw / {".wav": "AudioWAV", ".flv": "VideoFlash"}[path.suffix] / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InforegError) as caught:
        crema_d.scan(load(shipped_recipe()), raw, REAL)
    first, second, third = str(caught.value).splitlines()
    assert first == f"2 of 2 files under AudioWAV are Git LFS pointers, not recordings; run `git lfs pull` in {raw}"
    assert second == f"2 of 2 files under VideoFlash are Git LFS pointers, not recordings; run `git lfs pull` in {raw}"
    assert "no git clone" in third


@pytest.fixture
def recordings(tmp_path: Path) -> tuple[Path, Path]:
    """A small recipe, and a tree of real recordings, among them two known to be odd, one of them without any sound."""
    ids = [*IDS, "1076_MTI_SAD_XX", "1076_MTI_NEU_XX", "1040_ITH_SAD_X"]
    raw = make_recordings(tmp_path / "datasets" / "crema-d" / "raw", ids)
    write_wav(raw / "AudioWAV" / "1076_MTI_SAD_XX.wav", np.zeros(0, np.int16), rate=16000)
    write_wav(raw / "AudioWAV" / "1076_MTI_NEU_XX.wav", np.zeros(16000, np.int16), rate=16000)
    lists = write_lists(raw.parent / "splits", [*TRAIN, *ids[60:62], "1040_ITH_SAD_XX"], TEST)
    small = {"sample_rate": "sample_rate = 8000", "seconds": "seconds = 1.0", "size": "size = 32"}
    return write_recipe(raw.parent / "recipe.toml", lists, **small), raw


def test_a_complete_tree_becomes_a_store_with_both_schemes(recordings):
    recipe, raw = recordings
    job = Job(recipe, raw.parent / "prepared")
    _, plan = look(job)
    assert len(plan.clips) == 63 and not plan.failures and not plan.problems
    store, made = prepare(job)
    assert made and len(store) == 63
    assert store.classes("emotion") == EMOTIONS
    assert store.modalities["audio"].shape == (8000,) and store.modalities["video"].codec == "raw"
    assert [len(store.split("paper", split)) for split in ("train", "val", "test")] == [47, 6, 10]
    speakers = [{store.groups[index] for index in store.split("speaker", split)} for split in ("train", "val", "test")]
    assert all(speakers) and not set.union(*(a & b for a, b in combinations(speakers, 2)))
    frames = store.clip("video", 0)
    assert frames.shape[1:] == (3, 32, 43) and frames.shape[0] in (3, 4)
    assert not prepare(job)[1]


def test_only_the_recordings_known_to_be_odd_may_be_without_sound(recordings):
    recipe, raw = recordings
    write_wav(raw / "AudioWAV" / f"{IDS[0]}.wav", np.zeros(0, np.int16), rate=16000)
    with pytest.raises(InforegError) as caught:
        prepare(Job(recipe, raw.parent / "prepared"))
    assert caught.value.exit_code == 1
    report = (raw.parent / "prepare-report.csv").read_text()
    assert IDS[0] in report and "1076" not in report


@pytest.mark.parametrize("scheme", ["paper", "speaker"])
def test_two_epochs(recordings, monkeypatch, tmp_path, scheme):
    from inforeg_cli.engine import launch

    # The mirror in MLflow has tests of its own, and takes seconds to start.
    monkeypatch.setattr(launch, "Tracker", lambda *args, **more: Mock(run_id=None, ui_command=""))
    recipe, raw = recordings
    store, _ = prepare(Job(recipe, raw.parent / "prepared"))
    result = CliRunner().invoke(
        app,
        [
            *("train", "--dataset", "crema-d", "--method", "joint", "--runs", str(tmp_path / "runs"), "--name", "run"),
            *("--epochs", "2", "--batch-size", "16", "--device", "cpu"),
            *("--set", f"data.scheme={scheme}", "--set", "inputs.video.size=32"),
            *("--set", "encoders.audio.name=cnn", "--set", "encoders.video.name=cnn"),
        ],
    )
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "runs" / "run" / "config.json").read_text())
    assert told["data"]["counts"] == {split: len(store.split(scheme, split)) for split in ("train", "val", "test")}
    tested = pd.read_parquet(tmp_path / "runs" / "run" / "predictions-test-best.parquet")
    assert len(tested) == len(store.split(scheme, "test"))
