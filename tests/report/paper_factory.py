"""Run folders that fit the rows of the paper's tables, with predictions, metrics and results that agree with each other."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inforeg_cli import studies
from inforeg_cli.engine.evaluate import nested
from inforeg_cli.settings import merge

CLIPS, CLASSES = 200, 2
MODALITIES = ("sound", "image")
#: How much the accuracy of the last epoch, and of the one that is best on test, differs from the best one's on val.
SHIFTS = {"best": (20, 0.0), "last": (39, -0.02), "test-best": (17, 0.015)}


def make_row_run(
    runs: Path,
    table: int,
    row: str,
    seed: int = 0,
    accuracy: float = 0.8,
    *,
    modality_accuracy: Mapping[str, float] | None = None,
    dataset: str = "digits",
    digest: str = "d" * 64,
    modalities: tuple[str, ...] = MODALITIES,
    settings: Mapping[str, Any] | None = None,
    method_version: int = 1,
    acted: bool = True,
    finished: bool = True,
    held_out: int = 0,
    errors_from: int | None = None,
) -> Path:
    """A run of a table's row. settings: nested, over the row's. errors_from: the first clip that is wrong, for runs that
    err on other clips than their seed says."""
    study = studies.load(f"paper/table{table}")
    of_row = next(one for one in study.rows if one.name == row)
    raw, preset = studies.row_settings(study, of_row, dataset, dict(enumerate(modalities)))
    experiment = merge(
        {
            "modalities": list(modalities),
            "data": {"scheme": "default", "label": "digit"},
            "trace": {"reduction": "sum", "after_adjust": False},
            "optimizer": {"name": "sgd", "lr": 0.01},
            "epochs": 40,
            "batch_size": 64,
            "precision": "fp32",
            "threads": None,
            "record": {"test_curve": True, "fisher": False},
        },
        raw,
    )
    experiment = merge(experiment, {"dataset": dataset, "seed": seed, **(settings or {})})
    plain = experiment["method"]["name"] == "joint"
    identity = hashlib.sha256(json.dumps([experiment, digest, method_version], sort_keys=True).encode()).hexdigest()
    folder = runs / f"{dataset}-{experiment['method']['name']}-s{seed}-{identity[:8]}"
    folder.mkdir(parents=True)
    config = {
        "experiment": experiment,
        "id": identity,
        "label": experiment["method"]["name"],
        "baseline": None if plain else "joint",
        "preset": preset,
        "data": {
            "name": dataset,
            "digest": digest,
            "path": str(runs.parent / "datasets" / dataset / "prepared"),
            "scheme": "default",
            "label": "digit",
            "counts": {"train": 1000, "val": 100, "test": CLIPS},
            "held_out": held_out,
        },
        "method_version": method_version,
    }
    (folder / "config.json").write_text(json.dumps(config))
    if not finished:
        return folder
    kinds = ["head", *(["own_head"] if experiment["unimodal_losses"] == "own" else [])]
    wanted = {"fused": accuracy}
    for kind in kinds:
        for index, modality in enumerate(modalities):
            usual = max(accuracy - 0.1 * (index + 1), 0) + (0.05 if kind == "own_head" else 0)
            wanted[f"{kind}.{modality}"] = (modality_accuracy or {}).get(modality, usual)
    start = 7 * seed if errors_from is None else errors_from
    flat = {}
    for which, (_, shift) in SHIFTS.items():
        frame, flat[which] = _said({name: value + shift for name, value in wanted.items()}, start)
        frame.to_parquet(folder / f"predictions-test-{which}.parquet", index=False)
    epochs = [{"epoch": epoch, "split": "test", **flat[which]} for which, (epoch, _) in SHIFTS.items()]
    pd.DataFrame([*epochs, {"epoch": 20, "split": "val", "accuracy": accuracy}]).to_parquet(folder / "metrics.parquet")
    regulated = 120 if acted and not plain else 0
    result = {
        "status": "finished",
        "label": config["label"],
        "best_epoch": 20,
        "epoch_rule": "val",
        "val": {"loss": 0.5} | nested(flat["best"]),
        "test": {"loss": 0.5} | nested(flat["best"]),
        "last": {
            "epoch": 39,
            "val": {"loss": 0.5} | nested(flat["last"]),
            "test": {"loss": 0.5} | nested(flat["last"]),
        },
        "test_if_chosen_on_test": {"epoch": 17, **{key: flat["test-best"][key] for key in ("accuracy", "macro_f1")}},
        "open_epochs": {modality: [2, 3, 4] if regulated else [] for modality in modalities},
        "regulated_steps": dict.fromkeys(modalities, regulated),
        "acted": None if plain else bool(regulated),
        "seconds": 10.5,
    }
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def make_table(runs: Path, table: int, accuracies: Mapping[str, float], seeds: int = 3, **options: Any) -> None:
    """Runs of several rows, each with so many seeds, whose accuracies differ by half a point from seed to seed."""
    for row, accuracy in accuracies.items():
        for seed in range(seeds):
            make_row_run(runs, table, row, seed, accuracy + 0.005 * seed, **options)


def _said(accuracies: Mapping[str, float], start: int) -> tuple[pd.DataFrame, dict[str, float]]:
    label = np.arange(CLIPS) % CLASSES
    frame = pd.DataFrame({"id": [f"clip{index:03}" for index in range(CLIPS)], "label": label})
    scores = {}
    for name, accuracy in accuracies.items():
        wrong = np.roll(np.arange(CLIPS) >= round(accuracy * CLIPS), start)
        predicted = np.where(wrong, 1 - label, label)
        for index in range(CLASSES):
            frame[f"{name}.{index}"] = np.where(predicted == index, 0.9, 0.1)
        f1 = [
            2 * sum((label == c) & (predicted == c)) / (sum(label == c) + sum(predicted == c)) for c in range(CLASSES)
        ]
        rates = [float(np.mean(predicted[label == c] == 1)) for c in range(CLASSES)]
        prefix = "" if name == "fused" else f"{name}."
        scores |= {
            f"{prefix}accuracy": float(np.mean(predicted == label)),
            f"{prefix}macro_f1": float(np.mean(f1)),
            f"{prefix}auroc": (rates[1] - rates[0] + 1) / 2,
        }
    return frame, scores
