"""Runs of a study's rows as training leaves them, with curves that are known, made without training."""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inforeg_cli import studies
from inforeg_cli.data.store import Store
from inforeg_cli.engine.launch import folder_of
from inforeg_cli.resolve import resolve
from inforeg_cli.settings import merge
from inforeg_cli.studies import Study

EPOCHS, BATCHES = 6, 4
#: The presets of the dataset, in the user's own folder.
PRESETS = {
    "protocol": f'epochs = {EPOCHS}\nbatch_size = 8\nthreads = 1\n[encoders.picture]\nname = "cnn"\nchannels = [4]\n',
    "inforeg": 'extends = "protocol"\n[method]\nname = "inforeg"\n[window]\nwhen = "prime"\nK = 0.04\n',
}


def write_presets(root: Path, dataset: str) -> None:
    folder = root / "presets" / dataset
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in PRESETS.items():
        (folder / f"{name}.toml").write_text(text)


def make_study(
    runs: Path,
    store: Store,
    study: Study | str,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    only: Callable[[str, tuple], bool] = lambda row, values: True,
    settings: Mapping[str, Any] | None = None,
    opened: Callable[[int, str], Sequence[int]] = lambda seed, modality: (2, 3),
) -> list[Path]:
    """The runs of each row, value of an axis and seed that `only` admits, with `settings` over all of them.

    opened: the epochs in which a modality's window was open at a seed, in runs with a method.
    """
    study = studies.load(study) if isinstance(study, str) else study
    modalities = dict(enumerate(store.modalities))
    folders = []
    for row in studies.rows_on(study, modalities):
        for values in product(*study.axes.values()):
            for seed in seeds if only(row.name, values) else ():
                raw, preset = studies.row_settings(study, row, store.name, modalities)
                for key, value in zip(study.axes, values, strict=True):
                    table, _, leaf = key.partition(".")
                    raw = merge(raw, {table: {leaf: value}})
                experiment = resolve({**merge(raw, settings or {}), "seed": seed}, store)
                folder = folder_of(experiment, store, runs).path
                if not folder.exists():
                    _write(folder, store, experiment, preset, seed, opened)
                folders.append(folder)
    return folders


def fisher(modality: str, epoch: int, seed: int) -> float:
    """Known traces: later letters have smaller ones, and all of them fall."""
    return (200 - ord(modality[0])) * np.exp(-epoch) * (1 + seed / 10)


def _write(folder: Path, store: Store, experiment, preset, seed: int, opened) -> None:
    names, acts = experiment.modalities, not experiment.is_baseline
    windows = {name: list(opened(seed, name)) if acts else [] for name in names}
    folder.mkdir(parents=True)
    config = {
        "id": experiment.id(store.digest),
        "label": experiment.label,
        "baseline": experiment.baseline,
        "preset": preset,
        "method_version": experiment.method_class.version,
        "data": {
            "name": store.name, "digest": store.digest, "path": str(store.path), "label": "label",
            "classes": list(store.classes("label")),
        },
        "experiment": experiment.model_dump(mode="json"),
    }  # fmt: skip
    accuracy = 0.6 + 0.01 * seed
    heads = {name: {"accuracy": 0.5 - 0.1 * index, "macro_f1": 0.5} for index, name in enumerate(names)}
    scores = {"accuracy": accuracy, "macro_f1": accuracy, "loss": 1.0, "head": heads, "own_head": {}}
    regulated = {name: len(windows[name]) for name in names}
    result = {
        "label": experiment.label, "best_epoch": EPOCHS - 1, "epoch_rule": "val", "val": scores, "test": scores,
        "last": {"epoch": EPOCHS - 1, "val": scores, "test": scores}, "test_if_chosen_on_test": None,
        "open_epochs": windows, "regulated_steps": regulated, "acted": any(regulated.values()) if acts else None,
        "status": "finished",
    }  # fmt: skip
    rows = []
    for epoch in range(experiment.epochs):
        train = {f"trace.{name}": fisher(name, epoch, seed) for name in (*names, "all")}
        train |= {f"gradient_norm.{name}": fisher(name, epoch, seed) ** 0.5 for name in (*names, "all")}
        if experiment.record.fisher:
            train |= {f"fisher.{name}": fisher(name, epoch, seed) for name in (*names, "all")}
        rows.append({"epoch": epoch, "split": "train", **train})
        rows += [
            {"epoch": epoch, "split": split, "accuracy": accuracy, **{f"head.{name}.accuracy": 0.3 for name in names}}
            for split in ("val", "test")
        ]
    pd.DataFrame(rows).to_parquet(folder / "metrics.parquet", index=False)
    if experiment.record.gradient_cosines:
        pairs = list(zip(*np.triu_indices(BATCHES, 1), strict=True))
        random = np.random.default_rng(seed)
        cosines = [
            {
                "epoch": epoch, "modality": name, "batch_a": a, "batch_b": b,
                "cosine": float(np.clip(random.normal(0, 0.1), -1, 1)), "open": epoch in windows[name],
            }
            for epoch in range(experiment.epochs)
            for name in names
            for a, b in pairs
        ]  # fmt: skip
        pd.DataFrame(cosines).to_parquet(folder / "gradient_cosines.parquet", index=False)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "result.json").write_text(json.dumps(result))
