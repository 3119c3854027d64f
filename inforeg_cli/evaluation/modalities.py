"""What each modality knows by itself: the heads, a linear probe of its encoder, and the run of it alone beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inforeg_cli.evaluation.probe import Probe, probe, probe_clips
from inforeg_cli.evaluation.scores import scores
from inforeg_cli.evaluation.subject import Subject
from inforeg_cli.report.groups import Group, alone, grouped
from inforeg_cli.report.runs import Run, all_runs

#: What of a probe is shown: it is fitted to tell classes apart, not to be sure of them.
_OF_PROBES = ("accuracy", "balanced_accuracy", "macro_f1", "top5", "auroc")


def probes(subject: Subject) -> dict[str, Probe]:
    """One a modality, of the clips that are scored; and, of several modalities, `fused` of all features side by side."""
    splits = subject.training_splits
    fitted_on = probe_clips(splits["train"])
    train, val = (subject.features(rows, own=True) for rows in (fitted_on, splits["val"]))
    asked = subject.asked_features
    sets = [with_fused(part.by_modality) for part in (train, val, asked)]
    return {
        name: probe((sets[0][name], train.target), (sets[1][name], val.target), sets[2][name], len(subject.classes))
        for name in sets[0]
    }


def by_modality(subject: Subject, found: Mapping[str, Probe], runs: Path) -> dict[str, Any]:
    """Each modality's scores by head, own head and probe; and where the folder `runs` has runs of it alone on the same
    data and protocol, their accuracy, and what each of the three lacks to it."""
    predictions = subject.predictions
    outputs = {name: values for name, values in predictions.log_probabilities.items() if name != "fused"}
    outputs |= {f"probe.{name}": one.log_probabilities for name, one in found.items()}
    scored = scores(outputs, predictions.target)
    constant = set(predictions.constant_outputs())
    groups = grouped(all_runs(runs).runs)
    result: dict[str, Any] = {"by_modality": {}}
    for name in subject.experiment.modalities:
        measured: dict[str, Any] = {
            kind: scored[f"{kind}.{name}"] for kind in ("head", "own_head") if f"{kind}.{name}" in scored
        }
        if f"head.{name}" in constant:
            measured["head"]["constant"] = True
        measured["probe"] = _of_probe(scored[f"probe.{name}"], found[name])
        if (beside := _alone(subject, groups, name)) is not None:
            measured["alone"] = beside
            measured["minus_alone"] = {
                kind: measured[kind]["accuracy"]["value"] - beside["accuracy"]
                for kind in ("head", "own_head", "probe")
                if kind in measured
            }
        result["by_modality"][name] = measured
    if "fused" in found:
        result["fused_probe"] = _of_probe(scored["probe.fused"], found["fused"])
    return result


def _of_probe(scored: Mapping[str, Any], found: Probe) -> dict[str, Any]:
    return {name: scored[name] for name in _OF_PROBES if name in scored} | {
        "strength": found.strength,
        "val_accuracy": found.val_accuracy,
        "train_clips": found.train_clips,
    }


def with_fused(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """By modality ``[N, D_m]``; of several also `fused`, all of a clip's features side by side."""
    return {**features, "fused": np.concatenate(list(features.values()), axis=1)} if len(features) > 1 else {**features}


def _alone(subject: Subject, groups: list[Group], modality: str) -> dict[str, Any] | None:
    """The accuracy, on the same split and by the same rule, of the runs of this modality alone; None where there is no
    such number."""
    if subject.note is not None or len(subject.experiment.modalities) == 1:
        return None
    group = alone(Group((subject.run,)), groups, modality)
    if group is None:
        return None
    same = [run for run in group.runs if run.seed == subject.run.seed]
    taken = [run for run in same or group.runs if _accuracy(run, subject.split, subject.which) is not None]
    if not taken:
        return None
    return {
        "accuracy": float(np.mean([_accuracy(run, subject.split, subject.which) for run in taken])),
        "seeds": [run.seed for run in taken],
        "runs": [run.name for run in taken],
    }


def _accuracy(run: Run, split: str, which: str) -> float | None:
    """As its training found it; the train split is not scored there."""
    result = run.result if which == "best" else run.result.get("last") or {}
    return (result.get(split) or {}).get("accuracy")
