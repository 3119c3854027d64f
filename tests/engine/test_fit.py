"""The loop, for every method in the table: it learns, repeats itself, resumes and falls back to its baseline bit for bit."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parent))
from settings_table import SETTINGS, every_method_and_baseline, every_setting

from inforeg_cli.engine import checkpoint
from inforeg_cli.engine.fit import Training
from inforeg_cli.engine.guard import Diverged, Stopped, StopRequest
from inforeg_cli.progress import Silent
from inforeg_cli.resolve import resolve
from inforeg_cli.run_folder import RunFolder

CPU = torch.device("cpu")
SHORT = {
    "epochs": 3,
    "batch_size": 8,
    "schedule": {"name": "step", "step_size": 2},
    "optimizer": {"name": "sgd", "lr": 0.02},
}


class StopAt(Silent):
    """Asks for a stop after a number of steps, as a signal between two steps would."""

    def __init__(self, request: StopRequest, after: int):
        self.request, self.left = request, after

    def step(self, index: int) -> None:
        self.left -= 1
        self.request.requested = self.left == 0


def trained(settings: dict, store, folder: Path, **changes) -> Training:
    training = Training(resolve({**SHORT, **settings, **changes}, store), store, RunFolder(folder), CPU)
    training.run(Silent())
    return training


def metrics(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "metrics.parquet")


def assert_same_bits(left: Path, right: Path) -> None:
    for name in ("last.pt", "best.pt"):
        states = [checkpoint.load(folder / name)["model"] for folder in (left, right)]
        assert states[0].keys() == states[1].keys()
        for key in states[0]:
            assert torch.equal(states[0][key], states[1][key]), key


@every_setting
def test_lowers_the_loss(settings, make_store, tmp_path):
    store = make_store(modalities=2, clips=120)
    training = trained(settings, store, tmp_path / "run", epochs=6)
    losses = [row["loss"] for row in training.rows if row["split"] == "train"]
    assert losses[-1] < 0.7 * losses[0]


@every_setting
def test_one_seed_gives_the_same_bits_and_another_seed_others(settings, make_store, tmp_path):
    store = make_store()
    for name in "ab":
        trained(settings, store, tmp_path / name)
    assert_same_bits(tmp_path / "a", tmp_path / "b")
    pd.testing.assert_frame_equal(metrics(tmp_path / "a"), metrics(tmp_path / "b"))
    trained(settings, store, tmp_path / "c", seed=1)
    assert not metrics(tmp_path / "a").equals(metrics(tmp_path / "c"))


@every_setting
@pytest.mark.parametrize("stop_after", [1, 5, 7], ids="step-{}".format)
def test_stopped_and_resumed_is_never_stopped(settings, stop_after, make_store, tmp_path):
    """36 train clips in batches of 8 are 5 steps an epoch (4, where a tenth is held out): stops in the middle of an
    epoch and before it is scored."""
    store = make_store(modalities=3)
    trained(settings, store, tmp_path / "whole")
    experiment = resolve({**SHORT, **settings}, store)
    folder = RunFolder(tmp_path / "parts")
    request = StopRequest()
    training = Training(experiment, store, folder, CPU, request)
    with pytest.raises(Stopped):
        training.run(StopAt(request, stop_after))
    state, steps = checkpoint.load(folder.last), training.loop.steps
    assert (state["epoch"], state["step"]) == ((stop_after - 1) // steps, (stop_after - 1) % steps + 1)
    Training(experiment, store, folder, CPU, state=state).run(Silent())
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")
    pd.testing.assert_frame_equal(metrics(tmp_path / "whole"), metrics(tmp_path / "parts"))
    for file in (tmp_path / "whole").glob("predictions-*.parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(file), pd.read_parquet(tmp_path / "parts" / file.name))


@every_setting
def test_resumed_at_an_epoch_boundary(settings, make_store, tmp_path):
    store = make_store()
    trained(settings, store, tmp_path / "whole")
    experiment = resolve({**SHORT, **settings}, store)
    folder = RunFolder(tmp_path / "parts")

    class KilledError(Exception):
        pass

    def kill(epoch, rows):
        if epoch == 1:
            raise KilledError

    with pytest.raises(KilledError):
        Training(experiment, store, folder, CPU).run(Silent(), kill)
    state = checkpoint.load(folder.last)
    assert (state["epoch"], state["step"]) == (2, 0)
    Training(experiment, store, folder, CPU, state=state).run(Silent())
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")


@every_method_and_baseline
@pytest.mark.parametrize("modalities", [1, 2, 3])
def test_a_window_that_never_opens_is_the_baseline(settings, baseline, modalities, make_store, tmp_path):
    store = make_store(modalities=modalities)
    closed = trained(settings, store, tmp_path / "closed", window={"when": "100-200"})
    trained(baseline, store, tmp_path / "baseline")
    assert_same_bits(tmp_path / "closed", tmp_path / "baseline")
    result = closed._result()
    assert result["acted"] is (None if modalities == 1 else False)
    assert not any(result["regulated_steps"].values())


@every_method_and_baseline
def test_an_open_window_is_not_the_baseline(settings, baseline, make_store, tmp_path):
    store = make_store(modalities=2)
    opened = trained(settings, store, tmp_path / "open", window={"when": "whole"})
    base = trained(baseline, store, tmp_path / "baseline")
    assert any(
        not torch.equal(left, right)
        for left, right in zip(opened.loop.model.parameters(), base.loop.model.parameters(), strict=True)
    )
    assert opened._result()["acted"]


@every_method_and_baseline
def test_one_modality_runs_the_baseline(settings, baseline, make_store, tmp_path):
    store = make_store(modalities=2)
    trained(settings, store, tmp_path / "method", modalities="vector", window={"when": "whole"})
    trained(baseline, store, tmp_path / "baseline", modalities="vector")
    assert_same_bits(tmp_path / "method", tmp_path / "baseline")


@pytest.mark.parametrize("fusion", ["concat", "sum", "gated", "film"])
@pytest.mark.parametrize("modalities", [1, 2, 4])
def test_every_fusion_trains_with_any_number_of_modalities(fusion, modalities, make_store, tmp_path):
    store = make_store(modalities=modalities)
    training = trained(
        {"method": "inforeg"}, store, tmp_path / "run", fusion={"name": fusion}, window={"when": "whole"}, epochs=1
    )
    assert [name for name in training.rows[1] if name.startswith("head.")]


@every_setting
def test_bf16_autocast_runs(settings, make_store, tmp_path):
    training = trained(settings, make_store(), tmp_path / "run", precision="bf16", epochs=1)
    assert all(parameter.dtype == torch.float32 for parameter in training.loop.model.parameters())


class NoHostSync(TorchDispatchMode):
    """Fails on what would make the host wait for a device: reading a tensor's value, or a result of unknown size."""

    operators = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.equal", "aten.is_nonzero")
    methods = ("tolist", "numpy", "cpu")  # these do not pass through the dispatcher

    def __enter__(self):
        self.patch = pytest.MonkeyPatch()
        for name in self.methods:
            self.patch.setattr(torch.Tensor, name, self.forbidden)
        return super().__enter__()

    def __exit__(self, *error):
        self.patch.undo()
        return super().__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self.forbidden() if str(func).startswith(self.operators) else func(*args, **(kwargs or {}))

    @staticmethod
    def forbidden(*args, **kwargs):
        raise AssertionError("host sync")


class SyncForbiddenAfterFirst(Silent):
    """Covers every step but the first; the check of the losses at the epoch's end is outside it."""

    def __init__(self, steps):
        self.mode, self.last = NoHostSync(), steps - 2

    def step(self, index):
        if index == 0:
            self.mode.__enter__()
        if index == self.last:
            self.mode.__exit__(None, None, None)


@every_setting
def test_no_host_sync_in_the_step(settings, make_store, tmp_path):
    store = make_store(modalities=3, clips=120)
    experiment = resolve({**SHORT, **settings, "window": {"when": "whole"}}, store)
    training = Training(experiment, store, RunFolder(tmp_path / "run"), CPU)
    training.loop.train_epoch(SyncForbiddenAfterFirst(training.loop.steps), training.probing.begin(Silent()))


@pytest.mark.parametrize(
    "read", [lambda x: x.item(), lambda x: x.tolist(), lambda x: x.cpu(), bool, float, torch.nonzero]
)
def test_a_host_sync_would_be_noticed(read):
    with pytest.raises(AssertionError, match="host sync"), NoHostSync():
        read(torch.ones(()))


class FromSecondStep(Silent):
    """Says whether the first step, and all that a method does before it, is over."""

    over = False

    def step(self, index):
        self.over = True


#: Passes of an encoder in eval mode (AGM: on its input, and on zeros), and of gradients, in one step.
EVALUATING = {"agm": 2, "agm-clip": 2}
BACKWARD = {"mmpareto": 2}


@pytest.mark.parametrize("name", SETTINGS)
def test_one_forward_and_one_backward_a_step_unless_the_method_says_otherwise(name, make_store, tmp_path, monkeypatch):
    store = make_store(modalities=3)
    training = Training(resolve({**SHORT, **SETTINGS[name]}, store), store, RunFolder(tmp_path / "run"), CPU)
    calls = {"training": 0, "evaluating": 0, "backward": 0}
    progress, backward = FromSecondStep(), torch.autograd.backward

    def counted(*args, **kwargs):
        calls["backward"] += progress.over
        return backward(*args, **kwargs)

    def count_forward(module, *_):
        calls["training" if module.training else "evaluating"] += progress.over

    monkeypatch.setattr(torch.autograd, "backward", counted)
    for encoder in training.loop.model.encoders.values():
        encoder.register_forward_hook(count_forward)
    training.loop.train_epoch(progress, training.probing.begin(Silent()))
    steps = training.loop.steps - 1
    assert calls == {
        "training": 3 * steps,
        "evaluating": 3 * EVALUATING.get(name, 0) * steps,
        "backward": BACKWARD.get(name, 1) * steps,
    }


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(make_store, tmp_path):
    store = make_store()
    experiment = resolve({**SHORT, "method": "joint"}, store)
    training = Training(experiment, store, RunFolder(tmp_path / "run"), CPU)

    class Poison(Silent):
        def epoch(self, epoch, rows):
            if epoch == 0:
                training.loop.optimizer.param_groups[0]["params"][0].data.fill_(float("nan"))

    with pytest.raises(Diverged, match=r"epoch 1, step 0 \(fused nan\)"):
        training.run(Poison())
    state = checkpoint.load(tmp_path / "run" / "last.pt")
    assert (state["epoch"], state["step"]) == (1, 0)
    assert all(value.isfinite().all() for value in state["model"].values())


def test_the_best_epoch_is_chosen_on_val_and_test_chooses_nothing(make_store, tmp_path):
    store = make_store(clips=120)
    with_curve = trained({"method": "joint"}, store, tmp_path / "curve", epochs=6)
    without = trained({"method": "joint"}, store, tmp_path / "none", epochs=6, record={"test_curve": False})
    assert_same_bits(tmp_path / "curve", tmp_path / "none")
    results = [training._result() for training in (with_curve, without)]
    assert results[0]["test"] == results[1]["test"]
    assert results[1]["test_if_chosen_on_test"] is None
    table = metrics(tmp_path / "curve")
    val, test = (table[table["split"] == split].reset_index() for split in ("val", "test"))
    assert results[0]["best_epoch"] == val["accuracy"].idxmax()
    assert results[0]["val"]["accuracy"] == val["accuracy"].max()
    assert results[0]["test"]["accuracy"] == test["accuracy"][results[0]["best_epoch"]]
    assert results[0]["test_if_chosen_on_test"]["accuracy"] == test["accuracy"].max()


def test_a_last_batch_of_one_clip_is_dropped_in_training_only(make_store, tmp_path):
    store = make_store(clips=60)  # 36 in train
    training = trained({"method": "joint"}, store, tmp_path / "run", batch_size=7, epochs=1)
    assert training.loop.steps == 5
    assert training.loop.trace._steps == 5
    val = pd.read_parquet(tmp_path / "run" / "predictions-val-last.parquet")
    assert len(val) == len(store.split("split", "val"))


def test_fisher_traces_agree_with_one_backward_a_clip(make_store, tmp_path):
    from inforeg_cli.engine.fisher import fisher_traces

    store = make_store(modalities=3)
    training = trained({"method": "joint"}, store, tmp_path / "run", epochs=1)
    chosen = store.split("split", "train")[:7]
    found = fisher_traces(training.loop.model, training.clips, chosen)
    training.loop.model.eval()
    expected = dict.fromkeys(found, 0.0)
    for batch in training.clips.batches(torch.from_numpy(chosen), 1):
        training.loop.model.zero_grad()
        outputs = training.loop.model(batch.inputs, batch.lengths)
        torch.nn.functional.cross_entropy(outputs.fused, batch.target).backward()
        groups = {**training.loop.model.encoder_parameters(), "all": list(training.loop.model.parameters())}
        for name, group in groups.items():
            expected[name] += sum(float(p.grad.square().sum()) for p in group if p.grad is not None) / len(chosen)
    assert found == pytest.approx(expected, rel=1e-4)


def test_recording_fisher_traces_changes_no_bit(make_store, tmp_path):
    store = make_store(modalities=3)
    trained({"method": "inforeg"}, store, tmp_path / "with", record={"fisher": True, "fisher_clips": 5})
    trained({"method": "inforeg"}, store, tmp_path / "without")
    assert_same_bits(tmp_path / "with", tmp_path / "without")
    assert {"fisher.vector", "fisher.all"} <= set(metrics(tmp_path / "with").columns)
