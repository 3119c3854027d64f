"""Evaluations in a run's folder: merged measure by measure, and never shown of another checkpoint."""

import json
import os
import shutil

import pytest

from inforeg_cli import evaluation_record as record
from inforeg_cli.errors import InforegError


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "best.pt").write_bytes(b"weights")
    return folder


def write(run, data="d1", **measures):
    return record.write(run, "test", "best", record.about(run / "best.pt", data), measures)


def test_a_measure_is_replaced_and_the_others_stay(run):
    path = write(run, accuracy={"value": 1}, dynamics={"epochs": 3})
    assert path.name == "evaluation-test-best.json"
    write(run, accuracy={"value": 2})
    found = record.read(run, "test", "best")
    assert found["accuracy"] == {"value": 2} and found["dynamics"] == {"epochs": 3}
    assert found["about"]["inforeg"] and record.read(run, "val", "best") is None


def test_of_a_retrained_run_nothing_is_shown_or_merged(run):
    write(run, accuracy={"value": 1}, dynamics={})
    (run / "best.pt").write_bytes(b"Weights")
    os.utime(run / "best.pt", ns=(1, 1))
    assert record.read(run, "test", "best") is None
    write(run, accuracy={"value": 2})
    assert {*record.read(run, "test", "best")} == {"about", "accuracy"}
    (run / "best.pt").unlink()
    assert record.read(run, "test", "best") is None


def test_of_other_data_nothing_is_merged(run):
    write(run, accuracy={"value": 1})
    write(run, data="d2", dynamics={})
    assert {*record.read(run, "test", "best")} == {"about", "dynamics"}


def test_a_copied_run_keeps_its_evaluation(run):
    write(run, accuracy={"value": 1})
    copy = run.parent / "copy"
    shutil.copytree(run, copy)
    os.utime(copy / "best.pt", ns=(5, 5))
    assert record.read(copy, "test", "best")["accuracy"] == {"value": 1}


def test_one_of_another_format_is_made_again(run):
    path = write(run, accuracy={"value": 1})
    found = json.loads(path.read_text())
    found["about"]["format"] += 1
    path.write_text(json.dumps(found))
    assert record.read(run, "test", "best") is None


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"about": 3}', '{"about": {"format": 1}}'])
def test_a_damaged_one_is_named_and_can_be_replaced(run, text):
    path = record.path_of(run, "test", "best")
    path.write_text(text)
    with pytest.raises(InforegError, match=r"evaluation-test-best\.json is damaged"):
        record.read(run, "test", "best")
    write(run, accuracy={"value": 1})
    assert record.read(run, "test", "best")["accuracy"] == {"value": 1}
