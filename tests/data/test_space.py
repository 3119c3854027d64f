"""Disks that are too small: told before the work where that can be known, and nothing lost where it cannot."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from plan_factory import Heard, Impatient, carry_out, left_in, make_plan, same_bytes

from inforeg_cli.data.preparing.space import check_space, estimate
from inforeg_cli.data.store import Modality
from inforeg_cli.errors import InforegError

CLIPS = 40


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shared") / "raw"
    make_plan(folder, CLIPS)
    return folder


@pytest.fixture(scope="module")
def whole(raw) -> Path:
    return carry_out(make_plan(raw, CLIPS), raw.parent / "whole").path


def test_the_estimate_is_near_what_is_written_and_exact_for_fixed_shapes(raw, whole, tmp_path):
    plan = make_plan(raw, CLIPS)
    written = sum(path.stat().st_size for path in whole.glob("*.bin"))
    assert estimate(plan) == pytest.approx(written, rel=0.05)
    del plan.size
    plan.modalities = {name: modality for name, modality in plan.modalities.items() if modality.shape}
    assert estimate(plan) == written - (whole / "path.bin").stat().st_size


def test_no_space_is_told_before_anything_is_decoded(raw, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(InforegError, match=r"would need [0-9.]+ kB more, and the disk has 1.0 kB left") as caught:
        carry_out(make_plan(raw, CLIPS), tmp_path / "out")
    assert "--frames" not in str(caught.value)
    assert left_in(tmp_path) == set()


@pytest.mark.parametrize(("codec", "told"), [("raw", True), ("jpeg", False)])
def test_raw_frames_that_do_not_fit_name_the_flag(raw, tmp_path, codec, told):
    plan = make_plan(raw, CLIPS, modalities={"video": Modality("video", np.dtype("u1"), None, codec)})
    plan.size = 10**18
    with pytest.raises(InforegError, match=r"would need 1000000000\.0 GB more, and the disk has") as caught:
        check_space(plan, tmp_path / "out", 0)
    assert ("--frames jpeg" in str(caught.value)) is told


def test_work_that_is_done_counts_as_space(raw, whole, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        carry_out(make_plan(raw, CLIPS), tmp_path / "out", listener=Impatient(20))
    needed = sum(path.stat().st_size for path in whole.glob("*.bin"))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": int(0.6 * needed)})())
    assert same_bytes(carry_out(make_plan(raw, CLIPS), tmp_path / "out").path, whole)


FULL = """
import json, resource, sys
sys.path[:] = json.loads(sys.argv[1])
from pathlib import Path
from plan_factory import carry_out, make_plan
from inforeg_cli.errors import InforegError
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
try:
    carry_out(make_plan(Path(sys.argv[2]), 40), Path(sys.argv[3]), workers=2)
except InforegError as error:
    print(error)
"""


def test_a_disk_that_fills_up_keeps_what_was_done(raw, whole, tmp_path):
    command = [sys.executable, "-c", FULL, json.dumps(sys.path), str(raw), str(tmp_path / "out")]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert said.stderr == ""
    assert f"cannot prepare {tmp_path / 'out'}: File too large" in said.stdout
    assert "what was done is kept, and the same call goes on from there" in said.stdout
    assert said.stdout.count("\n") == 1
    heard = Heard()
    store = carry_out(make_plan(raw, CLIPS), tmp_path / "out", listener=heard)
    assert heard.progress[0][0] == 20_000 // 1600
    assert same_bytes(store.path, whole)
