"""An experiment's settings: what is refused and how it is told, what layers over what, and what a run's id is of."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from inforeg_cli import presets
from inforeg_cli.config import Experiment
from inforeg_cli.data.store import Store
from inforeg_cli.errors import BadInput, Misuse
from inforeg_cli.methods import OGM
from inforeg_cli.resolve import resolve, restored
from inforeg_cli.settings import merge

OFFICIAL = {
    "method": {
        "name": "inforeg",
        "beta": 1.0,
        "score": "sum_p",
        "strength": {"vector": 0.95, "picture": 0.1, "series": 0.1},
    },
    "window": {"K": 0.05, "smooth": 10, "zero_padded": True, "warmup": "open", "leader": "vector"},
    "trace": {"reduction": "layer-mean", "after_adjust": True},
    "unimodal_losses": "slice",
}

#: Each of these can change the result.
MATTERS = [
    "seed=1", "epochs=51", "batch_size=32", "optimizer.lr=0.02", "optimizer.momentum=0", "optimizer.name=adamw",
    "optimizer.encoder_lr_factor=1.5", "schedule.name=cosine", "schedule.step_size=31", "method.alpha=0.31",
    "method.noise=true", "method.name=inforeg", "unimodal_losses=own", "unimodal_losses=slice", "window.when=0-9",
    "window.when=prime", "window.K=0.05", "window.smooth=2", "fusion.name=sum", "encoders.vector.dim=64",
    "encoders.picture.name=mlp", "inputs.picture.flip=true", "inputs.vector.normalise=none",
    "modalities=vector,series", "trace.reduction=layer-mean", "trace.after_adjust=true", "precision=bf16",
    "deterministic=true", "record.test_curve=false",
]  # fmt: skip


_made: list[Store] = []


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    """Three modalities: vector, picture, series. Made once: a store is read-only, and there are many tests."""
    if not _made:
        _made.append(make_store(modalities=3, clips=30))
    return _made[0]


def refusal(raw: Mapping[str, Any], store: Store) -> str:
    with pytest.raises(Misuse) as caught:
        resolve(raw, store)
    return str(caught.value)


def test_every_default_is_filled_in(store: Store) -> None:
    found = resolve({}, store)
    assert (found.dataset, found.data.scheme, found.data.label) == ("tiny", "split", "label")
    assert found.modalities == ("vector", "picture", "series")
    assert [found.encoders[name].name for name in found.modalities] == ["mlp", "cnn", "transformer"]
    assert [found.inputs[name].kind for name in found.modalities] == ["features", "image", "features"]
    assert (found.method.name, found.unimodal_losses, found.window.when, found.fusion.name) == (
        "joint",
        "none",
        "whole",
        "concat",
    )


def test_a_method_brings_its_window(store: Store) -> None:
    assert resolve({"method": "inforeg"}, store).window.when == "prime"
    assert resolve({"method": "inforeg", "window": {"K": 0.1}}, store).window.when == "prime"
    assert resolve({"method": "inforeg", "window": {"when": "0-9"}}, store).window.when == "0-9"
    assert resolve({"method": {"name": "ogm", "alpha": 0.8}}, store).window.when == "whole"


@pytest.mark.parametrize(
    ("raw", "path", "suggestion"),
    [
        ({"epoch": 3}, "epoch", "epochs"),
        ({"optimizer": {"name": "sgd", "momentun": 0.9}}, "optimizer.momentun", "momentum"),
        ({"window": {"wen": "prime"}}, "window.wen", "when"),
        ({"method": {"name": "ogm", "alfa": 1}}, "method.alfa", "alpha"),
        ({"encoders": {"picture": {"chanels": [3]}}}, "encoders.picture.chanels", "channels"),
        ({"inputs": {"vector": {"normalize": "none"}}}, "inputs.vector.normalize", "normalise"),
        ({"record": {"fischer": True}}, "record.fischer", "fisher"),
        ({"data": {"schema": "split"}}, "data.schema", "scheme"),
    ],
)
def test_an_unknown_key_is_one_line_with_its_path_and_a_suggestion(
    store: Store, raw: dict[str, Any], path: str, suggestion: str
) -> None:
    _, *lines = refusal(raw, store).splitlines()
    assert lines == [f"  {path}: there is no such setting; did you mean '{suggestion}'?"]


@pytest.mark.parametrize(
    "raw", [{"method": {"name": "joint", "alpha": 0.5}}, {"method": {"name": "inforeg", "noise": True}}]
)
def test_a_setting_of_another_method_is_not_suggested_to_itself(store: Store, raw: dict[str, Any]) -> None:
    name = next(key for key in raw["method"] if key != "name")
    message = refusal(raw, store)
    assert f"method.{name}" in message
    assert f"did you mean '{name}'" not in message


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"epochs": 0}, "epochs: Input should be greater than 0 (it is 0)"),
        ({"batch_size": 1}, "batch_size: Input should be greater than or equal to 2 (it is 1)"),
        ({"optimizer": {"name": "sdg"}}, "optimizer.name: 'sdg' is none of 'sgd', 'adamw'"),
        ({"optimizer": {"name": "sgd", "lr": float("nan")}}, "optimizer.lr: Input should be a finite number"),
        ({"fusion": {"name": "concatenate"}}, "fusion.name: 'concatenate' is none of 'concat', 'sum', 'gated', 'film'"),
        ({"encoders": {"picture": {"name": "vgg"}}}, "encoders.picture.name: 'vgg' is none of"),
        ({"window": {"when": "9-3"}}, "window.when: the range '9-3' is empty"),
        ({"window": {"when": "always"}}, "window.when: 'always' is no window"),
        ({"window": {"leader": "sound"}}, "window.leader 'sound' is none of the modalities vector, picture, series"),
        ({"window": {"when": "other"}, "record": {"trace": False}}, "window.when = 'other' needs traces"),
        ({"method": "ogn"}, "there is no method 'ogn'; did you mean 'ogm'?"),
        ({"method": {"name": "unifrom"}}, "did you mean 'uniform'?"),
        ({"method": "uniform", "unimodal_losses": "slice"}, "uniform is joint training with unimodal_losses = own"),
        ({"modalities": "vector,pictur"}, "tiny has no modality 'pictur'; did you mean 'picture'?"),
        ({"data": {"scheme": "splits"}}, "data.scheme: tiny has no 'splits'; did you mean 'split'?"),
        ({"data": {"label": "lable"}}, "data.label: tiny has no 'lable'; did you mean 'label'?"),
        ({"encoders": {"sound": {}}}, "encoders names sound, but tiny has vector, picture, series"),
        ({"inputs": {"vector": {"kind": "audio"}}}, "audio"),
        ({"window": "prime"}, "window.<setting>="),
    ],
)  # fmt: skip
def test_wrong_values_are_told_by_path(store: Store, raw: dict[str, Any], expected: str) -> None:
    assert expected in refusal(raw, store)


@pytest.mark.parametrize("fusion", ["gated", "film"])
def test_slices_need_logits_that_are_a_sum(store: Store, fusion: str) -> None:
    assert f"'{fusion}' does not give" in refusal({"unimodal_losses": "slice", "fusion": {"name": fusion}}, store)
    assert resolve({"unimodal_losses": "own", "fusion": {"name": fusion}}, store).unimodal_losses == "own"
    for additive in ("concat", "sum"):
        assert resolve({"unimodal_losses": "slice", "fusion": {"name": additive}}, store).unimodal_losses == "slice"


def test_several_problems_are_told_at_once(store: Store) -> None:
    raw = {"epochs": -1, "batch_sise": 8, "optimizer": {"name": "sgd", "lr": -1}, "window": {"K": "fast"}}
    with pytest.raises(BadInput) as caught:
        resolve(raw, store)
    told = {problem.split(":")[0] for problem in caught.value.problems}
    assert told == {"epochs", "batch_sise", "optimizer.lr", "window.K"}


@pytest.mark.parametrize(
    "raw",
    [
        {"method": 3},
        {"method": []},
        {"method": {"name": 3}},
        {"method": {"name": ["ogm"]}},
        {"modalities": 3},
        {"modalities": True},
        {"modalities": [1]},
        {"modalities": ""},
        {"modalities": []},
        {"optimizer": 3},
        {"data": "split"},
        {"inputs": []},
        {"inputs": {"vector": 3}},
        {"encoders": {"vector": 3}},
        {"encoders": {"vector": {"name": 3}}},
        {"window": 3},
        {"schedule": []},
        {"record": "all"},
        {"fusion": {"name": None}},
        {"unimodal_losses": True},
        {"method": {"name": "inforeg", "strength": "much"}},
        {"method": {"name": "inforeg", "strength": {"sound": 1.0}}},
    ],
    ids=str,
)
def test_nonsense_is_refused_in_words(store: Store, raw: dict[str, Any]) -> None:
    message = refusal(raw, store)
    assert 10 < len(message) < 400


@pytest.mark.parametrize(
    ("raw", "table", "key", "value"),
    [
        ({"optimizer": {"lr": 0.5}}, "optimizer", "lr", 0.5),
        ({"schedule": {"step_size": 7}}, "schedule", "step_size", 7),
        ({"fusion": {"name": "gated", "dim": 16}}, "fusion", "dim", 16),
        ({"method": {"name": "ogm", "alpha": 2}}, "method", "alpha", 2.0),
    ],
)
def test_one_setting_of_a_table_leaves_the_others_as_they_are(
    store: Store, raw: dict[str, Any], table: str, key: str, value: Any
) -> None:
    """Without a preset, too: `--lr` says nothing about which optimiser it is for."""
    assert getattr(getattr(resolve(raw, store), table), key) == value


def test_a_part_of_an_encoder_is_set_by_itself(store: Store) -> None:
    found = resolve({"encoders": {"picture": {"channels": [8, 16]}, "vector": {"name": "mlp", "dim": 9}}}, store)
    assert found.encoders["picture"].channels == (8, 16)
    assert (found.encoders["vector"].dim, found.encoders["vector"].name) == (9, "mlp")
    assert resolve({"encoders": {"picture": {"name": "mlp"}}}, store).encoders["picture"].name == "mlp"


def test_modalities_may_be_a_subset_in_the_recipes_order(store: Store) -> None:
    first = resolve({"modalities": "series, vector"}, store)
    assert first.modalities == ("vector", "series")
    assert set(first.encoders) == set(first.inputs) == {"vector", "series"}
    assert first == resolve({"modalities": ["vector", "series"]}, store)
    with_more = resolve({"modalities": ("series", "vector"), "encoders": {"picture": {"name": "mlp"}}}, store)
    assert with_more == first  # what a preset says of a modality that is left out does not matter


def test_resolving_leaves_the_global_generator_and_its_input_alone(store: Store) -> None:
    raw = {"method": "uniform", "window": {"K": 0.1}, "fusion": {"name": "concat"}}
    kept = json.dumps(raw)
    before = torch.get_rng_state()
    resolve(raw, store)
    resolve({"unimodal_losses": "slice"}, store)
    assert json.dumps(raw) == kept
    assert torch.equal(torch.get_rng_state(), before)


def test_a_split_without_clips_is_refused(make_store: Callable[..., Store]) -> None:
    assert "0 clips in the val split" in refusal({}, make_store(clips=9, classes=3))


def test_preset_then_set_then_flag() -> None:
    preset = {"epochs": 30, "batch_size": 16, "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.5}, "seed": 1}
    assigned = presets.from_assignments(["epochs=20", "optimizer.lr=0.2", "seed=2"])
    flags = {"seed": 3, "optimizer": {"lr": 0.3}}
    assert merge(merge(preset, assigned), flags) == {
        "epochs": 20, "batch_size": 16, "optimizer": {"name": "sgd", "lr": 0.3, "momentum": 0.5}, "seed": 3
    }  # fmt: skip


def test_another_name_is_another_thing() -> None:
    old = {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.5}, "epochs": 3}
    assert merge(old, {"optimizer": {"name": "adamw", "lr": 0.2}}) == {
        "optimizer": {"name": "adamw", "lr": 0.2},
        "epochs": 3,
    }
    assert merge(old, {"optimizer": {"name": "sgd", "lr": 0.2}})["optimizer"] == {
        "name": "sgd",
        "lr": 0.2,
        "momentum": 0.5,
    }
    assert merge({"method": {"name": "ogm", "alpha": 0.3}}, {"method": {"name": "inforeg"}}) == {
        "method": {"name": "inforeg"}
    }
    nested = merge(
        {"encoders": {"a": {"name": "cnn", "channels": [3]}}}, {"encoders": {"a": {"name": "mlp"}, "b": {"dim": 3}}}
    )
    assert nested == {"encoders": {"a": {"name": "mlp"}, "b": {"dim": 3}}}


def test_a_plain_word_is_the_name_of_a_table(store: Store) -> None:
    short = {"method": "ogm", "fusion": "sum", "optimizer": "adamw", "schedule": "cosine"}
    found = resolve(short, store)
    assert [getattr(found, key).name for key in short] == list(short.values())
    assert found == resolve({key: {"name": name} for key, name in short.items()}, store)


@pytest.mark.parametrize("first", ["ogm", {"name": "ogm"}])
@pytest.mark.parametrize("then", [{"alpha": 0.7}, {"name": "ogm", "alpha": 0.7}])
def test_a_name_and_then_a_setting(store: Store, first: Any, then: dict[str, Any]) -> None:
    found = resolve(merge({"method": first}, {"method": then}), store)
    assert (found.method.name, found.method.alpha) == ("ogm", 0.7)


@pytest.mark.parametrize("then", ["ogm", {"name": "ogm"}])
def test_the_same_name_again_keeps_what_was_set(store: Store, then: Any) -> None:
    found = resolve(merge({"method": {"name": "ogm", "alpha": 0.7}}, {"method": then}), store)
    assert found.method.alpha == 0.7


@pytest.mark.parametrize("then", ["inforeg", {"name": "inforeg"}])
def test_another_name_drops_what_was_set(store: Store, then: Any) -> None:
    found = resolve(merge({"method": {"name": "ogm", "alpha": 0.7}}, {"method": then}), store)
    assert found.method.name == "inforeg"


def test_merging_changes_neither_side() -> None:
    base, update = {"a": {"b": 1}, "c": 2}, {"a": {"d": 3}}
    merged = merge(base, update)
    merged["a"]["e"] = 4
    assert (base, update) == ({"a": {"b": 1}, "c": 2}, {"a": {"d": 3}})


def test_uniform_is_joint_with_own_heads(store: Store) -> None:
    short, long = resolve({"method": "uniform"}, store), resolve({"method": "joint", "unimodal_losses": "own"}, store)
    assert short == long
    assert short.id("data") == long.id("data")
    assert resolve({"method": {"name": "uniform"}, "unimodal_losses": "own"}, store) == long


@pytest.mark.parametrize(
    ("raw", "label", "baseline"),
    [
        ({}, "joint", None),
        ({"method": "uniform"}, "uniform", "joint"),
        ({"unimodal_losses": "slice"}, "joint+slice", "joint"),
        ({"window": {"when": "0-9"}}, "joint", None),
        ({"method": "ogm"}, "ogm", "joint"),
        ({"method": {"name": "ogm", "noise": True}}, "ogm-ge", "joint"),
        ({"method": "ogm", "unimodal_losses": "own"}, "ogm+own", "uniform"),
        ({"method": "ogm", "window": {"when": "prime"}}, "ogm@prime", "joint"),
        ({"method": "inforeg"}, "inforeg", "joint"),
        ({"method": "inforeg", "unimodal_losses": "own"}, "inforeg+own", "uniform"),
        (OFFICIAL, "inforeg+slice", "joint+slice"),
        ({"method": "inforeg", "window": {"when": "whole"}}, "inforeg@whole", "joint"),
        ({"method": "inforeg", "unimodal_losses": "own", "window": {"when": "0-9"}}, "inforeg+own@0-9", "uniform"),
    ],
)  # fmt: skip
def test_labels_and_baselines(store: Store, raw: dict[str, Any], label: str, baseline: str | None) -> None:
    found = resolve(raw, store)
    assert (found.label, found.baseline) == (label, baseline)


def test_what_runs_the_baseline(store: Store) -> None:
    assert resolve({}, store).is_baseline
    assert resolve({"method": "uniform"}, store).is_baseline
    assert not resolve({"method": "inforeg"}, store).is_baseline
    assert resolve({"method": {"name": "ogm", "noise": True}, "modalities": "vector"}, store).is_baseline


def test_the_id_does_not_depend_on_how_defaults_are_spelt(store: Store) -> None:
    plain = resolve({"method": "ogm"}, store)
    spelt = {
        "dataset": "tiny", "method": {"name": "ogm", "alpha": 0.3}, "modalities": ["series", "picture", "vector"],
        "optimizer": {"name": "sgd", "momentum": 0.9}, "batch_size": 64, "window": {"when": "whole"},
        "data": {"label": "label"},
        "encoders": {"vector": {"name": "mlp", "hidden": [256]}}, "inputs": {"picture": {"kind": "image"}},
    }  # fmt: skip
    assert resolve(spelt, store).id("data") == plain.id("data")
    assert resolve(plain.model_dump(mode="json"), store).id("data") == plain.id("data")
    ints = {"method": {"name": "inforeg", "strength": 1, "beta": 1}, "optimizer": {"name": "sgd", "lr": 1}}
    floats = {"method": {"name": "inforeg", "strength": 1.0, "beta": 1.0}, "optimizer": {"name": "sgd", "lr": 1.0}}
    assert resolve(ints, store).id("data") == resolve(floats, store).id("data")
    assert len(plain.id("data")) == 64


@pytest.mark.parametrize("assignment", MATTERS)
def test_the_id_changes_with_everything_that_can_change_the_result(store: Store, assignment: str) -> None:
    base = {"method": {"name": "ogm"}, "optimizer": {"name": "sgd"}, "schedule": {"name": "step"}}
    changed = resolve(merge(base, presets.from_assignments([assignment])), store)
    assert changed.id("data") != resolve(base, store).id("data")


def test_the_id_changes_with_the_data_and_the_methods_version(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = resolve({"method": "ogm"}, store)
    before = found.id("data")
    assert found.id("other") != before
    joint = resolve({}, store).id("data")
    monkeypatch.setattr(OGM, "version", OGM.version + 1)
    assert found.id("data") != before
    assert resolve({}, store).id("data") == joint


@pytest.mark.parametrize(
    "raw", [{}, {"method": "uniform"}, OFFICIAL, {"fusion": {"name": "film"}, "optimizer": {"name": "adamw"}}]
)
def test_a_saved_experiment_comes_back(store: Store, raw: dict[str, Any]) -> None:
    found = resolve(raw, store)
    saved = json.loads(json.dumps(found.model_dump(mode="json")))
    again = restored(saved, Path("run"))
    assert again == found
    assert again.id("data") == found.id("data")


def test_a_run_of_another_version_is_told_in_words(store: Store) -> None:
    saved = {**resolve({}, store).model_dump(mode="json"), "epochs": -1, "momentum": 0.3}
    with pytest.raises(BadInput, match="made by another version of inforeg") as caught:
        restored(saved, Path("runs/x"))
    assert {problem.split(":")[0] for problem in caught.value.problems} == {"epochs", "momentum"}


def test_an_experiment_cannot_be_changed(store: Store) -> None:
    found = resolve({}, store)
    with pytest.raises(ValueError, match="frozen"):
        found.epochs = 3
    assert isinstance(found, Experiment)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ({"name": "step", "step_size": 2, "gamma": 0.5}, [1, 1, 0.5, 0.5]),
        ({"name": "cosine"}, [1, 0.853553, 0.5, 0.146447]),
        ({"name": "constant"}, [1, 1, 1, 1]),
    ],
)
def test_schedules(store: Store, schedule: dict[str, Any], factors: list[float]) -> None:
    found = resolve({"schedule": schedule}, store).schedule
    assert [found.factor(epoch, 4) for epoch in range(4)] == pytest.approx(factors, abs=1e-6)


def test_one_modality_is_called_by_its_name_and_has_no_baseline(make_store):
    for method in ("joint", "uniform", "inforeg"):
        experiment = resolve({"method": method, "modalities": "picture"}, make_store())
        assert (experiment.label, experiment.baseline, experiment.is_baseline) == ("picture alone", None, True)
