"""The whole way of every kind of modality: from a store of five of them to a trained model, resumed to the same bits."""

import pandas as pd
import pytest
import torch
from kinds_factory import make_kinds
from test_fit import NoHostSync

from inforeg_cli.data import batches
from inforeg_cli.data.batches import Clips, fit_transforms
from inforeg_cli.data.transforms import resampling
from inforeg_cli.engine import checkpoint
from inforeg_cli.engine.build import build_model
from inforeg_cli.engine.fit import Training
from inforeg_cli.engine.guard import Stopped, StopRequest
from inforeg_cli.progress import Silent
from inforeg_cli.resolve import resolve
from inforeg_cli.run_folder import RunFolder

CPU = torch.device("cpu")
FIVE = ("sound", "picture", "scene", "series", "words")
FRAMES = ("film", "flow")
SMALL = {"name": "cnn", "channels": [4, 8]}


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    return make_kinds(tmp_path_factory.mktemp("stores") / "five", *FIVE)


@pytest.fixture(scope="module")
def framed(tmp_path_factory):
    return make_kinds(tmp_path_factory.mktemp("stores") / "framed", *FRAMES, "words")


def settings(**changes):
    convolved = dict.fromkeys(("sound", "picture", "scene", "film", "flow"), SMALL)
    augmented = {"crop": True, "flip": True}
    return {
        "epochs": 2, "batch_size": 8, "optimizer": {"name": "sgd", "lr": 0.01},
        "inputs": {"scene": augmented, "film": {**augmented, "sampling": "segments"}, "flow": {"frames": 2, "flip": True}},
        "encoders": {**convolved, "series": {"dim": 16}, "words": {"dim": 16}}, **changes,
    }  # fmt: skip


def experiment_on(store, **changes):
    wanted = settings(**changes)
    for table in ("inputs", "encoders"):
        wanted[table] = {name: value for name, value in wanted[table].items() if name in store.modalities}
    return resolve(wanted, store)


class StopAt(Silent):
    def __init__(self, request, after):
        self.request, self.left = request, after

    def step(self, index):
        self.left -= 1
        self.request.requested = self.left == 0


@pytest.mark.parametrize("which", ["five", "framed"])
@pytest.mark.parametrize("method", [{"name": "ogm", "noise": True}, {"name": "inforeg"}], ids=lambda m: m["name"])
def test_trained_stopped_and_resumed(which, method, request, tmp_path):
    store = request.getfixturevalue(which)
    experiment = experiment_on(store, method=method, window={"when": "whole"})
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    Training(experiment, store, whole, CPU).run(Silent())
    table = pd.read_parquet(whole.path / "metrics.parquet")
    assert len(table) == 6 and table["loss"].notna().all()
    stop = StopRequest()
    with pytest.raises(Stopped):
        Training(experiment, store, parts, CPU, stop).run(StopAt(stop, 7))
    Training(experiment, store, parts, CPU, state=checkpoint.load(parts.last)).run(Silent())
    pd.testing.assert_frame_equal(table, pd.read_parquet(parts.path / "metrics.parquet"))
    states = [checkpoint.load(folder.last)["model"] for folder in (whole, parts)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_every_kind_alone_learns(five, tmp_path):
    for name in FIVE:
        alone = {"modalities": [name], "method": "joint", "epochs": 6, "optimizer": {"name": "adamw", "lr": 0.01}}
        experiment = experiment_on(five, **alone)
        training = Training(experiment, five, RunFolder(tmp_path / name), CPU)
        training.run(Silent())
        losses = [row["loss"] for row in training.rows if row["split"] == "train"]
        assert losses[-1] < 0.8 * losses[0], name


def test_defaults_fit_every_kind(five, framed):
    for store in (five, framed):
        experiment = resolve({}, store)
        transforms, model = build_model(experiment, store, CPU)
        fit_transforms(transforms, store, store.split("split", "train"))
        batch = next(Clips(store, transforms, "label", CPU).batches(torch.arange(4), 4))
        assert model.eval()(batch.inputs, batch.lengths).fused.isfinite().all()
        absent = model(batch.inputs, batch.lengths, absent=frozenset(store.modalities))
        assert absent.fused.isfinite().all()
        assert (absent.features["words"] == 0).all()


@pytest.mark.parametrize("resident", [True, False], ids=["resident", "streamed"])
def test_reading_frames_waits_for_no_device(resident, five, framed, monkeypatch):
    if not resident:
        monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    # A CPU goes through the boxes one by one; it is other devices that could be made to wait.
    monkeypatch.setattr(resampling, "_one_by_one", resampling.by_products)
    for store in (five, framed):
        transforms, _ = build_model(experiment_on(store), store, CPU)
        fit_transforms(transforms, store, store.split("split", "train"))
        reader = Clips(store, transforms, "label", CPU).batches(torch.arange(60), 8, augment=(0, "augment", 0))
        next(reader)
        with NoHostSync():
            assert sum(len(batch.index) for batch in reader) == 52
