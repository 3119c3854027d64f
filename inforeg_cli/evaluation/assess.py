"""All that is asked of one run, measure by measure; what several measures need is computed once."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from inforeg_cli.evaluation.dynamics import dynamics
from inforeg_cli.evaluation.modalities import by_modality, probes
from inforeg_cli.evaluation.passes import threads_of
from inforeg_cli.evaluation.probe import Probe
from inforeg_cli.evaluation.robustness import damage_curves
from inforeg_cli.evaluation.scores import by_class, confusion, scores
from inforeg_cli.evaluation.subject import Subject
from inforeg_cli.evaluation.subsets import Subsets, subsets_of

#: Of the damage: one for all, so that every run is put to the same.
DAMAGE_SEED = 0


class Assessment:
    """The measures of one run, each under its name in `measures.MEASURES` and as it is kept in the run's folder: plain
    values, unrounded. Raises InforegError, in words, where one cannot be computed.

    runs: the folder in which runs of single modalities are looked for.
    """

    def __init__(self, subject: Subject, runs: Path):
        self.subject, self.runs = subject, runs

    def measure(self, name: str) -> Any:
        measures = {
            "accuracy": self.accuracy,
            "modalities": self.modalities,
            "contribution": lambda: self.subsets.contribution(),
            "missing": lambda: self.subsets.missing(),
            "damage": self.damage,
            "dynamics": self.dynamics,
        }
        with threads_of(self.subject.experiment):
            return measures[name]()

    def accuracy(self) -> dict[str, Any]:
        predictions, classes = self.subject.predictions, self.subject.classes
        fused = predictions.log_probabilities["fused"]
        counts = confusion(fused, predictions.target)
        return {
            "clips": len(predictions.target),
            "scores": scores({"fused": fused}, predictions.target)["fused"],
            "by_class": by_class(counts, classes),
            "confusion": counts.tolist(),
        }

    def modalities(self) -> dict[str, Any]:
        return by_modality(self.subject, self.probes, self.runs)

    def damage(self) -> dict[str, Any]:
        subject = self.subject
        # With what a method holds out of it: the damage is the same for every method.
        train = subject.own_store.split(subject.experiment.data.scheme, "train")
        return damage_curves(
            subject.model, subject.clips, subject.own_store, subject.indices, train,
            subject.experiment.batch_size, seed=DAMAGE_SEED, precision=subject.experiment.precision,
        )  # fmt: skip

    def dynamics(self) -> dict[str, Any]:
        run = self.subject.run
        return dynamics(run.path, run.experiment, self.subject.experiment.is_baseline)

    @cached_property
    def probes(self) -> Mapping[str, Probe]:
        return probes(self.subject)

    @cached_property
    def subsets(self) -> Subsets:
        subject, experiment = self.subject, self.subject.experiment
        return subsets_of(
            subject.model, subject.clips, subject.indices, experiment.batch_size, precision=experiment.precision
        )
