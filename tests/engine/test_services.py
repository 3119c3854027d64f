"""What methods may ask of the engine: features of train clips, and probes that change nothing and can be interrupted."""

import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent))
from test_fit import assert_same_bits, metrics, resolved, trained

from inforeg_cli import seeds
from inforeg_cli.data.batches import Clips
from inforeg_cli.data.sources import Clip
from inforeg_cli.data.store import Modality, Store
from inforeg_cli.data.writer import write_store
from inforeg_cli.engine import checkpoint, fit
from inforeg_cli.engine.build import build_model
from inforeg_cli.engine.evaluate import predict
from inforeg_cli.engine.fit import Training
from inforeg_cli.engine.guard import Diverged, Stopped, StopRequest
from inforeg_cli.engine.loop import Loop
from inforeg_cli.engine.services import Probing, training_splits
from inforeg_cli.errors import Misuse
from inforeg_cli.models.encoders import Cnn, Mlp, Transformer
from inforeg_cli.progress import Silent
from inforeg_cli.resolve import resolve
from inforeg_cli.run_folder import RunFolder

CPU = torch.device("cpu")
OFFLINE = {"method": "g-blending"}
ONLINE = {"method": {"name": "g-blending", "estimate": "online", "super_epoch": 2}}
both = pytest.mark.parametrize("settings", [OFFLINE, ONLINE], ids=["offline", "online"])


def prepared(settings: dict, store: Store, folder: Path, **changes) -> Training:
    return Training(resolved(settings, store, **changes), store, RunFolder(folder), CPU)


def grouped_store(path: Path, groups: int) -> Store:
    """Of 60 train clips in so many groups; val and test have groups of their own."""
    random = np.random.default_rng(0)
    described = {name: Modality("features", np.dtype("<f4"), (3,)) for name in ("vector", "vector1")}
    with write_store(path, described, name="grouped", source="manifest", recipe_digest="0" * 64) as writer:
        for clip in range(84):
            split = "train" if clip < 60 else "val" if clip < 72 else "test"
            group = f"g{clip // 3 % groups}" if split == "train" else split
            arrays = {name: random.normal(size=3).astype("<f4") for name in described}
            writer.add(Clip(f"{clip:03}", {"label": f"class-{clip % 3}"}, {"split": split}, group), arrays)
    return Store.open(path)


# The share of train that is held out.


def test_a_tenth_of_every_class_is_held_out_and_only_where_a_method_needs_it(make_store):
    store = make_store(clips=200)
    splits = [training_splits(resolve({**OFFLINE, "seed": seed}, store), store) for seed in (0, 1)]
    assert all(np.array_equal(splits[0][name], splits[1][name]) for name in splits[0])  # the recipe's seed, no run's
    train, held_out = splits[0]["train"], splits[0]["held_out"]
    assert sorted([*train, *held_out]) == list(store.split("split", "train"))
    assert np.array_equal(train, np.sort(train))
    labels = store.labels("label")
    for label in range(3):
        counts = [np.count_nonzero(labels[part] == label) for part in (train, held_out)]
        assert counts[1] == pytest.approx(sum(counts) / 10, abs=0.5)
    given = {"method": {"name": "g-blending", "weights": {"vector": 1, "picture": 1, "fused": 1}}}
    for settings in (given, {"method": "joint"}, {**OFFLINE, "modalities": "vector"}):
        other = training_splits(resolve(settings, store), store)
        assert "held_out" not in other
        assert np.array_equal(other["train"], store.split("split", "train"))


def test_groups_are_held_out_whole_and_a_train_that_cannot_spare_one_is_refused(tmp_path):
    store = grouped_store(tmp_path / "many", groups=20)
    splits = training_splits(resolve(OFFLINE, store), store)
    sides = [set(store.groups[splits[name]]) for name in ("train", "held_out")]
    assert not sides[0] & sides[1]
    assert len(splits["held_out"]) == 6
    store = grouped_store(tmp_path / "one", groups=1)
    with pytest.raises(Misuse, match=r"g-blending.*'split' of grouped cannot spare.*groups"):
        prepared(OFFLINE, store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Features.


@pytest.mark.parametrize("share", [0.0001, 0.25, 1.0])
def test_features_are_those_of_the_same_train_clips_in_eval_mode(share, make_store, tmp_path):
    training = trained({"method": "joint"}, make_store(modalities=3), tmp_path / "run", epochs=1)
    model, train = training.loop.model, training.splits["train"]
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    features, target = training.probing.features(share)
    assert torch.equal(torch.get_rng_state(), generator)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert len(target) == max(1, int(share * len(train)))
    again, _ = training.probing.features(share)
    assert all(torch.equal(features[name], again[name]) for name in features)
    model.eval()
    everything = next(training.clips.batches(torch.from_numpy(train), len(train)))
    with torch.no_grad():
        expected = model(everything.inputs, everything.lengths).features
    rows = [
        next(i for i in range(len(train)) if torch.allclose(expected["vector"][i], z, atol=1e-6))
        for z in features["vector"]
    ]
    assert len(set(rows)) == len(rows)
    assert torch.equal(everything.target[rows], target)
    for name, feature in features.items():
        torch.testing.assert_close(feature, expected[name][rows], rtol=1e-4, atol=1e-5)


# Probes.


def losses_on(training: Training, split: str) -> float:
    predictions = predict(training.loop.model, training.clips, training.splits[split], 8)
    return predictions.scores()["loss"]


def test_all_modalities_alone_are_a_joint_run_on_what_is_left_of_train(make_store, tmp_path, monkeypatch):
    store = make_store(modalities=3)
    training = prepared(OFFLINE, store, tmp_path / "probing")
    curve = training.probing.begin(Silent()).probe(None, afresh=True)
    monkeypatch.setattr(fit, "training_splits", lambda experiment, store: training.splits)
    run = prepared({"method": "joint"}, store, tmp_path / "joint")
    assert [losses_on(run, split) for split in ("train", "held_out")] == [curve.train_before, curve.held_out_before]
    run.run(Silent())
    run.loop.model.load_state_dict(checkpoint.load(run.folder.last)["model"])
    assert [losses_on(run, split) for split in ("train", "held_out")] == [curve.train_after, curve.held_out_after]


def test_one_modality_alone_is_its_encoder_with_its_own_head(make_store, tmp_path):
    """Three epochs of SGD written out."""
    training = prepared(OFFLINE, make_store(), tmp_path / "run")
    experiment, clips, train = training.experiment, training.clips, training.splits["train"]
    curve = training.probing.begin(Silent()).probe("picture", afresh=True)
    model = build_model(experiment, training.store, CPU)[1]
    parts = torch.nn.Sequential(model.encoders["picture"], model.heads["picture"])
    optimizer = torch.optim.SGD(parts.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    for epoch in range(3):
        optimizer.param_groups[0]["lr"] = 0.02 * (0.1 if epoch == 2 else 1)
        order = torch.from_numpy(train)[seeds.permutation(len(train), 0, "order", epoch)]
        for batch in clips.batches(order, 8, augment=(0, "augment", epoch)):
            optimizer.zero_grad()
            F.cross_entropy(parts(batch.inputs["picture"]), batch.target).backward()
            optimizer.step()
    parts.eval()
    for split, expected in (("train", curve.train_after), ("held_out", curve.held_out_after)):
        batch = next(clips.batches(torch.from_numpy(training.splits[split]), 100))
        loss = F.cross_entropy(parts(batch.inputs["picture"]), batch.target).item()
        assert loss == pytest.approx(expected, rel=1e-4)


def test_a_probe_runs_no_encoder_but_its_own(make_store, tmp_path, monkeypatch):
    training = prepared(OFFLINE, make_store(modalities=3), tmp_path / "run")
    training.probing.begin(Silent())
    ran, kinds = set(), {"vector": Mlp, "picture": Cnn, "series": Transformer}
    for name, kind in kinds.items():
        inner = kind.forward
        monkeypatch.setattr(kind, "forward", lambda self, *a, n=name, f=inner: ran.add(n) or f(self, *a))
    read, batches = set(), Clips.batches
    monkeypatch.setattr(
        Clips, "batches", lambda self, *a, **options: read.update(self.transforms) or batches(self, *a, **options)
    )
    for name in kinds:
        ran.clear()
        read.clear()
        training.probing.probe(name, 1)
        assert ran == read == {name}
    ran.clear()
    training.probing.probe(None, 1)
    assert ran == set(kinds)


def test_a_probe_afresh_starts_from_the_initial_weights_however_late_it_is_asked_for(make_store, tmp_path):
    store, found = make_store(), []
    for training in (prepared(OFFLINE, store, tmp_path / "early"), trained(OFFLINE, store, tmp_path / "late")):
        training.loop.epoch = 0 if not found else 1
        training.probing.begin(Silent())
        found.append([training.probing.probe(branch, afresh=True) for branch in ("vector", None)])
    assert found[0] == found[1]
    assert training.probing.probe("vector", 1).train_before < found[0][0].train_before


@pytest.mark.parametrize("afresh", [True, False])
def test_probes_leave_the_training_as_it_is(afresh, make_store, tmp_path):
    training = trained(ONLINE, make_store(), tmp_path / "run")
    training.loop.epoch, training.loop.step = 2, 0
    before = deepcopy(training.loop.state_dict())
    training.probing.begin(Silent())
    for branch in ("vector", None):
        training.probing.probe(branch, 1, afresh=afresh)
    after = training.loop.state_dict()
    assert all(torch.equal(value, before["model"][key]) for key, value in after["model"].items())
    for key, state in after["optimizer"]["state"].items():
        assert torch.equal(state["momentum_buffer"], before["optimizer"]["state"][key]["momentum_buffer"])
    for part in ("method", "trace", "epoch", "step", "history"):
        assert str(after[part]) == str(before[part])


@both
def test_probes_change_no_bit_of_the_training(settings, make_store, tmp_path, monkeypatch):
    """The same run again, in which curves that are known already stand in for the probes."""
    store, known, probe = make_store(), [], Probing.probe

    def recorded(self, *args, **options):
        known.append(probe(self, *args, **options))
        return known[-1]

    monkeypatch.setattr(Probing, "probe", recorded)
    trained(settings, store, tmp_path / "probed")
    assert len(known) == (3 if settings is OFFLINE else 6)
    monkeypatch.setattr(Probing, "probe", lambda self, *args, **options: known.pop(0))
    trained(settings, store, tmp_path / "played")
    assert_same_bits(tmp_path / "probed", tmp_path / "played")
    assert metrics(tmp_path / "probed").equals(metrics(tmp_path / "played"))


class Listening(Silent):
    def __init__(self):
        self.heard = []

    def said(self, message):
        self.heard.append(message)


def test_a_probe_goes_no_further_than_the_training(make_store, tmp_path):
    training, progress = prepared(ONLINE, make_store(), tmp_path / "run"), Listening()
    training.run(progress)
    assert progress.heard == [
        f"probing {what} alone, epochs {epochs}"
        for epochs in ("0 to 1", "2 to 2") for what in ("vector", "picture", "all modalities")
    ]  # fmt: skip


def test_a_branch_that_diverges_has_no_weight_and_stops_nothing(make_store, tmp_path, monkeypatch):
    inner = Loop.train_epoch

    def diverging(self, *args):
        if self.experiment.modalities == ("vector",):
            raise Diverged("the loss is not finite")
        return inner(self, *args)

    monkeypatch.setattr(Loop, "train_epoch", diverging)
    training, progress = prepared(OFFLINE, make_store(), tmp_path / "run"), Listening()
    training.run(progress)
    assert "vector alone diverged" in progress.heard
    assert metrics(tmp_path / "run")["weight.vector"].dropna().eq(0).all()


class StopAfter(StopRequest):
    """Requested once it has been looked at so often, be it between two steps or between two batches of a score."""

    def __init__(self, looks: int):
        self.left = looks

    @property
    def requested(self) -> bool:
        self.left -= 1
        return self.left < 0


@both
def test_stopped_anywhere_again_and_again_is_never_stopped(settings, make_store, tmp_path):
    store = make_store()
    trained(settings, store, tmp_path / "whole")
    experiment, folder, state, within = resolved(settings, store), RunFolder(tmp_path / "parts"), None, []
    for leg in range(100):
        training = Training(experiment, store, folder, CPU, StopAfter(7 + leg), state)
        try:
            training.run(Silent())
            break
        except Stopped:
            state = checkpoint.load(folder.last)
            current = state["probing"]["current"]
            within.append(None if current is None else current["loop"]["step"])
    assert {None, 0} < set(within)  # outside a probe, between its epochs, in the middle of one
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")
    assert metrics(tmp_path / "whole").equals(metrics(tmp_path / "parts"))


@both
def test_killed_after_every_saved_epoch_of_a_probe_is_never_killed(settings, make_store, tmp_path, monkeypatch):
    store, save, saves = make_store(), checkpoint.save, []
    trained(settings, store, tmp_path / "whole")
    experiment, folder, state = resolved(settings, store), RunFolder(tmp_path / "parts"), None

    class KilledError(Exception):
        pass

    def save_and_die(path, content):
        save(path, content)
        if path == folder.last:
            saves.append(content["probing"]["current"] is not None)
            raise KilledError

    monkeypatch.setattr(checkpoint, "save", save_and_die)
    for _ in range(50):
        try:
            Training(experiment, store, folder, CPU, state=state).run(Silent())
            break
        except KilledError:
            state = checkpoint.load(folder.last)
    assert sum(saves) == 9 and len(saves) == 12  # epochs of probes, and those of the training
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")
    assert metrics(tmp_path / "whole").equals(metrics(tmp_path / "parts"))
