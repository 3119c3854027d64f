"""Curves of damage: without any they are the clean score to the last bit, for every kind of modality."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from kinds_factory import make_kinds
from test_subsets import CPU, SMALL, parts_of

from inforeg_cli.data import batches
from inforeg_cli.data.sources import Clip
from inforeg_cli.data.store import Modality, Store
from inforeg_cli.data.writer import write_store
from inforeg_cli.engine.evaluate import predict
from inforeg_cli.engine.launch import train
from inforeg_cli.evaluation import robustness
from inforeg_cli.evaluation.assess import Assessment
from inforeg_cli.evaluation.damage import ladders_of
from inforeg_cli.evaluation.robustness import area, damage_curves
from inforeg_cli.evaluation.subject import open_subject
from inforeg_cli.resolve import resolve
from inforeg_cli.run_folder import RunFolder

#: The strength that is none, where it is not 0; no quality of JPEG is.
NONE = {"dB": float("inf"), "of Nyquist": 1.0, "quality": None}
DAMAGES = {
    "sound": ["noise", "dropped", "low-pass"],
    "picture": ["noise", "blur", "occlusion", "jpeg"],
    "scene": ["noise", "blur", "occlusion", "jpeg"],
    "film": ["noise", "blur", "occlusion", "jpeg"],
    "flow": ["noise", "still"],
    "series": ["noise", "dropped"],
    "words": ["dropped", "shuffled"],
}
SETTINGS = {
    "encoders": dict.fromkeys(("sound", "picture", "scene", "film", "flow"), SMALL)
    | {name: {"dim": 8} for name in ("series", "words")},
    "inputs": {"scene": {"crop": True, "flip": True}, "film": {"frames": 2}, "series": {"normalise": "none"}},
}


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory):
    return make_kinds(tmp_path_factory.mktemp("stores") / "every", *DAMAGES)


@pytest.fixture(scope="module")
def parts(every_kind):
    model, clips = parts_of(every_kind, **SETTINGS)
    with torch.no_grad():  # so that a change of the inputs shows in the answers of an untrained model
        for parameter in model.fusion.parameters():
            parameter.mul_(30)
    return model, clips


def curves_of(store, parts, size=5, **options):
    test, train = store.split("split", "test"), store.split("split", "train")
    return damage_curves(*parts, store, test, train, size, **options)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_kind_is_damaged_in_its_ways_and_begins_with_the_clean_score(precision, every_kind, parts):
    found = curves_of(every_kind, parts, precision=precision)
    clean = predict(*parts, every_kind.split("split", "test"), 5, precision=precision).scores()
    assert {name: list(curves) for name, curves in found.items()} == DAMAGES
    for curves in found.values():
        for name, curve in curves.items():
            assert (curve["accuracy"][0], -curve["log_likelihood"][0]) == (clean["accuracy"], clean["loss"])
            assert curve["strengths"][0] is None and None not in curve["strengths"][1:]
            assert len(curve["strengths"]) == len(curve["accuracy"]) == len(curve["log_likelihood"]) == 6
            assert len(set(curve["log_likelihood"])) > 2, name
            assert 0 <= curve["area"] <= 1 and curve["label"]
            assert curve["relative_area"] == pytest.approx(curve["area"] / clean["accuracy"])
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("resident", [True, False], ids=["resident", "streamed"])
def test_damage_of_strength_zero_is_the_clean_score_to_the_last_bit(resident, every_kind, parts, monkeypatch):
    def at_zero(*of):
        none = {ladder: NONE.get(ladder.unit, 0.0) for ladder in ladders_of(*of)}
        return [replace(ladder, strengths=(strength,)) for ladder, strength in none.items() if strength is not None]

    model, clips = parts
    if not resident:
        monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
        clips = batches.Clips(every_kind, clips.transforms, "label", clips.device)
    monkeypatch.setattr(robustness, "ladders_of", at_zero)
    clean = predict(model, clips, every_kind.split("split", "test"), 5).scores()
    for name, curves in curves_of(every_kind, (model, clips)).items():
        assert len(curves) == len([damage for damage in DAMAGES[name] if damage != "jpeg"])
        for curve in curves.values():
            assert curve["accuracy"] == [clean["accuracy"]] * 2
            assert curve["log_likelihood"] == [-clean["loss"]] * 2


def test_damage_belongs_to_the_clip_and_the_seed(every_kind, parts):
    first = curves_of(every_kind, parts)
    assert curves_of(every_kind, parts) == first
    for name, curves in curves_of(every_kind, parts, size=12).items():  # other batches
        for damage, curve in curves.items():
            assert np.allclose(curve["log_likelihood"], first[name][damage]["log_likelihood"], atol=1e-4)
    other = curves_of(every_kind, parts, seed=1, modalities=["sound", "words"])
    assert list(other) == ["sound", "words"]
    assert other["sound"]["noise"]["log_likelihood"][1:] != first["sound"]["noise"]["log_likelihood"][1:]
    assert other["words"]["dropped"]["log_likelihood"][1:] != first["words"]["dropped"]["log_likelihood"][1:]


def test_encoders_that_exchange_all_see_the_damage(every_kind):
    names = ("sound", "picture", "words")
    model, clips = parts_of(
        every_kind, modalities=list(names), method="greedy",
        encoders={name: SETTINGS["encoders"][name] for name in names},
    )  # fmt: skip
    found = curves_of(every_kind, (model, clips))
    clean = predict(model, clips, every_kind.split("split", "test"), 5).scores()
    assert found["sound"]["noise"]["log_likelihood"][0] == -clean["loss"]
    calls = []
    model.encoders["picture"].stages.register_forward_hook(lambda *_: calls.append(1))
    model.encoders["words"].register_forward_hook(lambda *_: calls.append(1))
    curves_of(every_kind, (model, clips), modalities=["sound"])
    assert len(calls) >= 3 * (1 + 3 * 5)  # 3 batches, whole and at each strength


def test_damage_does_not_lose_digits_with_the_model(every_kind, parts):
    _, clips = parts
    rows, train = torch.arange(8), every_kind.split("split", "train")
    for name in DAMAGES:
        ((raw, extent),) = clips.stored(name, rows, 8)
        for ladder in ladders_of(every_kind, name, train, CPU):
            exact = ladder.on(raw, extent, robustness.Chance(rows, (0,)))(ladder.strengths[1])[0]
            with torch.autocast("cpu", torch.bfloat16):
                found = ladder.on(raw, extent, robustness.Chance(rows, (0,)))(ladder.strengths[1])[0]
            assert torch.equal(found, exact), (name, ladder.name)


def test_noise_is_in_units_of_each_dimensions_deviation_in_train(tmp_path):
    """One that is exactly 1, as in features that somebody has standardised, is no exception; what does not vary takes none."""
    deviations = torch.tensor([1.0, 0.0, 0.25])
    with write_store(
        tmp_path / "store",
        {"vector": Modality("features", np.dtype("<f4"), (3,))},
        name="vectors",
        source="manifest",
        recipe_digest="0" * 64,
    ) as writer:
        for clip in range(8):
            vector = 3 + (-1) ** clip * deviations.numpy()
            writer.add(
                Clip(f"{clip}", {"label": f"{clip % 2}"}, {"split": "train" if clip < 6 else "test"}),
                {"vector": vector},
            )
    store = Store.open(tmp_path / "store")
    noise = ladders_of(store, "vector", store.split("split", "train"), CPU)[0].damage
    found = noise(torch.zeros(4000, 3), None, robustness.Chance(torch.arange(4000), (0,)))(2.0)[0]
    assert found.std(dim=0).numpy() == pytest.approx(2 * deviations.numpy(), rel=0.05)


@pytest.mark.parametrize("changes", [{"method": "g-blending"}, {"inputs": {"vector": {"normalise": "none"}}}], ids=str)
def test_damage_is_the_same_for_every_run(changes, make_store, tmp_path, monkeypatch):
    """Whatever its method holds out of train, and however it normalises."""
    store, taken = make_store(), []
    monkeypatch.setattr(robustness, "ladders_of", lambda *of: taken.append(ladders_of(*of)) or taken[-1])
    for name, settings in (("plain", {}), ("changed", changes)):
        folder = tmp_path / "runs" / name
        train(resolve({"epochs": 1, **settings}, store), store, RunFolder(folder), CPU)
        Assessment(open_subject(folder, "test", "best", CPU), folder.parent).measure("damage")
    raw, chance = torch.zeros(4, 6), robustness.Chance(torch.arange(4), (0,))
    vectors = [of for of in taken if of[-1].unit == "of the dimensions"]
    assert len(vectors) == 2
    for first, second in zip(*vectors, strict=True):
        assert torch.equal(*(ladder.damage(raw, None, chance)(0.5)[0] for ladder in (first, second)))


def test_the_area_is_a_mean_over_equal_steps():
    assert area([0.7, 0.7, 0.7]) == pytest.approx(0.7)
    assert area([1.0, 0.0]) == pytest.approx(0.5)
    assert area([1.0, 0.2, 0.0, 0.0]) == pytest.approx((0.6 + 0.1 + 0.0) / 3)
