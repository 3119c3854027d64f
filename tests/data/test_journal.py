"""Work that is interrupted: nothing whole is lost or done twice, nothing torn is kept, and the bytes come out the same."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from plan_factory import MODALITIES

from inforeg_cli.data.decoding import Decoded, Flaw, pack
from inforeg_cli.data.preparing import journal as module
from inforeg_cli.data.preparing.journal import JOURNAL, Journal

PURPOSE = {"recipe": "r", "decoders": {"numpy": "2"}}
NAMES = [f"clip-{i}" for i in range(7)]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(module, "_FLUSH", 0.0)


def decoded(i: int, salt: int = 0) -> Decoded:
    drawn = np.random.default_rng([i, salt])
    arrays = {
        "sound": drawn.integers(-99, 99, 800, dtype=np.int16),
        "picture": drawn.integers(0, 255, (1, 6, 5), dtype=np.uint8),
        "face": drawn.normal(size=(1 + i % 5, 3)).astype(np.float32),
        "path": drawn.normal(size=(1 + i % 5, 3)).astype(np.float32),
    }
    packed = {name: pack(array, MODALITIES[name]) for name, array in arrays.items()}
    return Decoded([["sound", f"{i}.wav", i, salt]], f"source {i} {salt}", packed, silent=["sound"] if i == 1 else [])


def begin(folder: Path, said=None) -> Journal:
    return Journal(folder, PURPOSE, MODALITIES, *([said] if said else []))


def go_on(folder: Path) -> dict[str, bytes]:
    """Do what is left, arrange everything, and return the modalities' files."""
    journal = begin(folder)
    for i, name in enumerate(NAMES):
        if name not in journal.records:
            journal.add(name, decoded(i))
    journal.arrange(NAMES)
    return {path.name: path.read_bytes() for path in folder.glob("*.bin")}


@pytest.fixture
def expected(tmp_path) -> dict[str, bytes]:
    return go_on(tmp_path / "expected")


def test_work_is_found_again(tmp_path):
    journal = begin(tmp_path / "work")
    first = [journal.add(name, decoded(i)) for i, name in enumerate(NAMES[:3])]
    flawed = journal.add("bad", Decoded([["sound", "x", 1, 2]], flaws=[Flaw("sound", "cut short", "1 of 2", True)]))
    assert flawed.parts == {}
    journal.close()
    again = begin(tmp_path / "work")
    assert list(again.records.values()) == [*first, flawed]
    assert again.records["clip-1"].silent == ["sound"]
    assert again.records["bad"].flaws[0].missing is True
    assert again.records["clip-2"].parts["path"].offset % 8 == 0
    assert again.size == sum(path.stat().st_size for path in (tmp_path / "work").glob("*.bin"))
    again.remove()
    assert not (tmp_path / "work").exists()


def test_an_interruption_after_any_clip_gives_the_same_bytes(tmp_path, expected):
    for done in range(len(NAMES) + 1):
        folder = tmp_path / f"work-{done}"
        journal = begin(folder)
        for i, name in enumerate(NAMES[:done]):
            journal.add(name, decoded(i))
        # No close: what a killed process has handed over is all that there is.
        killed = tmp_path / f"killed-{done}"
        shutil.copytree(folder, killed)
        journal.close()
        assert list(begin(killed).records) == NAMES[:done]
        assert go_on(killed) == expected


def test_whatever_is_torn_off_is_cut_back_to_the_last_whole_clip(tmp_path, expected):
    whole = tmp_path / "whole"
    journal = begin(whole)
    for i, name in enumerate(NAMES):
        journal.add(name, decoded(i))
    journal.close()
    draw = random.Random(0)
    for trial in range(60):
        torn = tmp_path / f"torn-{trial}"
        shutil.copytree(whole, torn)
        path = draw.choice([torn / JOURNAL, *torn.glob("*.bin")])
        data = path.read_bytes()
        garbage = draw.choice([b"", b"{", b"\xff\n", b"[]\n"]) if path.name == JOURNAL else b""
        path.write_bytes(data[: draw.randrange(len(data))] + garbage)
        found = list(begin(torn).records)
        assert found == NAMES[: len(found)]
        assert (torn / "sound.bin").stat().st_size == 1600 * len(found)
        assert go_on(torn) == expected


def test_bytes_that_never_reached_the_disk_are_noticed(tmp_path, expected):
    folder = tmp_path / "work"
    journal = begin(folder)
    for i, name in enumerate(NAMES[:5]):
        journal.add(name, decoded(i))
    part = journal.records["clip-3"].parts["sound"]
    lost = tmp_path / "lost"
    shutil.copytree(folder, lost)
    with (lost / "sound.bin").open("r+b") as handle:  # of the right length, but never written
        handle.seek(part.offset)
        handle.write(bytes(part.bytes))
    assert list(begin(lost).records) == NAMES[:3]
    assert go_on(lost) == expected


def test_what_is_known_to_be_on_the_disk_is_not_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SYNC", 0.0)
    journal = begin(tmp_path / "work")
    for i, name in enumerate(NAMES):
        journal.add(name, decoded(i))
    journal.close()
    markers = [json.loads(line).get("synced") for line in (tmp_path / "work" / JOURNAL).open()]
    assert markers[-1] == len(NAMES)
    assert len([marker for marker in markers if marker]) > 1
    monkeypatch.setattr(module.hashlib, "sha256", None)
    assert list(begin(tmp_path / "work").records) == NAMES


@pytest.mark.parametrize("changed", [{"recipe": "s"}, {"decoders": {"numpy": "3"}}])
def test_work_for_another_purpose_is_discarded_and_that_is_said(tmp_path, changed):
    journal = begin(tmp_path / "work")
    journal.add("clip-0", decoded(0))
    journal.close()
    words = []
    again = Journal(tmp_path / "work", {**PURPOSE, **changed}, MODALITIES, words.append)
    assert again.records == {}
    assert again.size == 0
    assert words == [f"the work that was begun is discarded: it was for another {next(iter(changed))}"]


def test_clips_that_were_done_again_or_are_not_wanted_any_more_leave_no_bytes(tmp_path, expected):
    folder = tmp_path / "work"
    journal = begin(folder)
    for i in (3, 0, 1):
        journal.add(NAMES[i], decoded(i, salt=1))
    journal.add("gone", decoded(8))
    journal.add("bad", Decoded([], flaws=[Flaw("sound", "cut short", "", True)]))
    for i in (6, 2, 1, 0, 3):
        journal.add(NAMES[i], decoded(i))
    journal.close()
    assert go_on(folder) == expected
    again = begin(folder)
    assert set(again.records) == {*NAMES, "bad"}
    assert go_on(folder) == expected


@pytest.mark.parametrize("stop", range(12))
def test_arranging_may_be_interrupted_at_any_step(tmp_path, expected, monkeypatch, stop):
    folder = tmp_path / "work"
    journal = begin(folder)
    for i in (4, 2, 6, 0, 1, 3, 5):
        journal.add(NAMES[i], decoded(i))
    steps = iter(range(100))

    def interrupted(function):
        def step(*arguments, **more):
            if next(steps) == stop:
                raise KeyboardInterrupt
            return function(*arguments, **more)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(module, "_copy", interrupted(module._copy))
        patch.setattr(module, "write_text", interrupted(module.write_text))
        patch.setattr(Path, "replace", interrupted(Path.replace))
        with pytest.raises(KeyboardInterrupt):
            journal.arrange(NAMES)
    # Those that follow find everything, and stray files are gone.
    assert sorted(begin(folder).records) == NAMES
    assert {path.name for path in folder.iterdir()} == {JOURNAL, *expected}
    assert go_on(folder) == expected


def test_a_full_disk_keeps_what_was_done(tmp_path, expected, monkeypatch):
    folder = tmp_path / "work"
    journal = begin(folder)
    for i, name in enumerate(NAMES[:4]):
        journal.add(name, decoded(i))
    write_all = module.write_all

    def full(handle, data):
        write_all(handle, memoryview(data)[:7])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("inforeg_cli.data.writer.write_all", full)
        with pytest.raises(OSError, match="No space"):
            journal.add(NAMES[4], decoded(4))
        patch.setattr(module, "write_all", full)
        with pytest.raises(OSError, match="No space"):
            journal.close()
    assert list(begin(folder).records) == NAMES[:4]
    assert go_on(folder) == expected
