"""Preparing: the same bytes every time, everything wrong reported at once, nothing half-written, and no needless work."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from raw_factory import RECIPE, cut, make_raw, tone, write_image, write_manifest, write_wav

from inforeg_cli.data import media
from inforeg_cli.data.prepare import Job, Listener, look, prepare
from inforeg_cli.data.store import Store
from inforeg_cli.errors import BadInput, InforegError, Misuse


class Heard(Listener):
    def __init__(self):
        self.words, self.plan = [], None

    def said(self, message):
        self.words.append(message)

    def looked(self, plan):
        self.plan = plan


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    make_raw(folder)
    return folder


def job(raw: Path, **more) -> Job:
    return Job(raw / "recipe.toml", **{"out": raw.parent / "out", **more})


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


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


def test_everything_wrong_in_headers_and_in_contents_is_reported_at_once(raw):
    (raw / "wav" / "3.wav").unlink()
    cut(raw / "wav" / "4.wav")
    cut(write_image(raw / "png" / "5.png", size=(64, 64)))
    for i in (3, 6):
        np.save(raw / "npy" / f"{i}.npy", np.array([[1.0, np.nan, np.inf]]))
    np.save(raw / "npy" / "7.npy", np.zeros((2, 9)))
    (raw / "wav" / "8.wav").write_bytes(b"RIFX, but no recording")
    with pytest.raises(BadInput, match="tiny: 7 problems; nothing was written") as caught:
        prepare(job(raw))
    told = "\n".join(caught.value.problems)
    for part in (
        "line 5, sound wav/3.wav: no such file",
        "line 5, face npy/3.npy: NaN or infinite values (2 of 3)",
        "line 6, sound wav/4.wav: the file is cut short",
        "line 7, picture png/5.png: the file cannot be decoded",
        "line 8, face npy/6.npy: NaN or infinite values (2 of 3)",
        "line 9, face npy/7.npy: the shape differs",
        "line 10, sound wav/8.wav: the file cannot be decoded",
    ):
        assert part in told
    assert left_in(raw.parent) == {"raw"}


def test_a_report_never_has_more_than_twenty_lines(raw):
    rows = make_raw(raw, clips=200)
    for i, row in enumerate(rows):
        row["audio"] = f"no-{i}.wav"
        row["split"] = row["split"] if i % 2 else f"fold {i}"
    write_manifest(raw, rows)
    with pytest.raises(BadInput, match="300 problems") as caught:
        prepare(job(raw))
    assert len(str(caught.value).splitlines()) <= 20
    assert "200 times: no such file" in str(caught.value)


def test_missing_clips_are_left_out_on_request_and_the_store_says_so(raw):
    (raw / "wav" / "3.wav").unlink()
    (raw / "wav" / "4.wav").write_text("no sound")
    (raw / "wav" / "5.wav").write_text("no sound")
    with pytest.raises(BadInput, match="3 problems"):
        prepare(job(raw))
    store, _ = prepare(job(raw, allow_missing=True, workers=3))
    assert len(store) == 17
    assert store.dropped == {"sound: no such file": 1, "sound: the file cannot be decoded": 2}
    assert json.loads((store.path / "store.json").read_text())["dropped"] == store.dropped
    # What is kept belongs to its own row still.
    assert store.ids[3] == "clip-006"
    assert np.allclose(store.clip("face", 3)[: 1 + 6 % 5], np.load(raw / "npy" / "6.npy"))


def test_leaving_clips_out_never_hides_other_mistakes(raw):
    (raw / "wav" / "3.wav").unlink()
    np.save(raw / "npy" / "6.npy", np.array([[1.0, np.nan, 3.0]]))
    with pytest.raises(BadInput, match="1 problem") as caught:
        prepare(job(raw, allow_missing=True))
    assert "NaN" in str(caught.value)


def test_leaving_out_all_clips_of_a_class_or_all_clips_is_an_error(raw):
    for i in range(20):
        if i % 2 == 0 and i // 2 % 5 < 3:
            (raw / "wav" / f"{i}.wav").write_text("no sound")
    with pytest.raises(BadInput, match=r"no clip in train \('class-0', only in test and val\)"):
        prepare(job(raw, allow_missing=True))
    for i in range(20):
        (raw / "wav" / f"{i}.wav").unlink()
    assert look(job(raw, allow_missing=True))[1].problems.lines() == ["tiny: no clip is left (20 clips left out)"]
    with pytest.raises(BadInput, match=r"no clip is left \(20 clips left out\)"):
        prepare(job(raw, allow_missing=True))
    assert left_in(raw.parent) == {"raw"}


def test_silence_is_a_warning(raw):
    write_wav(raw / "wav" / "2.wav", np.zeros(800))
    heard = Heard()
    store, _ = prepare(job(raw), listener=heard)
    assert len(store) == 20
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
    with pytest.raises(Misuse, match="prepared from another manifest or array: add --force"):
        prepare(job(raw))


def test_a_changed_array_is_noticed(raw):
    recipe = 'name = "tiny"\n[modalities.face]\nkind = "features"\narray = "face.npy"\n'
    make_raw(raw, recipe=recipe)
    np.save(raw / "face.npy", np.zeros((20, 2)))
    prepare(job(raw))
    assert not prepare(job(raw))[1]
    np.save(raw / "face.npy", np.ones((20, 2)))
    with pytest.raises(Misuse, match="another manifest or array"):
        prepare(job(raw))


def test_a_damaged_store_is_made_anew(raw):
    store, _ = prepare(job(raw))
    (store.path / "sound.bin").write_bytes(b"")
    heard = Heard()
    again, made = prepare(job(raw), listener=heard)
    assert made
    assert again.digest == store.digest
    assert "is damaged" in heard.words[0]


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


def test_no_space_is_told_before_anything_is_written(raw, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(InforegError, match="would need"):
        prepare(job(raw))
    assert left_in(raw.parent) == {"raw"}


def test_an_interruption_in_the_middle_leaves_nothing(raw, monkeypatch):
    read, calls = media.read, []

    def interrupted(settings, source):
        calls.append(source)
        if len(calls) == 30:
            raise KeyboardInterrupt
        return read(settings, source)

    monkeypatch.setattr(media, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(job(raw, workers=2))
    assert left_in(raw.parent) == {"raw"}


SLOW = """
import signal, sys, time
from pathlib import Path
from inforeg_cli.data import media
from inforeg_cli.data.prepare import Job, prepare

# A process started in the background of a script ignores Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
read = media.read
def slow(settings, source):
    print("reading", flush=True)
    time.sleep(float(sys.argv[3]))
    return read(settings, source)
media.read = slow
prepare(Job(Path(sys.argv[1]), Path(sys.argv[2])))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_process_leaves_no_store_and_the_next_one_clears_up(raw, tmp_path, number):
    command = [sys.executable, "-c", SLOW, str(raw / "recipe.toml"), str(tmp_path / "out"), "0.05"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for _ in range(10):
        assert process.stdout.readline() == "reading\n"
    process.send_signal(number)
    assert process.wait(timeout=30) != 0
    process.stdout.close()
    assert not (tmp_path / "out").exists()
    if number != signal.SIGKILL:
        assert left_in(tmp_path) == {"raw"}
    prepare(job(raw))
    assert left_in(tmp_path) == {"raw", "out"}


def test_two_processes_at_once_prepare_once(raw, tmp_path):
    command = [sys.executable, "-c", SLOW, str(raw / "recipe.toml"), str(tmp_path / "out"), "0.01"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert "".join(outputs).count("reading") == 60
    assert "" in outputs
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
