"""What is evaluated: a run's model at one checkpoint, and the clips of one split that it is asked about."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from inforeg_cli import evaluation_record as record
from inforeg_cli.config import Experiment
from inforeg_cli.data.batches import Clips
from inforeg_cli.data.catalogue import open_store, store_of_run
from inforeg_cli.data.store import Store
from inforeg_cli.data.transforms import transform_of
from inforeg_cli.engine.build import loaded
from inforeg_cli.engine.evaluate import Predictions, predict
from inforeg_cli.engine.features import Features, features_of
from inforeg_cli.engine.services import training_splits
from inforeg_cli.errors import InforegError
from inforeg_cli.evaluation import fit_of_data
from inforeg_cli.models.late_fusion import LateFusion
from inforeg_cli.report.runs import Run, read_run
from inforeg_cli.run_folder import RunFolder


@dataclass(frozen=True)
class Subject:
    """The clips `indices` of `store` are scored; `own_store` is what the run was trained on, as it is now.

    about: see `record.about`. note: in what the data are not those that the run was trained on; None where they are.
    """

    run: Run
    split: str
    which: str
    experiment: Experiment
    model: LateFusion
    transforms: nn.ModuleDict
    own_store: Store
    store: Store
    indices: np.ndarray
    device: torch.device
    about: Mapping[str, Any]
    note: str | None = None

    @property
    def checkpoint(self) -> Path:
        return checkpoint_of(self.run, self.which)

    @property
    def other(self) -> bool:
        """Whether another dataset than the run's is scored."""
        return self.store is not self.own_store

    @property
    def classes(self) -> tuple[str, ...]:
        return self.store.classes(self.experiment.data.label)

    @cached_property
    def clips(self) -> Clips:
        return Clips(self.store, self.transforms, self.experiment.data.label, self.device)

    @cached_property
    def predictions(self) -> Predictions:
        """Raises InforegError where the model's answers are no numbers."""
        found = predict(
            self.model, self.clips, self.indices, self.experiment.batch_size, precision=self.experiment.precision
        )
        for name, values in found.log_probabilities.items():
            if broken := int((~np.isfinite(values)).any(axis=1).sum()):
                raise InforegError(
                    f"{self.run.name}: {self.checkpoint.name} gives no finite probabilities for {broken} of "
                    f"{len(values)} clips (output {name}): its weights or its inputs hold NaN or infinity"
                )
        return found

    def features(self, indices: np.ndarray, *, own: bool = False) -> Features:
        """Of clips of what is scored or, with `own`, of what the run was trained on."""
        clips = self._own_clips if own else self.clips
        experiment = self.experiment
        return features_of(self.model, clips, indices, experiment.batch_size, precision=experiment.precision)

    @cached_property
    def asked_features(self) -> Features:
        """Of the clips that are scored."""
        return self.features(self.indices)

    @cached_property
    def training_splits(self) -> dict[str, np.ndarray]:
        """Rows of `own_store` by split, those held out of train left out, as when the run was trained."""
        return training_splits(self.experiment, self.own_store)

    @cached_property
    def _own_clips(self) -> Clips:
        if not self.other:
            return self.clips
        transforms = _transforms(self.experiment, self.own_store, self.transforms, self.device)
        return Clips(self.own_store, transforms, self.experiment.data.label, self.device)


def checkpoint_of(run: Run, which: str) -> Path:
    folder = RunFolder(run.path)
    return folder.best if which == "best" else folder.last


def open_subject(
    path: Path, split: str, which: str, device: torch.device, *, dataset: str | None = None, allow_changed: bool = False
) -> Subject:
    """The run in folder `path`, with checkpoint `which` (best or last), asked about `split` of its own data or of
    another `dataset`.

    Raises Misuse or InforegError, in words, for a run that is half there, a checkpoint that cannot be read, data that
    changed (unless that is allowed) or do not fit, and a split without clips.
    """
    run = read_run(path)
    if not run.finished and which == "best":
        raise InforegError(
            f"{run.name} has not finished, so its best epoch is not known yet: score its present state with "
            f"--checkpoint last, or go on with inforeg train --resume {run.name}"
        )
    own = store_of_run(run_config := RunFolder(path).read_config())
    note = fit_of_data.check_changed(run, own, allow_changed)
    other = None if dataset is None else open_store(dataset)
    if other is not None and other.digest == own.digest:
        other = None
    scheme = run_config["experiment"]["data"]["scheme"]
    rows = None if other is not None else fit_of_data.clips_of(own, scheme, split)
    # Before the checkpoint is read: a training that goes on may replace it at any time.
    checkpoint = checkpoint_of(run, which)
    about = record.about(checkpoint, own.digest) if checkpoint.is_file() else {}
    experiment, transforms, model = loaded(RunFolder(path), own, which, device)
    subject = Subject(run, split, which, experiment, model, transforms, own, own, rows, device, about, note)
    if other is None:
        return subject
    scheme = fit_of_data.check_other(experiment, own, other, split)
    return replace(
        subject,
        store=other,
        indices=fit_of_data.clips_of(other, scheme, split),
        transforms=_transforms(experiment, other, transforms, device),
        note="; ".join(
            part
            for part in (f"scored on {other.name}, not on {own.name}, which {run.name} was trained on", note)
            if part
        ),
    )


def _transforms(experiment: Experiment, store: Store, fitted: nn.ModuleDict, device: torch.device) -> nn.ModuleDict:
    """The same transforms for clips of another store, with the statistics of the run's own train split."""
    made = {name: transform_of(store, name, experiment.inputs[name]) for name in experiment.modalities}
    transforms = nn.ModuleDict(made)
    transforms.load_state_dict(fitted.state_dict())
    return transforms.to(device)
