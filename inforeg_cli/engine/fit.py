"""The training loop: one for every method, none of which it knows by name."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from inforeg_cli import seeds
from inforeg_cli.config import Experiment
from inforeg_cli.console import warn
from inforeg_cli.data.batches import Clips, fit_transforms, steps_per_epoch
from inforeg_cli.data.store import Store
from inforeg_cli.engine import checkpoint
from inforeg_cli.engine.build import build_model, build_optimizer
from inforeg_cli.engine.evaluate import Predictions, nested, predict, reported_logits
from inforeg_cli.engine.fisher import fisher_traces
from inforeg_cli.engine.guard import Diverged, FiniteLosses, Stopped, StopRequest
from inforeg_cli.engine.metrics import RunningScores
from inforeg_cli.methods import Method
from inforeg_cli.numerics.traces import GradientTrace
from inforeg_cli.progress import Silent
from inforeg_cli.run_folder import RunFolder
from inforeg_cli.step import Epoch, Losses, Step

Rows = dict[str, dict[str, Any]]
_CHECK_LOSSES_EVERY = 50  # steps; each check waits for the device


class Training:
    """One training: model, optimiser, method and all that a checkpoint must hold, and the loop over them."""

    def __init__(
        self,
        experiment: Experiment,
        store: Store,
        folder: RunFolder,
        device: torch.device,
        stop: StopRequest | None = None,
        state: Mapping[str, Any] | None = None,
    ):
        """state: a checkpoint to go on from; it restores the thread count as well, on which the last bits depend."""
        self.experiment, self.store, self.folder, self.device = experiment, store, folder, device
        self.stop = stop or StopRequest()
        self.splits = {name: store.split(experiment.data.scheme, name) for name in ("train", "val", "test")}
        self.steps = steps_per_epoch(len(self.splits["train"]), experiment.batch_size)
        if threads := experiment.threads if state is None else state["threads"]:
            torch.set_num_threads(threads)
        self.transforms, self.model = build_model(experiment, store, device)
        if state is None:
            fit_transforms(self.transforms, store, self.splits["train"])
        else:
            with checkpoint.fitting(folder.last):
                self.transforms.load_state_dict(state["transforms"])
        self.clips = Clips(store, self.transforms, experiment.data.label, device)
        self.optimizer = build_optimizer(self.model, experiment)
        encoders = self.model.encoder_parameters()
        self.method = experiment.method_class(experiment.method, seed=experiment.seed)
        self.method.setup(encoders)
        self.baseline = Method()
        self.trace = GradientTrace({**encoders, "all": list(self.model.parameters())}, experiment.trace.reduction)
        self.running = RunningScores(len(store.classes(experiment.data.label)))
        self.epoch, self.step = 0, 0  # where training stands: `step` steps of `epoch` are done
        self.rows: list[dict[str, Any]] = []  # metrics of the finished epochs, one row an epoch and split
        self.history: dict[str, list[float]] = {name: [] for name in encoders}  # each modality's traces
        self.seconds = 0.0
        self._constant: set[str] = set()  # outputs that were warned about
        if state is not None:
            with checkpoint.fitting(folder.last):
                self._load_state_dict(state)

    def run(self, progress: Silent, on_epoch: Callable[[int, Rows], None] = lambda epoch, rows: None) -> dict[str, Any]:
        """Train to the end and return the result. A request to stop saves the very step it finds, then raises Stopped;
        whatever else ends the training early leaves the last good checkpoint behind."""
        started = time.monotonic() - self.seconds
        progress.start(self.folder.path.name, self.experiment.epochs, self.steps, self.epoch)
        try:
            while self.epoch < self.experiment.epochs:
                try:
                    opened = self.train_epoch(progress)
                    evaluated = self._evaluate()
                except Stopped:
                    self.seconds = time.monotonic() - started
                    self._save()
                    raise
                rows = self._close_epoch(opened, evaluated)
                self.seconds = time.monotonic() - started
                self._save()
                progress.epoch(self.epoch - 1, rows)
                on_epoch(self.epoch - 1, rows)
        finally:
            progress.stop()
        return self._result()

    def finished_epochs(self) -> Iterator[tuple[int, Rows]]:
        """The metrics of the epochs before the one training stands in, as `run` hands them to `on_epoch`."""
        for epoch in range(self.epoch):
            rows = [row for row in self.rows if row["epoch"] == epoch]
            yield epoch, {row["split"]: {k: v for k, v in row.items() if k not in ("epoch", "split")} for row in rows}

    def train_epoch(self, progress: Silent) -> Epoch:
        """The rest of the current epoch, from step `self.step` on."""
        experiment, method, model = self.experiment, self.method, self.model
        opened = experiment.window.open_modalities(self.history, method.windows_per_modality)
        epoch = Epoch(self.epoch, frozenset() if experiment.is_baseline else opened)
        train = torch.from_numpy(self.splits["train"])
        order = train[seeds.permutation(len(train), experiment.seed, "order", self.epoch)]
        factor = experiment.schedule.factor(self.epoch, experiment.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        if self.step == 0:  # in a resumed epoch this stands in the checkpoint
            self.trace.reset()
            self.running = RunningScores(self.running.classes)
            method.epoch_start(epoch)
        active = method if epoch.open else self.baseline
        guard = FiniteLosses(
            ("fused", *(experiment.modalities if experiment.unimodal_losses != "none" else ())), self.device
        )
        augment = (experiment.seed, "augment", self.epoch)
        model.train()
        for batch in self.clips.batches(order, experiment.batch_size, augment=augment, start=self.step):
            seeds.seed_global(self.device, experiment.seed, "dropout", self.epoch, self.step)
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=experiment.precision == "bf16"):
                outputs = active.forward(model, batch.inputs, batch.lengths)
                losses = Losses.of(outputs, batch.target, experiment.unimodal_losses)
            step = Step(epoch, self.step, outputs, batch.target, losses)
            active.backward(step)
            if experiment.record.trace and not experiment.trace.after_adjust:
                self.trace.update()
            active.adjust(step)
            if experiment.record.trace and experiment.trace.after_adjust:
                self.trace.update()
            self.optimizer.step()
            self.running.update(
                reported_logits(model, outputs),
                {"loss": losses.fused, **{f"loss.{name}": loss for name, loss in losses.unimodal.items()}},
                batch.target,
            )
            guard.update(self.step, {"fused": losses.fused, **losses.unimodal})
            self.step += 1
            progress.step(self.step - 1)
            stopping = self.stop.requested
            if self.step % _CHECK_LOSSES_EVERY == 0 or self.step == self.steps or stopping:
                guard.check(self.epoch)
            if stopping:
                raise Stopped
        return epoch

    def _evaluate(self) -> dict[str, Predictions]:
        splits = ("val", "test") if self.experiment.record.test_curve else ("val",)
        return {split: self._predict(split, self.stop.check) for split in splits}

    def _predict(self, split: str, after_batch: Callable[[], None] = lambda: None) -> Predictions:
        return predict(
            self.model, self.clips, self.splits[split], self.experiment.batch_size,
            precision=self.experiment.precision, after_batch=after_batch,
        )  # fmt: skip

    def _close_epoch(self, epoch: Epoch, evaluated: Mapping[str, Predictions]) -> Rows:
        """Record the epoch, keep the model if it is the best so far, and move on to the next one."""
        self.method.epoch_end(epoch)
        train = {"lr": self.optimizer.param_groups[0]["lr"], **self.running.row()}
        if self.experiment.record.trace:
            traces = self.trace.traces()
            train |= {f"trace.{name}": value for name, value in traces.items()}
            train |= {f"gradient_norm.{name}": value for name, value in self.trace.gradient_norms().items()}
        else:
            traces = dict.fromkeys(self.history, 0.0)
        if self.experiment.record.fisher:
            # A fixed set, the same for every method at one seed; not the first ones, which may all be of one class.
            order = seeds.permutation(len(self.splits["train"]), self.experiment.seed, "fisher").numpy()
            chosen = self.splits["train"][order[: self.experiment.record.fisher_clips]]
            fisher = fisher_traces(self.model, self.clips, chosen)
            train |= {f"fisher.{name}": value for name, value in fisher.items()}
        train |= {f"open.{name}": name in epoch.open for name in self.history}
        train |= {f"regulated.{name}": 0.0 for name in self.history}
        train |= self.method.diagnostics()
        rows: Rows = {"train": train, **{split: found.scores() for split, found in evaluated.items()}}
        if not np.isfinite(rows["val"]["loss"]):
            raise Diverged(f"the val loss is not finite after epoch {self.epoch}; try a smaller --lr")
        self._warn_of_constants(evaluated["val"])
        before = {split: best_row(self.rows, split) for split in evaluated}
        self.rows += [{"epoch": self.epoch, "split": split, **row} for split, row in rows.items()]
        if before["val"] is not best_row(self.rows, "val"):
            self._save_best()
        if "test" in evaluated and before["test"] is not best_row(self.rows, "test"):
            self._write_predictions("test", "test-best", evaluated["test"])
        for name, past in self.history.items():
            past.append(traces[name])
        self.folder.write_metrics(self.rows)
        self.epoch, self.step = self.epoch + 1, 0
        return rows

    def _warn_of_constants(self, predictions: Predictions) -> None:
        """Once: a modality whose logits are the same for every clip has no score, whatever its accuracy says."""
        for name in set(predictions.constant_outputs()) - self._constant:
            self._constant.add(name)
            modality = name.partition(".")[2]
            warn(
                f"{modality}: with the other features absent, the logits of '{self.experiment.fusion.name}' are the same "
                "for every clip, so its head accuracy and its score mean nothing; see fusion.absent"
            )

    def _result(self) -> dict[str, Any]:
        """Score the last and the best model, write their predictions, and say what came out."""
        last = {split: self._predict(split) for split in ("val", "test")}
        self.model.load_state_dict(checkpoint.load(self.folder.best, self.device)["model"])
        best = {split: self._predict(split) for split in ("val", "test")}
        for which, predictions in (("last", last), ("best", best)):
            for split, found in predictions.items():
                self._write_predictions(split, which, found)
        train = [row for row in self.rows if row["split"] == "train"]
        regulated = {name: round(sum(row[f"regulated.{name}"] for row in train)) for name in self.history}
        on_test = best_row(self.rows, "test")
        return {
            "status": "finished",
            "label": self.experiment.label,
            "epoch_rule": "val",
            "best_epoch": best_row(self.rows, "val")["epoch"],
            **{split: nested(found.scores()) for split, found in best.items()},
            "last": {
                "epoch": self.experiment.epochs - 1,
                **{split: nested(found.scores()) for split, found in last.items()},
            },
            # What choosing the epoch on test would print, as much of the literature does. It chooses nothing here.
            "test_if_chosen_on_test": on_test and {key: on_test[key] for key in ("epoch", "accuracy", "macro_f1")},
            "open_epochs": {name: [row["epoch"] for row in train if row[f"open.{name}"]] for name in self.history},
            "regulated_steps": regulated,
            "acted": None if self.experiment.is_baseline else any(regulated.values()),
            "steps": self.steps * self.experiment.epochs,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "seconds": round(self.seconds, 3),
        }

    def _write_predictions(self, split: str, which: str, predictions: Predictions) -> None:
        self.folder.write_predictions(split, which, predictions.table(self.store.ids))

    def _save(self) -> None:
        checkpoint.save(
            self.folder.last,
            {
                "epoch": self.epoch,
                "step": self.step,
                "model": self.model.state_dict(),
                "transforms": self.transforms.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "method": self.method.state_dict(),
                "trace": self.trace.state_dict(),
                "running": self.running.state_dict(),
                "history": self.history,
                "rows": self.rows,
                "seconds": self.seconds,
                "threads": torch.get_num_threads(),
            },
        )

    def _save_best(self) -> None:
        state = {"epoch": self.epoch, "model": self.model.state_dict(), "transforms": self.transforms.state_dict()}
        checkpoint.save(self.folder.best, state)

    def _load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.method.load_state_dict(state["method"])
        self.trace.load_state_dict(state["trace"])
        self.running.load_state_dict(state["running"])
        self.epoch, self.step = state["epoch"], state["step"]
        self.history = {name: list(past) for name, past in state["history"].items()}
        self.rows = list(state["rows"])
        self.seconds = state["seconds"]


def best_row(rows: list[dict[str, Any]], split: str) -> dict[str, Any] | None:
    """The row of the split's best epoch: highest accuracy, the earliest of equals."""
    candidates = [row for row in rows if row["split"] == split]
    return max(candidates, key=lambda row: row["accuracy"], default=None)
