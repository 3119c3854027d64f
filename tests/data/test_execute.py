"""Carrying out a plan: killed at any moment it goes on, and the store is the same to the last byte."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import worker_functions as functions
from plan_factory import Heard, Impatient, carry_out, left_in, make_plan, same_bytes
from raw_factory import tone, write_wav

from inforeg_cli.data.preparing import execute as module
from inforeg_cli.data.preparing import journal
from inforeg_cli.data.preparing.report import Unusable
from inforeg_cli.data.problems import Problems
from inforeg_cli.data.store import work_folder
from inforeg_cli.errors import BadInput

CLIPS = 40


@pytest.fixture
def decoded(tmp_path, monkeypatch):
    """`decoded()`: the sounds of the clips that were decoded since it was last asked. Of those that only tell the size
    of the others no sound is read."""
    log = tmp_path / "decoded.txt"
    monkeypatch.setenv("DECODED", str(log))

    def read() -> list[str]:
        found = [name for name in log.read_text().split() if name.endswith(".wav")] if log.exists() else []
        log.unlink(missing_ok=True)
        return found

    return read


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shared") / "raw"
    make_plan(folder, CLIPS)
    return folder


@pytest.fixture(scope="module")
def whole(raw) -> Path:
    return carry_out(make_plan(raw, CLIPS), raw.parent / "whole").path


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_bytes(raw, whole, tmp_path, workers, decoded):
    heard = Heard()
    plan = make_plan(raw, CLIPS)
    store = carry_out(plan, tmp_path / "out", workers=workers, listener=heard, decode=functions.logged)
    assert same_bytes(store.path, whole)
    store.verify()
    assert sorted(decoded()) == sorted(f"{i}.wav" for i in range(CLIPS))
    assert heard.plan is plan
    assert heard.progress == [(done, CLIPS, 0) for done in range(CLIPS + 1)]
    assert store.attachment("face.vocabulary.json") == b"[]"
    assert left_in(tmp_path) == {"out"}


def test_an_interruption_keeps_what_was_done_and_nothing_is_done_twice(raw, tmp_path, decoded):
    whole, out = carry_out(make_plan(raw, 20), tmp_path / "whole").path, tmp_path / "out"
    for done in range(0, 18, 3):
        with pytest.raises(KeyboardInterrupt):
            carry_out(make_plan(raw, 20), out, listener=Impatient(3), decode=functions.logged)
        assert decoded() == [f"{i}.wav" for i in range(done, done + 3)]
        assert left_in(tmp_path) == {"whole", ".out.work"}
    heard = Heard()
    store = carry_out(make_plan(raw, 20), out, listener=heard, decode=functions.logged)
    assert decoded() == ["18.wav", "19.wav"]
    assert heard.words == ["going on: 18 of 20 clips were done by an earlier call"]
    assert heard.progress == [(18, 20, 0), (19, 20, 0), (20, 20, 0)]
    assert same_bytes(store.path, whole)


KILLED = """
import json, signal, sys
sys.path[:] = json.loads(sys.argv[1])
from pathlib import Path
import worker_functions as functions
from plan_factory import carry_out, make_plan
# A process started in the background of a script ignores Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
carry_out(make_plan(Path(sys.argv[2]), int(sys.argv[3])), Path(sys.argv[4]), workers=2, decode=functions.logged)
"""


@pytest.mark.parametrize("numbers", [[signal.SIGKILL] * 2, [signal.SIGINT]])
def test_killed_at_random_moments_it_goes_on_with_the_same_bytes(raw, whole, tmp_path, monkeypatch, decoded, numbers):
    monkeypatch.setenv("SECONDS", "0.01")
    command = [sys.executable, "-c", KILLED, json.dumps(sys.path), str(raw), str(CLIPS), str(tmp_path / "out")]
    draw, log = random.Random(0), tmp_path / "decoded.txt"
    for number in numbers:
        process, begun = subprocess.Popen(command, stderr=subprocess.DEVNULL), time.monotonic()
        while not log.exists() and process.poll() is None and time.monotonic() - begun < 20:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.15))
        process.send_signal(number)
        process.wait(20)
        time.sleep(0.1)  # its workers notice that it is gone
        decoded()
    monkeypatch.setenv("SECONDS", "0")
    heard = Heard()
    store = carry_out(make_plan(raw, CLIPS), tmp_path / "out", listener=heard, decode=functions.logged)
    assert same_bytes(store.path, whole)
    done = heard.progress[0][0] if heard.progress else CLIPS
    assert len(decoded()) == CLIPS - done
    assert left_in(tmp_path) == {"out"}


def killed_at(step: int, run) -> bool:
    """Whether `run`, in a process of its own, came as far as its step of this number, at which it is killed. A step is
    a call of what changes files."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    steps = iter(range(1, 10**6))

    def deadly(function):
        def call(*arguments, **more):
            if next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **more)

        return call

    try:
        for owner, name in (
            *((Path, method) for method in ("replace", "unlink", "mkdir", "write_bytes")),
            *((shutil, "rmtree"), (os, "fsync"), (os, "truncate"), (np, "save")),
            *((journal, "write_all"), (module, "finish"), (module, "write_report")),
        ):
            setattr(owner, name, deadly(getattr(owner, name)))
        journal._FLUSH = 0.0
        run()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def test_killed_at_every_step_it_goes_on_with_the_same_bytes(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    whole = carry_out(make_plan(raw), tmp_path / "whole").path
    step = 0
    while True:
        step += 3  # of which some write the clips and some finish
        if step % 2:
            shutil.rmtree(out, ignore_errors=True)
        else:  # an old store stands there
            shutil.copytree(whole, out, dirs_exist_ok=True)
        if not killed_at(step, lambda: carry_out(make_plan(raw), out)):
            break
        assert not out.exists() or same_bytes(out, whole)
        assert same_bytes(carry_out(make_plan(raw), out).path, whole)
        assert not work_folder(out).exists()
        for left in tmp_path.glob(".out.*.old"):
            shutil.rmtree(left)
    assert step > 40


def test_killed_at_every_step_while_a_mended_clip_takes_its_place(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    whole = carry_out(make_plan(raw), tmp_path / "whole").path
    sound = (raw / "wav" / "2.wav").read_bytes()
    (raw / "wav" / "2.wav").write_bytes(b"no sound")
    with pytest.raises(Unusable):
        carry_out(make_plan(raw), out)
    (raw / "wav" / "2.wav").write_bytes(sound)
    shutil.copytree(work_folder(out), tmp_path / "begun")
    step = 0
    while True:
        step += 7
        for folder in (out, work_folder(out)):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "begun", work_folder(out))
        if not killed_at(step, lambda: carry_out(make_plan(raw), out)):
            break
        heard, finished = Heard(), out.exists()
        assert same_bytes(carry_out(make_plan(raw), out, listener=heard).path, whole)
        assert finished or not heard.progress or heard.progress[0][0] >= 7
    assert step > 25


def test_a_file_that_changed_is_decoded_again(tmp_path, decoded):
    raw, out = tmp_path / "raw", tmp_path / "out"
    make_plan(raw)
    sound = (raw / "wav" / "5.wav").read_bytes()
    (raw / "wav" / "5.wav").write_bytes(b"no sound")
    with pytest.raises(Unusable):
        carry_out(make_plan(raw), out, decode=functions.logged)
    assert len(decoded()) == 8
    write_wav(raw / "wav" / "1.wav", tone(777))
    with pytest.raises(Unusable):
        carry_out(make_plan(raw), out, decode=functions.logged)
    assert decoded() == ["1.wav"]
    (raw / "wav" / "5.wav").write_bytes(sound)
    store = carry_out(make_plan(raw), out, decode=functions.logged)
    assert decoded() == ["5.wav"]
    assert same_bytes(store.path, carry_out(make_plan(raw), tmp_path / "anew").path)


def test_work_for_other_modalities_is_discarded_and_other_labels_keep_it(tmp_path, decoded):
    raw, out = tmp_path / "raw", tmp_path / "out"
    make_plan(raw)
    (raw / "wav" / "5.wav").unlink()
    with pytest.raises(Unusable):
        carry_out(make_plan(raw), out, decode=functions.logged)
    assert len(decoded()) == 8
    with pytest.raises(Unusable):  # a manifest that was mended elsewhere
        carry_out(make_plan(raw, inputs="j" * 64), out, decode=functions.logged)
    assert decoded() == []
    heard = Heard()
    with pytest.raises(Unusable):
        carry_out(make_plan(raw, decoders={"numpy": "3"}), out, decode=functions.logged, listener=heard)
    assert heard.words == ["the work that was begun is discarded: it was for another decoders"]
    assert len(decoded()) == 8


def test_a_decoder_that_crashes_costs_its_clip_only(raw, tmp_path, monkeypatch, decoded):
    monkeypatch.setenv("DEADLY", "4.wav 30.wav")
    with pytest.raises(Unusable, match="2 clips cannot be used; 38 are stored") as caught:
        carry_out(make_plan(raw, CLIPS), tmp_path / "out", workers=2, decode=functions.logged)
    assert "line 6, sound+picture+face+path: decoding crashed the decoder (SIGSEGV)" in str(caught.value)
    assert sorted(decoded()) == sorted(f"{i}.wav" for i in range(CLIPS))
    store = carry_out(make_plan(raw, CLIPS), tmp_path / "out", allow_missing=True, decode=functions.logged)
    assert decoded() == []
    assert len(store) == 38
    assert store.dropped == {"sound+picture+face+path: decoding crashed the decoder": 2}


def test_a_plan_with_problems_is_refused(raw, tmp_path):
    problems = Problems()
    problems.add("line 3", "the label is empty")
    with pytest.raises(BadInput, match="1 problem; nothing was written"):
        carry_out(make_plan(raw, problems=problems), tmp_path / "out")
    assert left_in(tmp_path) == set()
