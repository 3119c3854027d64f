"""The benchmark of training: that what it counts is what happens, and that everything is charged."""

import re

import pytest
import torch
from torch import nn

from inforeg_cli.benchmarks import steps, whole
from inforeg_cli.benchmarks.passes import Memory, Passes
from inforeg_cli.descriptions import descriptions
from inforeg_cli.numerics.traces import GradientTrace

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def figures():
    """By row, each column, of networks small enough for a test: an epoch of ten steps, of which a turn makes two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "SIZES", {"cnn": (8, 10, 2)})
        patch.setattr(steps, "EPOCH", 10)
        found = steps.bench_steps("cnn", 2, 3, CPU)
    return {row[0]: dict(zip(found.columns, row, strict=True)) for row in found.rows}


def test_passes_are_those_of_the_encoders_whoever_makes_them():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.LazyLinear(1))
    images = torch.zeros(5, 1, 8, 8)
    network(images)
    with Passes(channels=1) as counted:
        network(images).sum().backward()
        with torch.no_grad():
            network(images[:3])
        loss = network(images).sum()
        loss.backward(retain_graph=True)
        loss.backward()
    network(images).sum().backward()
    assert (counted.forwards, counted.backwards) == (13, 15)


def test_memory_is_that_of_the_tensors_alive_at_once():
    with Memory(CPU) as first:
        a = torch.zeros(1000)
        b = a + 1
        del b
        view, c = a.view(10, 100), a * 2
    assert first.peak == 2 * 4000
    with Memory(CPU) as second:
        nn.Linear(100, 10)(torch.zeros(7, 100)).sum().backward()
    assert second.peak >= 4 * (2 * 1010 + 7 * 100) and view.shape and c.shape  # weights, their gradients, the input


def test_every_row_makes_as_many_passes_as_its_method_says(figures):
    told = {one.name: re.match(r"(\d) forwards?, (\d) backwards?", one.cost).groups() for one in descriptions()}
    for row, found in figures.items():
        forwards, backwards = map(int, told.get(row.removesuffix(" again"), ("1", "1")))
        extra = {"pmr": 0.1, "agm": 0.1}.get(row, 0)  # prototypes of a tenth of train; one clip of zeros in ten
        assert found["forwards"] == pytest.approx(forwards + extra, abs=0.006), row
        assert found["backwards"] == pytest.approx(backwards + (extra if row == "agm" else 0), abs=0.006), row


def test_time_is_told_over_joints_and_over_the_baselines(figures):
    assert list(figures) == list(steps.rows(["a", "b"]))
    assert figures["joint"]["/ joint"] == 1 and all(row["ms"] > 0 for row in figures.values())
    assert {name for name, row in figures.items() if row["/ baseline"]} == set(steps.BASELINES)
    judged = {name for name, row in figures.items() if row["target"]}
    assert judged == {*steps.TARGETS, *steps.TARGETS_OF_TWO} and "agm" not in steps.TARGETS


def test_memory_beyond_joints(figures):
    encoder = 4 * sum(p.numel() for p in _encoders()) / 1e6
    assert figures["joint again"]["+ MB"] == pytest.approx(0, abs=0.1)
    assert figures["inforeg"]["+ MB"] >= round(encoder, 1) - 0.2
    assert figures["mmtm"]["+ MB"] > 0 and figures["agm"]["+ MB"] > 0


def test_what_comes_before_an_epoch_is_charged_to_its_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "EPOCH", 10)
    store = steps.images(tmp_path / "store", 2, 8, 40)
    settings = {"batch_size": 4, "encoders": {name: {"name": "cnn"} for name in store.modalities}}
    stepper = steps.Stepper(settings, store, tmp_path, CPU, 3)
    meter = iter([0, 100, 120, 180])  # begun, around the epoch's start, and after three steps
    assert stepper._charged(lambda: next(meter)) == (180 - 20) / 3 + 20 / 10


def test_every_turn_makes_the_steps_it_says_with_traces_as_in_training(tmp_path, monkeypatch):
    updates = []
    update = GradientTrace.update
    monkeypatch.setattr(GradientTrace, "update", lambda trace: (updates.append(1), update(trace)))
    store = steps.images(tmp_path / "store", 2, 8, 40)
    settings = {"batch_size": 4, "encoders": {name: {"name": "cnn"} for name in store.modalities}}
    stepper = steps.Stepper(settings, store, tmp_path, CPU, 3)
    assert stepper.turn() > 0 and stepper.turn() > 0
    assert len(updates) == 6


def test_whole_trainings_by_g_blending_make_the_passes_of_the_formula(monkeypatch):
    for name, value in (("EPOCHS", 2), ("STEPS", 5), ("BATCH", 20), ("SIDE", 8)):
        monkeypatch.setattr(whole, name, value)
    monkeypatch.setitem(whole.ROWS["g-blending, online"], "method", {"name": "g-blending", "estimate": "online"})
    found = {row[0]: dict(zip(whole.COLUMNS, row, strict=True)) for row in whole.bench_whole(2, 2, CPU).rows}
    for name, row in found.items():
        assert row["backwards / joint"] == pytest.approx(row["expected"], abs=0.05), name
    assert found["g-blending, offline"]["expected"] == pytest.approx(2.7)


def _encoders():
    from inforeg_cli.models.encoders import Cnn, build_encoder

    return [p for _ in range(2) for p in build_encoder(Cnn.Config(), (1, 8, 8)).parameters()]
