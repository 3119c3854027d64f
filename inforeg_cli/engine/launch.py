"""From an experiment to a finished run: its folder, its lock, its tracking, and the training between them."""

import platform
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from inforeg_cli.config import Experiment
from inforeg_cli.data.preparation import Preparation
from inforeg_cli.data.store import Store
from inforeg_cli.engine import checkpoint
from inforeg_cli.engine.device import set_deterministic
from inforeg_cli.engine.fit import Rows, Training
from inforeg_cli.engine.guard import Stopped, StopRequest
from inforeg_cli.engine.services import training_splits
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.progress import Silent
from inforeg_cli.resolve import restored
from inforeg_cli.run_folder import RunFolder
from inforeg_cli.settings import dotted
from inforeg_cli.tracking import Tracker


class Interrupted(InforegError):
    """Stopped by a signal; everything is saved. The command exits with 130, as interrupted programs do."""

    exit_code = 130
    kind = "stopped"


@dataclass(frozen=True)
class Outcome:
    folder: RunFolder
    result: dict[str, Any]
    trained: bool  # False: the run had been finished before
    ui_command: str | None = None


def folder_of(experiment: Experiment, store: Store, runs: Path, name: str | None = None) -> RunFolder:
    """``<dataset>-<method>-s<seed>-<id8>`` or `name`, under the folder of runs."""
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise Misuse(f"--name '{name}' must be letters, digits, '.', '_' and '-' (it becomes a folder under {runs})")
    method = re.sub(r"[^a-z0-9]+", "-", experiment.label)
    default = f"{experiment.dataset}-{method}-s{experiment.seed}-{experiment.id(store.digest)[:8]}"
    return RunFolder(runs / (name or default))


def train(
    experiment: Experiment,
    store: Store,
    folder: RunFolder,
    device: torch.device,
    *,
    preset: str | None = None,
    force: bool = False,
    progress: Silent | None = None,
    stop: StopRequest | None = None,
    sweep: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Outcome:
    """Train the experiment in its folder: from the start, from where it was interrupted, or not at all if it is finished.

    stop: what else may ask for a stop than a signal. sweep, tags: under what, and with what, MLflow shows the run.
    Raises Interrupted after a stop, with everything saved; Busy if another process trains the run; Misuse if the folder
    belongs to another experiment. Whatever else ends a run that has begun is written to its folder as well.
    """
    run_id, threads = experiment.id(store.digest), torch.get_num_threads()
    with folder.locked(), ExitStack() as afterwards:
        afterwards.callback(torch.set_num_threads, threads)  # a run's own number is not the next one's
        if (folder.path / "config.json").is_file() and not force:
            config = folder.read_config()
            if config["id"] != run_id:
                if config["data"]["digest"] != store.digest:
                    what = f"of other data than {store.path} holds now"
                elif config["experiment"] == experiment.model_dump(mode="json"):
                    what = "of another version of the method"
                else:
                    what = "of another configuration"
                raise Misuse(f"{folder.path.name} is a run {what}; choose another --name, or --force to replace it")
            if folder.finished:
                return Outcome(folder, folder.read_result(), trained=False)
        if force:
            folder.clear()
        folder.forget_failure()
        afterwards.enter_context(_failure_kept(folder))
        state = checkpoint.load(folder.last, device) if folder.last.is_file() else None
        set_deterministic(experiment.deterministic)
        with (stop or StopRequest()).listening() as stop:
            training = Training(experiment, store, folder, device, stop, state)
            folder.write_config(_description(experiment, store, run_id, preset))  # from here on it is a run
            if preparation := Preparation.of(store):
                preparation.write(folder.preparation)
            tracker = _tracker(experiment, store, folder, run_id, sweep, tags or {})

            def on_epoch(epoch: int, rows: Rows) -> None:
                tracker.log_epoch(
                    epoch, {f"{split}.{key}": float(v) for split, row in rows.items() for key, v in row.items()}
                )

            for epoch, rows in training.finished_epochs():  # what the mirror may have missed of an interrupted run
                on_epoch(epoch, rows)
            try:
                result = training.run(progress or Silent(), on_epoch)
            except Stopped:
                tracker.finish("KILLED", {}, [])
                raise Interrupted(
                    f"in epoch {training.loop.epoch} after {training.loop.step} steps; all is saved. "
                    f"Go on with: inforeg train --resume {shlex.quote(str(folder.path))}"
                ) from None
            except BaseException:
                tracker.finish("FAILED", {}, [])
                raise
        result |= {"run": folder.path.name, "id": run_id, "device": str(device), "versions": _versions()}
        folder.write_result(result)
        tracker.finish(
            "FINISHED", _summary(result), [folder.path / "config.json", folder.path / "result.json", folder.best]
        )
    return Outcome(folder, result, trained=True, ui_command=tracker.ui_command)


@contextmanager
def _failure_kept(folder: RunFolder) -> Iterator[None]:
    """What ends the run is kept in its folder. A stop is no failure, and neither is a refusal before it is a run."""
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        if not isinstance(error, Misuse) or (folder.path / "config.json").is_file():
            with suppress(OSError):  # the disk that is full, say; the error itself is what counts
                folder.write_failure(error)
        raise


def resume(folder: RunFolder) -> tuple[Experiment, str | None]:
    """What a run's own ``config.json`` says: the experiment and its preset."""
    config = folder.read_config()
    return restored(config["experiment"], folder.path), config.get("preset")


def _description(experiment: Experiment, store: Store, run_id: str, preset: str | None) -> dict[str, Any]:
    scheme, label = experiment.data.scheme, experiment.data.label
    held_out = training_splits(experiment, store).get("held_out")
    return {
        "id": run_id,
        "label": experiment.label,
        "baseline": experiment.baseline,
        "preset": preset,
        "method_version": experiment.method_class.version,
        "data": {
            "name": store.name,
            "digest": store.digest,
            "path": str(store.path),
            "scheme": scheme,
            "label": label,
            "classes": list(store.classes(label)),
            "counts": {split: len(store.split(scheme, split)) for split in ("train", "val", "test")},
            # Of the train clips: those that the method sets aside and does not train on.
            "held_out": 0 if held_out is None else len(held_out),
        },
        "experiment": experiment.model_dump(mode="json"),
    }


def _tracker(
    experiment: Experiment, store: Store, folder: RunFolder, run_id: str, sweep: str | None, tags: Mapping[str, str]
) -> Tracker:
    """The run's mirror in MLflow; its id there is kept beside the run, so that a resumed run goes on in the same place."""
    note = folder.path / ".mlflow-run"
    tracker = Tracker(
        folder.path.parent,
        store.name,
        folder.path.name,
        tags={
            **tags,
            "id": run_id,
            "method": experiment.label,
            "seed": str(experiment.seed),
            "scheme": experiment.data.scheme,
        },
        params=dotted(experiment.model_dump(mode="json")),
        run_id=note.read_text().strip() if note.is_file() else None,
        sweep=sweep,
    )
    if tracker.run_id:
        with suppress(OSError):  # the mirror is never worth a run
            note.write_text(tracker.run_id)
    return tracker


def _summary(result: dict[str, Any]) -> dict[str, float]:
    return {
        f"result.{split}.{metric}": result[split][metric]
        for split in ("val", "test")
        for metric in ("accuracy", "macro_f1", "loss")
    } | {"result.best_epoch": result["best_epoch"]}


def _versions() -> dict[str, str]:
    packages = ("inforeg", "torch", "torchvision", "torchaudio", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
