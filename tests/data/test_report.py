"""The report names every clip that cannot be used, whatever its name, and the error stays short."""

import csv
from pathlib import Path

import pytest

from inforeg_cli.data.preparing.report import report_path, unusable, write_report
from inforeg_cli.data.sources import Clip, Failure

REPORT = Path("reports/prepare-report.csv")


def failure(i: int, what: str = "no such file", modality: str = "sound", missing: bool = True, detail: str = ""):
    clip = Clip(f"clip-{i}", {}, {}, where=f"line {i + 2}", named={"sound": f"wav/{i}.wav"})
    return Failure(clip, modality, what, detail, missing)


def test_the_report_lies_beside_the_store(tmp_path):
    assert report_path(tmp_path / "prepared") == tmp_path / "prepare-report.csv"
    assert report_path(tmp_path / "mine") == tmp_path / "mine.prepare-report.csv"


def test_one_line_a_failure_and_no_file_without_any(tmp_path):
    odd = Failure(Clip('a "quoted", id', {}, {}, named={"face": "b\udcff\n.npy"}), "face", "empty", "0 of 1", False)
    path = write_report(tmp_path / "prepared", [failure(0), failure(0, "cut short", "face"), odd])
    with path.open(newline="", encoding="utf-8") as handle:
        assert list(csv.reader(handle)) == [
            ["clip", "modality", "file", "reason", "detail"],
            ["clip-0", "sound", "wav/0.wav", "no such file", ""],
            ["clip-0", "face", "", "cut short", ""],
            ['a "quoted", id', "face", "b\\udcff\n.npy", "empty", "0 of 1"],
        ]
    assert write_report(tmp_path / "prepared", []) == path
    assert list(tmp_path.iterdir()) == []


def test_a_few_are_told_one_by_one():
    error = unusable("tiny", [failure(0), failure(0, "cut short", "face", detail="1 of 2")], 1234, REPORT, False)
    assert error.exit_code == 1
    assert str(error).splitlines() == [
        "tiny: 1 clip cannot be used; 1,234 are stored and kept for the next call",
        "  line 2, sound wav/0.wav: no such file",
        "  line 2, face: cut short (1 of 2)",
        f"  all of them: {REPORT}",
        "  mend the files and call again, or leave these clips out with --allow-missing",
    ]


@pytest.mark.parametrize("reasons", [3, 16, 17, 300])
def test_many_are_counted_by_reason_in_twenty_lines_at_most(reasons):
    failures = [failure(i, f"reason {i % reasons:03}") for i in range(600)]
    lines = str(unusable("tiny", failures, 1, REPORT, False)).splitlines()
    assert lines[0] == "tiny: 600 clips cannot be used; 1 is stored and kept for the next call"
    assert f"{-(-600 // reasons)} times: reason 000: line 2, sound wav/0.wav; " in lines[1]
    assert str(REPORT) in lines[-2]
    assert "--allow-missing" in lines[-1]
    assert len(lines) == min(reasons, 16) + 3
    if reasons > 16:
        assert lines[-3] == f"  ... and {reasons - 15} reasons more"


def test_what_to_do_depends_on_what_may_be_left_out():
    mixed = [failure(0), failure(1, "NaN", missing=False)]
    assert str(unusable("tiny", mixed, 5, REPORT, False)).endswith(
        "mend the files and call again; --allow-missing leaves out what is absent or unreadable"
    )
    assert str(unusable("tiny", mixed[1:], 5, REPORT, True)).endswith(
        "mend the files and call again: --allow-missing leaves out only what is absent or unreadable"
    )
