"""`inforeg bench`: which parts it measures, with what, and what it refuses."""

import json

import pytest

from inforeg_cli.benchmarks import around, data, steps, whole
from inforeg_cli.benchmarks.turns import Figures


@pytest.fixture
def asked(monkeypatch):
    """What was asked for, in order, in place of measuring it."""
    calls = []

    def table(*call):
        calls.append(call)
        return Figures(call[0], ("what", "turns"), [(call[0], call[-1])])

    monkeypatch.setattr(steps, "bench_steps", lambda name, count, turns, device: table("steps", name, count, turns))
    monkeypatch.setattr(whole, "bench_whole", lambda count, turns, device: table("whole", count, turns))

    monkeypatch.setattr(around, "bench_around", lambda turns, device: table("around", turns))

    def bench_data(parts, clips, turns):
        for part in ("prepare", "reading"):
            if part in parts:
                yield table(part, clips, turns)

    monkeypatch.setattr(data, "bench_data", bench_data)
    return calls


def test_everything_by_default(inforeg, asked):
    code, out, _ = inforeg("bench")
    assert code == 0 and "prepare" in out
    assert asked == [
        ("steps", "cnn", 2, 30), ("steps", "cnn", 3, 30), ("steps", "resnet18", 2, 30), ("steps", "resnet18", 3, 30),
        ("whole", 2, 3), ("whole", 3, 3), ("prepare", 400, 3), ("reading", 400, 3), ("around", 3),
    ]  # fmt: skip


def test_one_part_with_options(inforeg, asked):
    code, out, _ = inforeg(
        "bench", "--part", "steps", "--encoder", "cnn", "--modalities", "4", "--turns", "7", "--format", "json"
    )
    assert code == 0 and asked == [("steps", "cnn", 4, 7)]
    assert json.loads(out) == [{"what": "steps", "turns": 7}]
    asked.clear()
    assert inforeg("bench", "--part", "reading", "--clips", "16")[0] == 0
    assert asked == [("reading", 16, 3)]


@pytest.mark.parametrize(
    "wrong",
    [("--turns", "2"), ("--clips", "15"), ("--modalities", "1"), ("--encoder", "mlp"), ("--part", "some")],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused(inforeg, asked, wrong):
    code, _, err = inforeg("bench", *wrong)
    assert code == 2 and wrong[0] in err and asked == []
