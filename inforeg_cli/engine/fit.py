"""A whole training: the loop's epochs, each scored and recorded, saved so that it can go on, and what came out."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from inforeg_cli import seeds
from inforeg_cli.config import Experiment
from inforeg_cli.console import warn
from inforeg_cli.data.batches import Clips, fit_transforms
from inforeg_cli.data.store import Store
from inforeg_cli.engine import checkpoint
from inforeg_cli.engine.build import build_model
from inforeg_cli.engine.evaluate import Predictions, nested, predict
from inforeg_cli.engine.fisher import fisher_traces
from inforeg_cli.engine.guard import Diverged, Stopped, StopRequest
from inforeg_cli.engine.loop import Loop
from inforeg_cli.engine.services import Probing, training_splits
from inforeg_cli.progress import Silent
from inforeg_cli.run_folder import RunFolder
from inforeg_cli.step import Epoch

Rows = dict[str, dict[str, Any]]


class Training:
    """One training: the loop, and all that surrounds it in a run's folder."""

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
        self.splits = training_splits(experiment, store)
        if threads := experiment.threads if state is None else state["threads"]:
            torch.set_num_threads(threads)
        self.transforms, model = build_model(experiment, store, device)
        if state is None:
            fit_transforms(self.transforms, store, self.splits["train"])
        else:
            with checkpoint.fitting(folder.last):
                self.transforms.load_state_dict(state["transforms"])
        self.clips = Clips(store, self.transforms, experiment.data.label, device)
        classes = len(store.classes(experiment.data.label))
        self.loop = Loop(experiment, model, self.clips, self.splits["train"], classes, self.stop)
        self.probing = Probing(self.loop, store, self.splits, self._save)
        self.rows: list[dict[str, Any]] = []  # metrics of the finished epochs, one row an epoch and split
        self.seconds = 0.0
        self._constant: set[str] = set()  # outputs that were warned about
        if state is not None:
            with checkpoint.fitting(folder.last):
                self.loop.load_state_dict(state)
                self.probing.load_state_dict(state["probing"])
                self.rows = list(state["rows"])
                self.seconds = state["seconds"]

    def run(self, progress: Silent, on_epoch: Callable[[int, Rows], None] = lambda epoch, rows: None) -> dict[str, Any]:
        """Train to the end and return the result. A request to stop saves the very step it finds, then raises Stopped;
        whatever else ends the training early leaves the last good checkpoint behind."""
        started = time.monotonic() - self.seconds
        progress.start(self.folder.path.name, self.experiment.epochs, self.loop.steps, self.loop.epoch)
        try:
            while self.loop.epoch < self.experiment.epochs:
                try:
                    opened = self.loop.train_epoch(progress, self.probing.begin(progress))
                    evaluated = self._evaluate()
                except Stopped:
                    self.seconds = time.monotonic() - started
                    self._save()
                    raise
                rows = self._close_epoch(opened, evaluated)
                self.seconds = time.monotonic() - started
                self._save()
                progress.epoch(self.loop.epoch - 1, rows)
                on_epoch(self.loop.epoch - 1, rows)
        finally:
            progress.stop()
        return self._result()

    def finished_epochs(self) -> Iterator[tuple[int, Rows]]:
        """The metrics of the epochs before the one training stands in, as `run` hands them to `on_epoch`."""
        for epoch in range(self.loop.epoch):
            rows = [row for row in self.rows if row["epoch"] == epoch]
            yield epoch, {row["split"]: {k: v for k, v in row.items() if k not in ("epoch", "split")} for row in rows}

    def _evaluate(self) -> dict[str, Predictions]:
        splits = ("val", "test") if self.experiment.record.test_curve else ("val",)
        return {split: self._predict(split, self.stop.check) for split in splits}

    def _predict(self, split: str, after_batch: Callable[[], None] = lambda: None) -> Predictions:
        return predict(
            self.loop.model, self.clips, self.splits[split], self.experiment.batch_size,
            precision=self.experiment.precision, after_batch=after_batch,
        )  # fmt: skip

    def _close_epoch(self, epoch: Epoch, evaluated: Mapping[str, Predictions]) -> Rows:
        """Record the epoch, keep the model if it is the best so far, and move on to the next one."""
        self.loop.method.epoch_end(epoch)
        train = {"lr": self.loop.optimizer.param_groups[0]["lr"], **self.loop.running.row()}
        if self.experiment.record.trace:
            traces = self.loop.trace.traces()
            train |= {f"trace.{name}": value for name, value in traces.items()}
            train |= {f"gradient_norm.{name}": value for name, value in self.loop.trace.gradient_norms().items()}
        else:
            traces = dict.fromkeys(self.loop.history, 0.0)
        if self.experiment.record.fisher:
            # A fixed set, the same for every method at one seed; not the first ones, which may all be of one class.
            order = seeds.permutation(len(self.splits["train"]), self.experiment.seed, "fisher").numpy()
            chosen = self.splits["train"][order[: self.experiment.record.fisher_clips]]
            fisher = fisher_traces(self.loop.model, self.clips, chosen)
            train |= {f"fisher.{name}": value for name, value in fisher.items()}
        train |= {f"open.{name}": name in epoch.open for name in self.loop.history}
        train |= {f"regulated.{name}": 0.0 for name in self.loop.history}
        train |= self.loop.method.diagnostics()
        rows: Rows = {"train": train, **{split: found.scores() for split, found in evaluated.items()}}
        if not np.isfinite(rows["val"]["loss"]):
            raise Diverged(f"the val loss is not finite after epoch {self.loop.epoch}; try a smaller --lr")
        self._warn_of_constants(evaluated["val"])
        before = {split: best_row(self.rows, split) for split in evaluated}
        self.rows += [{"epoch": self.loop.epoch, "split": split, **row} for split, row in rows.items()]
        if before["val"] is not best_row(self.rows, "val"):
            self._save_best()
        if "test" in evaluated and before["test"] is not best_row(self.rows, "test"):
            self._write_predictions("test", "test-best", evaluated["test"])
        self.folder.write_metrics(self.rows)
        if self.loop.cosines:
            self.loop.cosines.close(epoch)
            self.folder.write_gradient_cosines(self.loop.cosines.table())
        self.loop.close_epoch(traces)
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
        self.loop.model.load_state_dict(checkpoint.load(self.folder.best, self.device)["model"])
        best = {split: self._predict(split) for split in ("val", "test")}
        for which, predictions in (("last", last), ("best", best)):
            for split, found in predictions.items():
                self._write_predictions(split, which, found)
        train = [row for row in self.rows if row["split"] == "train"]
        regulated = {name: round(sum(row[f"regulated.{name}"] for row in train)) for name in self.loop.history}
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
            "open_epochs": {name: [row["epoch"] for row in train if row[f"open.{name}"]] for name in self.loop.history},
            "regulated_steps": regulated,
            "acted": None if self.experiment.is_baseline else any(regulated.values()),
            "steps": self.loop.steps * self.experiment.epochs,
            "parameters": sum(parameter.numel() for parameter in self.loop.model.parameters()),
            "seconds": round(self.seconds, 3),
        }

    def _write_predictions(self, split: str, which: str, predictions: Predictions) -> None:
        self.folder.write_predictions(split, which, predictions.table(self.store.ids))

    def _save(self) -> None:
        checkpoint.save(
            self.folder.last,
            {
                **self.loop.state_dict(),
                "transforms": self.transforms.state_dict(),
                "probing": self.probing.state_dict(),
                "rows": self.rows,
                "seconds": self.seconds,
                "threads": torch.get_num_threads(),
            },
        )

    def _save_best(self) -> None:
        model, transforms = self.loop.model.state_dict(), self.transforms.state_dict()
        checkpoint.save(self.folder.best, {"epoch": self.loop.epoch, "model": model, "transforms": transforms})


def best_row(rows: list[dict[str, Any]], split: str) -> dict[str, Any] | None:
    """The row of the split's best epoch: highest accuracy, the earliest of equals."""
    candidates = [row for row in rows if row["split"] == split]
    return max(candidates, key=lambda row: row["accuracy"], default=None)
