"""Preparing: the same bytes every time, everything wrong reported at once, nothing half-written, and no needless work."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from plan_factory import SLOW, Heard, left_in, same_bytes
from raw_factory import RECIPE, cut, make_raw, tone, write_image, write_manifest, write_wav

from inforeg_cli.data import media
from inforeg_cli.data.preparing.plan import Job
from inforeg_cli.data.preparing.prepare import prepare
from inforeg_cli.data.preparing.report import Unusable
from inforeg_cli.data.store import Store
from inforeg_cli.errors import BadInput, InforegError, Misuse


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    make_raw(folder)
    return folder


def job(raw: Path, **more) -> Job:
    return Job(raw / "recipe.toml", **{"out": raw.parent / "out", **more})


def test_what_is_prepared_is_what_the_files_hold(raw):
    store, made = prepare(job(raw))
    assert made
    assert {name: modality.shape for name, modality in store.modalities.items()} == {
        "sound": (800,),
        "picture": (1, 6, 5),
        "face": (5, 3),
    }
    assert store.modalities["sound"].settings == {"sample_rate": 8000}
    assert store.lengths("face").tolist() == [1 + i % 5 for i in range(20)]
    assert store.classes("label") == ("class-0", "class-1")
    assert [len(store.split("split", name)) for name in ("train", "val", "test")] == [12, 4, 4]
    expected = np.resize(np.rint(tone(350, 0.08) * 32767).astype(np.int16), 800)
    assert np.array_equal(store.clip("sound", 5), expected)
    assert np.allclose(store.clip("face", 5)[0], np.load(raw / "npy" / "5.npy")[0])
    assert "libavcodec" in store.decoders
    store.verify()


def test_any_number_of_workers_and_any_place_give_the_same_bytes(raw, tmp_path):
    stores = [prepare(job(raw, out=tmp_path / f"out-{workers}", workers=workers))[0] for workers in (1, 4)]
    moved = tmp_path / "moved"
    raw.rename(moved)
    stores.append(prepare(Job(moved / "recipe.toml", tmp_path / "out-moved"))[0])
    for file in stores[0].path.iterdir():
        for other in stores[1:]:
            assert file.read_bytes() == (other.path / file.name).read_bytes(), file.name


def spoil(raw: Path) -> None:
    (raw / "wav" / "3.wav").unlink()
    cut(raw / "wav" / "4.wav")
    cut(write_image(raw / "png" / "5.png", size=(64, 64)))
    np.save(raw / "npy" / "6.npy", np.array([[1.0, np.nan, np.inf]]))
    np.save(raw / "npy" / "7.npy", np.zeros((2, 9)))
    (raw / "wav" / "8.wav").write_bytes(b"RIFX, but no recording")


def test_everything_wrong_in_headers_and_in_contents_is_reported_when_the_rest_is_stored(raw):
    spoil(raw)
    with pytest.raises(Unusable, match="tiny: 6 clips cannot be used; 14 are stored and kept") as caught:
        prepare(job(raw, workers=2))
    assert caught.value.exit_code == 1
    told = "\n".join(caught.value.problems)
    for part in (
        "line 5, sound wav/3.wav: no such file",
        "line 6, sound wav/4.wav: the file is cut short",
        "line 7, picture png/5.png: the file cannot be decoded",
        "line 8, face npy/6.npy: NaN or infinite values (2 of 3)",
        "line 9, face npy/7.npy: the shape differs",
        "line 10, sound wav/8.wav: the file cannot be decoded",
        str(raw.parent / "out.prepare-report.csv"),
    ):
        assert part in told
    assert left_in(raw.parent) == {"raw", ".out.work", "out.prepare-report.csv"}
    with (raw.parent / "out.prepare-report.csv").open(newline="") as handle:
        rows = {row["clip"]: row for row in csv.DictReader(handle)}
    assert len(rows) == 6
    assert rows["clip-006"]["modality"] == "face"
    assert rows["clip-006"]["file"] == "npy/6.npy"
    assert rows["clip-006"]["reason"] == "NaN or infinite values"


def test_files_that_are_mended_are_all_that_is_decoded_then(raw, monkeypatch):
    whole, _ = prepare(job(raw, out=raw.parent / "whole"))
    shutil.copytree(raw, raw.parent / "sound raw", copy_function=shutil.copy2)
    spoil(raw)
    with pytest.raises(Unusable):
        prepare(job(raw))
    for i in range(3, 9):
        for name in (f"wav/{i}.wav", f"png/{i}.png", f"npy/{i}.npy"):
            shutil.copy(raw.parent / "sound raw" / name, raw / name)
    read, calls = media.read, []
    monkeypatch.setattr(media, "read", lambda settings, source: calls.append(source) or read(settings, source))
    store, made = prepare(job(raw))
    assert made
    assert len(calls) == 6 * 3
    assert same_bytes(store.path, whole.path)
    assert left_in(raw.parent) == {"raw", "sound raw", "out", "whole"}  # the report is gone too


def test_what_makes_everything_impossible_is_told_before_anything_is_decoded(raw):
    rows = make_raw(raw, clips=200)
    for i, row in enumerate(rows):
        row["audio"] = f"no-{i}.wav"
        row["split"] = row["split"] if i % 2 else f"fold {i}"
    write_manifest(raw, rows)
    with pytest.raises(BadInput, match="300 problems; nothing was written") as caught:
        prepare(job(raw))
    assert len(str(caught.value).splitlines()) <= 20
    assert "200 times: no such file" in str(caught.value)
    assert left_in(raw.parent) == {"raw"}


def test_a_report_never_has_more_than_twenty_lines(raw):
    make_raw(raw, clips=100)
    for i in range(90):
        (raw / "wav" / f"{i}.wav").unlink()
    with pytest.raises(Unusable, match="90 clips cannot be used; 10 are stored") as caught:
        prepare(job(raw))
    assert len(str(caught.value).splitlines()) <= 20
    assert "90 times: no such file: line 2, sound wav/0.wav" in str(caught.value)


def test_missing_clips_are_left_out_on_request_at_once_and_the_store_says_so(raw, monkeypatch):
    (raw / "wav" / "3.wav").unlink()
    (raw / "wav" / "4.wav").write_text("no sound")
    (raw / "wav" / "5.wav").write_text("no sound")
    with pytest.raises(Unusable, match="3 clips cannot be used"):
        prepare(job(raw))
    with monkeypatch.context() as patch:
        patch.setattr(media, "read", None)  # nothing is decoded again
        heard = Heard()
        store, _ = prepare(job(raw, allow_missing=True, workers=3), listener=heard)
    assert heard.words == ["going on: 19 of 19 clips were done by an earlier call"]
    assert heard.progress == [(19, 19, 3)]
    assert len(store) == 17
    assert store.dropped == {"sound: no such file": 1, "sound: the file cannot be decoded": 2}
    assert json.loads((store.path / "store.json").read_text())["dropped"] == store.dropped
    # What is kept belongs to its own row still.
    assert store.ids[3] == "clip-006"
    assert np.allclose(store.clip("face", 3)[: 1 + 6 % 5], np.load(raw / "npy" / "6.npy"))
    assert left_in(raw.parent) == {"raw", "out", "out.prepare-report.csv"}
    at_once, _ = prepare(job(raw, out=raw.parent / "prepared", allow_missing=True))
    assert same_bytes(store.path, at_once.path)
    assert (raw.parent / "prepare-report.csv").read_text().count("\n") == 4


def test_leaving_clips_out_never_hides_other_mistakes(raw):
    (raw / "wav" / "3.wav").unlink()
    np.save(raw / "npy" / "6.npy", np.array([[1.0, np.nan, 3.0]]))
    with pytest.raises(Unusable, match="1 clip cannot be used; 18 are stored") as caught:
        prepare(job(raw, allow_missing=True))
    assert "NaN" in str(caught.value)
    assert "no such file" in (raw.parent / "out.prepare-report.csv").read_text()


def test_leaving_out_all_clips_of_a_class_or_all_clips_is_an_error(raw):
    for i in range(20):
        if i % 2 == 0 and i // 2 % 5 < 3:
            (raw / "wav" / f"{i}.wav").write_text("no sound")
    with pytest.raises(BadInput, match=r"no clip in train \('class-0', only in test and val\)"):
        prepare(job(raw, allow_missing=True))
    for i in range(20):
        (raw / "wav" / f"{i}.wav").unlink()
    with pytest.raises(BadInput, match=r"no clip is left \(20 clips left out\)"):
        prepare(job(raw, allow_missing=True))
    assert not (raw.parent / "out").exists()


def test_silence_is_a_warning_also_of_clips_that_an_earlier_call_has_decoded(raw):
    write_wav(raw / "wav" / "2.wav", np.zeros(800))
    (raw / "wav" / "7.wav").unlink()
    with pytest.raises(Unusable):
        prepare(job(raw))
    heard = Heard()
    store, _ = prepare(job(raw, allow_missing=True), listener=heard)
    assert len(store) == 19
    assert heard.plan.warnings.lines() == ["line 4, sound wav/2.wav: the audio is silent"]


def test_what_is_prepared_and_unchanged_is_not_prepared_again(raw):
    store, _ = prepare(job(raw))
    before = {path: path.stat().st_mtime_ns for path in store.path.iterdir()}
    again, made = prepare(job(raw))
    assert not made
    assert again.digest == store.digest
    assert before == {path: path.stat().st_mtime_ns for path in store.path.iterdir()}
    (raw / "manifest.csv").unlink()
    assert not prepare(job(raw))[1]


def test_another_recipe_or_manifest_needs_force(raw):
    prepare(job(raw))
    (raw / "recipe.toml").write_text(RECIPE.replace("0.1", "0.2"))
    with pytest.raises(Misuse, match="prepared from another recipe: add --force"):
        prepare(job(raw))
    store, made = prepare(job(raw), force=True)
    assert made
    assert store.modalities["sound"].shape == (1600,)
    rows = make_raw(raw, recipe=RECIPE.replace("0.1", "0.2"))
    rows[0]["label"] = "class-1"
    write_manifest(raw, rows)
    with pytest.raises(Misuse, match="prepared from another manifest, list or array: add --force"):
        prepare(job(raw))


def test_a_changed_array_is_noticed(raw):
    recipe = 'name = "tiny"\n[modalities.face]\nkind = "features"\narray = "face.npy"\n'
    make_raw(raw, recipe=recipe)
    np.save(raw / "face.npy", np.zeros((20, 2)))
    prepare(job(raw))
    assert not prepare(job(raw))[1]
    np.save(raw / "face.npy", np.ones((20, 2)))
    with pytest.raises(Misuse, match="another manifest, list or array"):
        prepare(job(raw))


def test_a_damaged_store_or_one_of_another_format_is_made_anew(raw):
    store, _ = prepare(job(raw))
    description = store.path / "store.json"
    for path, content, told in (
        (store.path / "sound.bin", b"", "is damaged"),
        (description, description.read_bytes().replace(b'"format": 2', b'"format": 1'), "has store format 1"),
    ):
        path.write_bytes(content)
        heard = Heard()
        again, made = prepare(job(raw), listener=heard)
        assert made
        assert again.digest == store.digest
        assert heard.words[0].startswith("preparing anew: ")
        assert told in heard.words[0]


def test_a_folder_with_anything_else_in_it_is_never_replaced(raw, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    for force in (False, True):
        with pytest.raises(Misuse, match=r"no part of a store \(thesis\.tex\)"):
            prepare(job(raw), force=force)
    (tmp_path / "out" / "thesis.tex").unlink()
    prepare(job(raw))
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(Misuse, match=r"notes\.txt"):
        prepare(job(raw), force=True)


def test_a_failure_keeps_the_store_that_is_there(raw):
    store, _ = prepare(job(raw))
    (raw / "wav" / "3.wav").unlink()
    with pytest.raises(BadInput):
        prepare(job(raw), force=True)
    assert Store.open(store.path).digest == store.digest


def test_two_processes_at_once_prepare_once(raw, tmp_path):
    command = [sys.executable, "-c", SLOW, str(raw / "recipe.toml"), str(tmp_path / "out")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert "".join(outputs).count("reading") == 60
    assert "".join(outputs).count("another process is preparing") == 1
    Store.open(tmp_path / "out").verify()


def test_the_raw_files_may_lie_elsewhere(raw, tmp_path):
    elsewhere = tmp_path / "recipes" / "recipe.toml"
    elsewhere.parent.mkdir()
    (raw / "recipe.toml").rename(elsewhere)
    with pytest.raises(Misuse, match="cannot read the manifest"):
        prepare(Job(elsewhere, tmp_path / "out"))
    assert len(prepare(Job(elsewhere, tmp_path / "out", source=raw))[0]) == 20


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_place_that_cannot_be_written_is_told(raw, tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InforegError, match="cannot prepare"):
            prepare(job(raw))
    finally:
        tmp_path.chmod(0o700)
