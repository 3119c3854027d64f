"""Subsets are what the model says with modalities absent, however few passes are taken; contributions follow."""

import numpy as np
import pytest
import torch
from kinds_factory import make_kinds

from inforeg_cli.data.batches import Clips, fit_transforms
from inforeg_cli.engine.build import build_model
from inforeg_cli.engine.evaluate import predict
from inforeg_cli.errors import Misuse
from inforeg_cli.evaluation.subsets import MOST_MODALITIES, subsets_of
from inforeg_cli.resolve import resolve

CPU = torch.device("cpu")
SMALL = {"name": "cnn", "channels": [4, 8]}
CHANGES = [
    {"fusion": {"name": "concat"}},
    {"fusion": {"name": "sum"}},
    {"fusion": {"name": "gated", "dim": 16}},
    {"fusion": {"name": "film"}},
    {"method": "uniform"},
    {"method": "greedy"},
]


def parts_of(store, **changes):
    experiment = resolve(changes, store)
    transforms, model = build_model(experiment, store, CPU)
    fit_transforms(transforms, store, store.split("split", "train"))
    return model, Clips(store, transforms, "label", CPU)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return make_kinds(tmp_path_factory.mktemp("stores") / "kinds", "sound", "scene", "series", "words")


def encoders():
    return {"sound": SMALL, "scene": SMALL, "series": {"dim": 8}, "words": {"dim": 8}}


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_every_subset_is_what_the_model_says_with_the_others_absent(changes, kinds):
    model, clips = parts_of(kinds, encoders=encoders(), **changes)
    indices = kinds.split("split", "test")
    found = subsets_of(model.train(), clips, indices, 5)
    assert model.training
    assert found.log_probabilities.shape == (16, len(indices), 3) and found.log_probabilities.dtype == np.float32
    model.eval()
    with torch.no_grad():
        for code, values in enumerate(found.log_probabilities):
            absent = frozenset(model.modalities) - frozenset(found.present(code))
            expected = [
                model(batch.inputs, batch.lengths, absent=absent).fused.log_softmax(dim=-1)
                for batch in clips.batches(torch.from_numpy(indices), 5)
            ]
            assert np.allclose(values, torch.cat(expected).numpy(), atol=1e-5)
    assert np.array_equal(found.log_probabilities[-1], predict(model, clips, indices, 5).log_probabilities["fused"])
    assert found.target.tolist() == kinds.labels("label")[indices].tolist()


def test_each_encoder_sees_the_clips_once_and_nothing_once(kinds):
    model, clips = parts_of(kinds, encoders=encoders())
    calls = []
    for name, encoder in model.encoders.items():
        encoder.register_forward_hook(lambda *_, name=name: calls.append(name))
    subsets_of(model, clips, np.arange(30), 10)
    assert {name: calls.count(name) for name in model.modalities} == dict.fromkeys(model.modalities, 3 + 1)


@pytest.mark.parametrize("modalities", [1, 2, 3])
def test_contributions_lead_from_the_empty_score_to_the_full_one(modalities, make_store):
    store = make_store(modalities=modalities)
    model, clips = parts_of(store)
    found = subsets_of(model, clips, np.arange(60), 16)
    scores = predict(model, clips, np.arange(60), 16).scores()
    contribution, rows = found.contribution(), found.missing()
    assert rows[0] == {
        "present": list(store.modalities), "accuracy": scores["accuracy"], "macro_f1": scores["macro_f1"],
        "log_likelihood": -scores["loss"],
    }  # fmt: skip
    assert [len(row["present"]) for row in rows] == sorted((len(row["present"]) for row in rows), reverse=True)
    assert len({tuple(row["present"]) for row in rows}) == 2**modalities and rows[-1]["present"] == []
    for score in ("accuracy", "log_likelihood"):
        assert contribution["full"][score] == rows[0][score] and contribution["empty"][score] == rows[-1][score]
        total = sum(contribution["shapley"][score].values())
        assert abs(total - (rows[0][score] - rows[-1][score])) < 1e-12
        assert list(contribution["shapley"][score]) == list(store.modalities)
        index = contribution["imbalance"][score]
        assert index is None if modalities == 1 else index is None or 0 <= index <= 1


def test_more_modalities_than_subsets_can_be_scored_are_refused_in_one_line(make_store):
    model, clips = parts_of(make_store(modalities=MOST_MODALITIES + 1))
    with pytest.raises(Misuse, match=r"6 modalities at most, and this run has 7.*--only") as error:
        subsets_of(model, clips, np.arange(4), 4)
    assert "\n" not in str(error.value)


def test_six_modalities_are_scored(make_store):
    model, clips = parts_of(make_store(modalities=MOST_MODALITIES))
    assert len(subsets_of(model, clips, np.arange(12), 12).missing()) == 64
