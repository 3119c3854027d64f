"""How a run was learnt, from what training recorded: prime windows, what the method did in them, and traces."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inforeg_cli.errors import InforegError, first_line
from inforeg_cli.window import Window


def dynamics(folder: Path, experiment: Mapping[str, Any], baseline: bool) -> dict[str, Any]:
    """Of a run's folder and its resolved settings: the best epoch on val, and by modality prime epochs, the final and the
    largest trace, where traces were recorded, and, of a run that is no `baseline`, open epochs and regulated steps.

    Prime epochs are those of eq. 11 by the run's own window settings, whether or not a method made use of them.
    Raises InforegError where ``metrics.parquet`` is absent or damaged.
    """
    train, val = (_rows(folder, split) for split in ("train", "val"))
    best = max(val, key=lambda row: row["accuracy"])
    window = Window.model_validate(experiment["window"])
    modalities = list(experiment["modalities"])
    traces = {name: [row[f"trace.{name}"] for row in train] for name in modalities if f"trace.{name}" in train[0]}
    found: dict[str, Any] = {
        "epochs": len(train),
        "best_epoch": best["epoch"],
        "best_val_accuracy": best["accuracy"],
        "final_val_accuracy": val[-1]["accuracy"],
        "by_modality": {},
    }
    for name in modalities:
        of_modality: dict[str, Any] = {}
        if not baseline:
            of_modality["open_epochs"] = [row["epoch"] for row in train if row.get(f"open.{name}")]
            of_modality["regulated_steps"] = round(sum(row.get(f"regulated.{name}") or 0 for row in train))
        if past := traces.get(name):
            deciding = traces.get(window.leader or name, past)
            peak = max(range(len(past)), key=past.__getitem__)
            of_modality |= {
                "prime_epochs": [epoch for epoch in range(len(past)) if window.is_prime(deciding[:epoch])],
                "final_trace": past[-1],
                "peak_trace": past[peak],
                "peak_epoch": peak,
            }
        found["by_modality"][name] = of_modality
    return found


def _rows(folder: Path, split: str) -> list[dict[str, Any]]:
    import numpy as np
    import pandas as pd

    path = folder / "metrics.parquet"
    try:
        table = pd.read_parquet(path)
        rows = table[table["split"] == split].sort_values("epoch")
        counts = [name for name in rows if split == "train" and name.startswith("regulated.")]
        if not np.isfinite(rows[["epoch", "accuracy", *counts]].to_numpy(float)).all():
            raise InforegError(f"{path} is damaged: it lacks numbers of {split}")
    except FileNotFoundError:
        raise InforegError(f"{path} does not exist: the run has not finished an epoch") from None
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors
        raise InforegError(f"{path} cannot be read: {first_line(error)}") from None
    if rows.empty:
        raise InforegError(f"{path} holds no epochs of {split}")
    return rows.to_dict("records")
