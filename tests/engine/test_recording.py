"""Recorded gradient cosines: near the exact ones, the same when resumed, and nothing that training notices."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from engine.test_fit import CPU, StopAt, SyncForbiddenAfterFirst, assert_same_run, metrics, resolved, trained

from inforeg_cli.engine import checkpoint
from inforeg_cli.engine.fit import Training
from inforeg_cli.engine.guard import Stopped, StopRequest
from inforeg_cli.engine.recording import MOST_BATCHES, GradientCosines
from inforeg_cli.progress import Silent
from inforeg_cli.run_folder import RunFolder
from inforeg_cli.step import Epoch

RECORD = {"gradient_cosines": True}
WIDE = {"vector": {"hidden": [256, 256], "dim": 64}, "picture": {"channels": [32, 64]}}


def cosines_of(folder) -> pd.DataFrame:
    return pd.read_parquet(folder / "gradient_cosines.parquet")


def exact_and_recorded(training: Training, monkeypatch) -> pd.DataFrame:
    """The recorded cosines of one epoch, and those of the whole gradients at the same steps."""
    kept: dict[str, list[torch.Tensor]] = {name: [] for name in training.loop.model.modalities}
    update = training.loop.cosines.update

    def keep(step: int) -> None:
        for name, group in training.loop.model.encoder_parameters().items():
            kept[name].append(torch.cat([parameter.grad.flatten() for parameter in group]).clone())
        update(step)

    monkeypatch.setattr(training.loop.cosines, "update", keep)
    training.loop.cosines.close(training.loop.train_epoch(Silent()))
    table = training.loop.cosines.table()
    pairs = zip(table["modality"], table["batch_a"], table["batch_b"], strict=True)
    table["exact"] = [float(torch.cosine_similarity(kept[name][a], kept[name][b], dim=0)) for name, a, b in pairs]
    return table


def test_near_the_exact_cosines_of_a_real_models_gradients(make_store, tmp_path, monkeypatch):
    store = make_store(clips=200)
    experiment = resolved({"method": "joint"}, store, record=RECORD, encoders=WIDE)
    training = Training(experiment, store, RunFolder(tmp_path / "run"), CPU)
    assert all(sum(p.numel() for p in group) > 4 * 4096 for group in training.loop.model.encoder_parameters().values())
    table = exact_and_recorded(training, monkeypatch)
    assert len(table) == 2 * math.comb(training.loop.steps, 2)
    error = table["cosine"] - table["exact"]
    assert table["exact"].abs().max() > 0.2  # there is something to be wrong about
    assert error.abs().max() < 5 / math.sqrt(4096)
    assert math.sqrt((error**2).mean()) < 1 / math.sqrt(4096)


def test_columns_epochs_and_open_windows(make_store, tmp_path):
    folder = tmp_path / "run"
    settings = {"method": "inforeg", "window": {"when": "1-1"}, "record": RECORD}
    trained(settings, make_store(modalities=3), folder)
    table = cosines_of(folder)
    assert list(table) == ["epoch", "modality", "batch_a", "batch_b", "cosine", "open"]
    assert set(table["modality"]) == {"vector", "picture", "series"}
    assert (table["batch_a"] < table["batch_b"]).all()
    assert table["cosine"].abs().max() <= 1 + 1e-5
    assert table.groupby("epoch")["open"].agg(["min", "max"]).to_numpy().tolist() == [
        [False, False], [True, True], [False, False],
    ]  # fmt: skip


def test_at_most_so_many_batches_evenly_over_the_epoch():
    parameter = torch.nn.Parameter(torch.zeros(8))
    recording = GradientCosines({"a": [parameter]}, 100, seed=0)
    for step in range(100):
        parameter.grad = torch.ones(8)
        recording.update(step)
    recording.close(Epoch(0, frozenset()))
    table = recording.table()
    assert len(table) == MOST_BATCHES * (MOST_BATCHES - 1) // 2
    assert np.allclose(table["cosine"], 1)
    compared = sorted({*table["batch_a"], *table["batch_b"]})
    assert compared[0] == 0
    assert set(np.diff(compared)) == {2, 3}
    assert compared[-1] >= 97


def test_another_order_of_the_batches_permutes_the_pairs():
    parameter = torch.nn.Parameter(torch.zeros(9000))
    gradients = torch.randn(4, 9000, generator=torch.Generator().manual_seed(0))
    order, matrices = [2, 0, 3, 1], []
    for chosen in ([0, 1, 2, 3], order):
        recording = GradientCosines({"a": [parameter]}, 4, seed=0)
        for step, index in enumerate(chosen):
            parameter.grad = gradients[index]
            recording.update(step)
        recording.close(Epoch(0, frozenset()))
        table = recording.table()
        matrix = np.eye(4)
        matrix[table["batch_a"], table["batch_b"]] = matrix[table["batch_b"], table["batch_a"]] = table["cosine"]
        matrices.append(matrix)
    assert np.allclose(matrices[1], matrices[0][order][:, order], atol=1e-6)


def test_an_encoder_without_a_gradient_has_no_cosine():
    a, b = torch.nn.Parameter(torch.zeros(8)), torch.nn.Parameter(torch.zeros(8))
    recording = GradientCosines({"a": [a], "b": [b]}, 2, seed=0)
    for step in range(2):
        a.grad = torch.ones(8)
        recording.update(step)
    recording.close(Epoch(0, frozenset()))
    assert recording.table()["cosine"].isna().tolist() == [False, True]


@pytest.mark.parametrize("steps", [1, 2])
def test_an_epoch_of_few_batches(steps):
    recording = GradientCosines({"a": [torch.nn.Parameter(torch.zeros(8))]}, steps, seed=0)
    assert recording.table().empty
    recording.close(Epoch(0, frozenset()))
    assert len(recording.table()) == steps - 1


@pytest.mark.parametrize("method", ["joint", "inforeg"])
def test_recording_changes_no_bit(method, make_store, tmp_path):
    store = make_store()
    for name, record in (("off", {}), ("on", RECORD)):
        trained({"method": method, "window": {"when": "whole"}}, store, tmp_path / name, record=record)
    assert_same_run(tmp_path / "off", tmp_path / "on")
    assert not (tmp_path / "off" / "gradient_cosines.parquet").exists()


def test_interrupted_again_and_again_gives_the_same_file(make_store, tmp_path):
    settings = {"method": "inforeg", "window": {"when": "whole"}, "record": RECORD}
    store, folder = make_store(), RunFolder(tmp_path / "cut")
    trained(settings, store, tmp_path / "whole")
    state = None
    for _ in range(30):
        stop = StopRequest()
        training = Training(resolved(settings, store), store, folder, CPU, stop, state)
        try:
            training.run(StopAt(stop, 2))
            break
        except Stopped:
            state = checkpoint.load(folder.last)
    assert state is not None
    assert metrics(folder.path).equals(metrics(tmp_path / "whole"))
    pd.testing.assert_frame_equal(cosines_of(folder.path), cosines_of(tmp_path / "whole"))


def test_no_host_sync_in_the_step(make_store, tmp_path):
    store = make_store(modalities=3)
    experiment = resolved({"method": "joint"}, store, record=RECORD)
    training = Training(experiment, store, RunFolder(tmp_path / "run"), CPU)
    training.loop.train_epoch(SyncForbiddenAfterFirst(training.loop.steps))
