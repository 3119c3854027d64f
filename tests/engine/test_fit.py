"""The loop, for every method in the table: it learns, repeats itself, resumes and falls back to its baseline bit for bit."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parent))
from settings_table import SETTINGS, each_method, every_method_and_baseline, every_off_setting, every_setting

from inforeg_cli.data.batches import Batch
from inforeg_cli.engine import checkpoint, fit
from inforeg_cli.engine.fit import Training
from inforeg_cli.engine.guard import Diverged, Stopped, StopRequest
from inforeg_cli.errors import Misuse
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


#: By the beginning of a modality's name; the defaults would take three times as long.
SMALL = {
    "vector": {"hidden": [16], "dim": 8},
    "picture": {"channels": [4, 8, 8]},
    "series": {"dim": 8, "heads": 2, "depth": 1},
}


def resolved(settings: dict, store, **changes):
    small = {name: SMALL[name.rstrip("0123456789")] for name in store.modalities}
    return resolve({**SHORT, "encoders": small, **settings, **changes}, store)


def trained(settings: dict, store, folder: Path, **changes) -> Training:
    training = Training(resolved(settings, store, **changes), store, RunFolder(folder), CPU)
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
    training = trained(settings, store, tmp_path / "run", epochs=6, encoders={})
    losses = [row["loss"] for row in training.rows if row["split"] == "train"]
    assert losses[-1] < 0.7 * losses[0]


_WHOLE: dict[str, Path] = {}


@pytest.fixture
def whole(make_store, tmp_path):
    """`whole(settings)`: a store of three modalities, and the folder of a run on it that was never stopped; made once."""

    def find(settings: dict):
        store = make_store(modalities=3)
        if str(settings) not in _WHOLE:
            trained(settings, store, tmp_path / "whole")
            _WHOLE[str(settings)] = tmp_path / "whole"
        return store, _WHOLE[str(settings)]

    return find


def assert_same_run(left: Path, right: Path) -> None:
    assert_same_bits(left, right)
    pd.testing.assert_frame_equal(metrics(left), metrics(right))
    for file in left.glob("predictions-*.parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(file), pd.read_parquet(right / file.name))


@each_method
def test_another_seed_gives_other_numbers(settings, whole, tmp_path):
    store, first = whole(settings)
    trained(settings, store, tmp_path / "other", seed=1, epochs=1)
    assert not metrics(first)[:3].equals(metrics(tmp_path / "other"))


class KilledError(Exception):
    pass


def kill(epoch, rows):
    raise KilledError


@every_setting
def test_interrupted_again_and_again_is_never_stopped(settings, whole, tmp_path):
    """Of three epochs of 5 steps (4, where a tenth is held out): stopped in the middle of each, before one is scored, and
    killed at every boundary."""
    store, never_stopped = whole(settings)
    experiment, folder, state = resolved(settings, store), RunFolder(tmp_path / "parts"), None
    steps = Training(experiment, store, folder, CPU).loop.steps
    stops = [1, steps - 1, None, 2, None, 1]  # after so many steps, or at the next boundary
    places = [(0, 1), (0, steps), (1, 0), (1, 2), (2, 0), (2, 1)]
    for stop, place in zip(stops, places, strict=True):
        request = StopRequest()
        training = Training(experiment, store, folder, CPU, request, state)
        with pytest.raises(KilledError if stop is None else Stopped):
            training.run(Silent(), kill) if stop is None else training.run(StopAt(request, stop))
        state = checkpoint.load(folder.last)
        assert (state["epoch"], state["step"]) == place
    Training(experiment, store, folder, CPU, state=state).run(Silent())
    assert_same_run(never_stopped, tmp_path / "parts")


@every_method_and_baseline
def test_a_window_that_never_opens_is_the_baseline(settings, baseline, make_store, tmp_path):
    store = make_store(modalities=3)
    closed = trained(settings, store, tmp_path / "closed", window={"when": "100-200"})
    trained(baseline, store, tmp_path / "baseline")
    assert_same_bits(tmp_path / "closed", tmp_path / "baseline")
    result = closed._result()
    assert result["acted"] is False
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
    alone = trained(settings, store, tmp_path / "method", modalities="vector", window={"when": "whole"})
    trained(baseline, store, tmp_path / "baseline", modalities="vector")
    assert_same_bits(tmp_path / "method", tmp_path / "baseline")
    assert alone._result()["acted"] is None


@every_off_setting
def test_off_is_the_baseline_to_the_last_bit(settings, baseline, make_store, tmp_path):
    store = make_store(modalities=3)
    off = trained(settings, store, tmp_path / "off", window={"when": "whole"})
    base = trained(baseline, store, tmp_path / "baseline")
    found, expected = (checkpoint.load(t.folder.last)["model"] for t in (off, base))
    assert all(torch.equal(found[key], expected[key]) for key in expected)  # g-blending has own heads, too
    assert not off._result()["acted"]


def test_gradient_blending_in_a_closed_window_is_joint_training_on_what_is_left_of_train(
    make_store, tmp_path, monkeypatch
):
    store = make_store()
    closed = trained({"method": "g-blending"}, store, tmp_path / "closed", window={"when": "100-200"})
    assert closed._result()["acted"] is False
    monkeypatch.setattr(fit, "training_splits", lambda experiment, store: closed.splits)
    trained({"method": "joint"}, store, tmp_path / "joint")
    found, expected = (checkpoint.load(tmp_path / name / "last.pt")["model"] for name in ("closed", "joint"))
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("fusion", ["concat", "sum", "gated", "film"])
@each_method
def test_every_fusion_trains_or_is_refused_beforehand_with_the_reason(settings, fusion, make_store, tmp_path):
    store, changes = make_store(modalities=3, clips=30), {"fusion": {"name": fusion}, "window": {"when": "whole"}}
    if settings == SETTINGS["greedy"]:
        with pytest.raises(Misuse, match="brings the fusion 'branches': leave fusion out"):
            resolved(settings, store, **changes)
        return
    training = trained(settings, store, tmp_path / "run", **changes, epochs=1)
    assert [name for name in training.rows[1] if name.startswith("head.")]
    assert training.experiment.fusion.name == fusion


@pytest.mark.parametrize("modalities", [4, 6])
@each_method
def test_many_modalities(settings, modalities, make_store, tmp_path):
    store = make_store(modalities=modalities, clips=30)
    training = trained(settings, store, tmp_path / "run", epochs=1, window={"when": "whole"})
    assert all(value.isfinite().all() for value in training.loop.model.state_dict().values())
    assert len(training._result()["regulated_steps"]) == modalities


def reordered(state, sizes, order):
    """The state of a model whose modalities stand in another order: what is concatenated is concatenated anew."""
    found = dict(state)
    for key, value in state.items():
        if key.endswith(("fusion.head.weight", "squeeze.weight")):
            parts = dict(zip(sizes, value.split(list(sizes.values()), dim=1), strict=True))
            found[key] = torch.cat([parts[name] for name in order], dim=1)
        if key.endswith(".means"):
            parts = dict(zip(sizes, value.split(list(sizes.values())), strict=True))
            found[key] = torch.cat([parts[name] for name in order])
    return found


@pytest.mark.parametrize("fusion", ["concat", "sum"])
@each_method
def test_another_order_of_the_modalities_changes_nothing_else(settings, fusion, make_store, tmp_path):
    if settings == SETTINGS["greedy"] and fusion == "sum":
        pytest.skip("greedy brings a fusion of its own")
    store = make_store(modalities=3, clips=40)
    fused = {} if settings == SETTINGS["greedy"] else {"fusion": fusion}
    experiment = resolved({**settings, **fused}, store, window={"when": "whole"}, epochs=2)
    order = ("series", "vector", "picture")
    other = experiment.model_copy(
        update={
            "modalities": order,
            "inputs": {name: experiment.inputs[name] for name in order},
            "encoders": {name: experiment.encoders[name] for name in order},
        }
    )
    trainings = [
        Training(each, store, RunFolder(tmp_path / name), CPU) for name, each in (("one", experiment), ("other", other))
    ]
    one, another = (training.loop.model for training in trainings)
    sizes = {name: encoder.dim for name, encoder in one.encoders.items()}  # one block of the exchange: on the features
    another.load_state_dict(reordered(one.state_dict(), sizes, order))
    for training in trainings:
        training.run(Silent())
    states = [checkpoint.load(training.folder.last)["model"] for training in trainings]
    expected = reordered(states[0], sizes, order)
    for key, value in states[1].items():
        torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-4, msg=key)
    tables = [metrics(tmp_path / name) for name in ("one", "other")]
    pd.testing.assert_frame_equal(tables[0], tables[1][tables[0].columns], rtol=1e-2, atol=1e-4)


class Doubled:
    """Clips of which every training batch holds each one twice."""

    def __init__(self, clips):
        self.clips, self.device = clips, clips.device

    def only(self, modalities):
        return Doubled(self.clips.only(modalities))

    def batches(self, indices, batch_size, *, augment=None, start=0):
        for batch in self.clips.batches(indices, batch_size, augment=augment, start=start):
            if augment is None:
                yield batch
            else:
                inputs, lengths = (
                    {name: value.repeat(2, *[1] * (value.dim() - 1)) for name, value in part.items()}
                    for part in (batch.inputs, batch.lengths)
                )
                yield Batch(inputs, lengths, batch.target.repeat(2), batch.index.repeat(2))


@each_method
def test_every_clip_twice_in_a_batch_changes_no_coefficient(settings, make_store, tmp_path):
    """Without batch norm, whose running variances know how many there were, and without dropout."""
    store = make_store(modalities=2, clips=40)
    changes = {"encoders": {"picture": {"name": "mlp"}}, "window": {"when": "whole"}, "epochs": 2}
    experiment = resolved(settings, store, **changes)
    rows = []
    for name in ("once", "twice"):
        training = Training(experiment, store, RunFolder(tmp_path / name), CPU)
        if name == "twice":
            training.loop.clips = Doubled(training.clips)
        training.run(Silent())
        rows.append([row for row in training.rows if row["split"] == "train"])
    told = ("coefficient", "strength", "weight", "score", "imbalance", "joint_weight", "ratio", "regulated")
    for once, twice in zip(*rows, strict=True):
        found = {key: value for key, value in once.items() if key.startswith(told)}
        assert found == pytest.approx({key: twice[key] for key in found}, rel=1e-3, abs=1e-5)
    assert settings == SETTINGS["uniform"] or any(value for key, value in found.items() if key.startswith("regulated"))


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
    store = make_store(modalities=3)
    experiment = resolved(settings, store, window={"when": "whole"})
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
    training = Training(resolved(SETTINGS[name], store), store, RunFolder(tmp_path / "run"), CPU)
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
    experiment = resolved({"method": "joint"}, store)
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


@pytest.mark.parametrize("method", ["inforeg", "greedy"])
def test_recording_fisher_traces_changes_no_bit(method, make_store, tmp_path):
    store = make_store(modalities=3)
    trained({"method": method}, store, tmp_path / "with", record={"fisher": True, "fisher_clips": 5})
    trained({"method": method}, store, tmp_path / "without")
    assert_same_bits(tmp_path / "with", tmp_path / "without")
    assert {"fisher.vector", "fisher.all"} <= set(metrics(tmp_path / "with").columns)
