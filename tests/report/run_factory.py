"""Synthetic run folders, in the form in which training leaves them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

CLIPS = 200
MODALITIES = ("image", "sound")
METHODS = {"joint": "joint", "uniform": "joint", "ogm": "ogm", "inforeg": "inforeg", "inforeg+own": "inforeg"}


def make_run(
    runs_dir: Path,
    label: str = "joint",
    seed: int = 0,
    accuracy: float = 0.8,
    *,
    name: str | None = None,
    dataset: str = "digits",
    digest: str = "d" * 64,
    modalities: tuple[str, ...] = MODALITIES,
    own_heads: bool | None = None,
    acted: bool = True,
    finished: bool = True,
    predictions: bool = True,
    method_version: int = 1,
    settings: Mapping[str, Any] | None = None,
    held_out: int = 0,
) -> Path:
    """A run's folder. `accuracy` of its test clips are right, the first ones by number, turned around by the seed.

    `settings` replaces parts of the experiment by dotted key, e.g. ``{"optimizer.lr": 0.1}``.
    """
    own = label in ("uniform", "inforeg+own") if own_heads is None else own_heads
    experiment = {
        "dataset": dataset,
        "modalities": list(modalities),
        "seed": seed,
        "method": {"name": METHODS.get(label, label), "beta": 0.9},
        "unimodal_losses": "own" if own else "none",
        "window": {"when": "prime" if label.startswith("inforeg") else "whole", "K": 0.04},
        "fusion": {"name": "concat"},
        "encoders": {modality: {"name": "cnn"} for modality in modalities},
        "optimizer": {"name": "sgd", "lr": 0.01},
        "schedule": {"name": "step"},
        "trace": {"reduction": "layer-mean" if label == "inforeg" else "sum"},
        "epochs": 30,
        "batch_size": 64,
        "data": {"scheme": "default", "label": "digit"},
        "record": {"fisher": False},
    }
    for key, value in (settings or {}).items():
        *parents, leaf = key.split(".")
        here = experiment
        for parent in parents:
            here = here[parent]
        here[leaf] = value
    text = json.dumps([experiment, digest, method_version], sort_keys=True)
    identity = hashlib.sha256(text.encode()).hexdigest()
    folder = runs_dir / (name or f"{dataset}-{label}-s{seed}-{identity[:8]}")
    folder.mkdir(parents=True)
    baseline = {"joint": None, "uniform": "joint", "inforeg+own": "uniform"}.get(label, "joint")
    config = {
        "experiment": experiment,
        "id": identity,
        "label": label,
        "baseline": baseline,
        "preset": f"{dataset}/{label}",
        "data": {
            "name": dataset,
            "digest": digest,
            "path": str(runs_dir.parent / "datasets" / dataset),
            "scheme": "default",
            "label": "digit",
            "classes": ["zero", "one"],
            "counts": {"train": 1000, "val": 100, "test": CLIPS},
            "held_out": held_out,
        },
        "method_version": method_version,
    }
    (folder / "config.json").write_text(json.dumps(config))
    if finished:
        (folder / "result.json").write_text(json.dumps(_result(label, accuracy, modalities, own, acted)))
        if predictions:
            for split in ("val", "test"):
                _write_predictions(folder / f"predictions-{split}-best.parquet", accuracy, seed)
    return folder


def _result(label: str, accuracy: float, modalities: tuple[str, ...], own: bool, acted: bool) -> dict[str, Any]:
    def scores(value: float) -> dict[str, Any]:
        heads = {m: max(value - 0.1 * i, 0) for i, m in enumerate(modalities, 1)}
        each = {m: {"accuracy": head, "macro_f1": head} for m, head in heads.items()}
        return {
            "accuracy": value,
            "macro_f1": max(value - 0.01, 0),
            "loss": 0.5,
            "head": each,
            "own_head": each if own else {},
        }

    plain = label in ("joint", "uniform")
    regulated = 120 if acted and not plain else 0
    return {
        "status": "finished",
        "label": label,
        "best_epoch": 20,
        "epoch_rule": "val",
        "val": scores(min(accuracy + 0.01, 1)),
        "test": scores(accuracy),
        "last": {"epoch": 29, "val": scores(accuracy), "test": scores(accuracy - 0.02)},
        "test_if_chosen_on_test": {"epoch": 17, "accuracy": accuracy + 0.015, "macro_f1": accuracy + 0.01},
        "open_epochs": {m: [2, 3, 4] if regulated and not i else [] for i, m in enumerate(modalities)},
        "regulated_steps": {m: 0 if i else regulated for i, m in enumerate(modalities)},
        "acted": None if plain or len(modalities) == 1 else bool(regulated),
        "steps": 480,
        "parameters": 12345,
        "seconds": 10.5,
        "device": "cpu",
        "versions": {},
    }


def _write_predictions(path: Path, accuracy: float, seed: int) -> None:
    right = np.roll(np.arange(CLIPS) < round(accuracy * CLIPS), 7 * seed)
    label = np.arange(CLIPS) % 2
    chosen = np.where(right, label, 1 - label)
    fused = np.where(chosen[:, None] == np.arange(2), 0.9, 0.1)
    frame = pd.DataFrame({"id": [f"clip{i:03}" for i in range(CLIPS)], "label": label})
    for index in range(2):
        frame[f"fused.{index}"] = fused[:, index]
    frame.to_parquet(path)
