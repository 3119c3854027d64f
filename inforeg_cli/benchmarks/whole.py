"""What a whole training by G-Blending costs, whose probes no single step shows."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inforeg_cli.benchmarks.passes import Passes
from inforeg_cli.benchmarks.steps import CHANNELS, JOINT, images
from inforeg_cli.benchmarks.turns import Figures, interleaved, quartiles, ratios
from inforeg_cli.console import err
from inforeg_cli.engine.fit import Training
from inforeg_cli.engine.services import HELD_OUT
from inforeg_cli.progress import Silent
from inforeg_cli.resolve import resolve
from inforeg_cli.run_folder import RunFolder

EPOCHS, STEPS, BATCH, SIDE = 4, 10, 32, 32
ROWS: dict[str, dict[str, Any]] = {
    JOINT: {},
    "g-blending, offline": {"method": {"name": "g-blending"}},
    "g-blending, online": {"method": {"name": "g-blending", "estimate": "online", "super_epoch": EPOCHS // 2}},
}
#: The training itself, all modalities probed together, and each alone, which together make one passage through all
#: encoders: three times joint's passes, over what is not held out.
EXPECTED = 3 * (1 - HELD_OUT)

COLUMNS = ("training", "seconds", "/ joint", "quartiles", "backwards / joint", "expected", "forwards / joint")


def bench_whole(modalities: int, turns: int, device: torch.device) -> Figures:
    """Time whole trainings, and count their passes. Scoring val and test, which all trainings do alike, is left out."""
    with tempfile.TemporaryDirectory(prefix="inforeg-bench-") as name:
        folder = Path(name)
        store = images(folder / "store", modalities, SIDE, STEPS * BATCH)
        common = {
            "batch_size": BATCH,
            "epochs": EPOCHS,
            "encoders": {name: {"name": "cnn"} for name in store.modalities},
        }

        def train(row: str) -> float:
            experiment = resolve({**common, **ROWS[row]}, store)
            training = Training(experiment, store, RunFolder(folder / row), device)
            started = time.perf_counter()
            while training.loop.epoch < EPOCHS:
                training.loop.train_epoch(Silent(), training.probing.begin(Silent()))
                training.loop.close_epoch(dict.fromkeys(training.loop.history, 0.0))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            return time.perf_counter() - started

        passes = {}
        with err.status(f"whole trainings, {modalities} modalities: {turns} turns"):
            for row in ROWS:
                (folder / row).mkdir()
                with Passes(CHANNELS) as counted:
                    train(row)
                passes[row] = np.array([counted.forwards, counted.backwards])
            seconds = interleaved({row: lambda row=row: train(row) for row in ROWS}, turns)
    found = []
    for row, times in seconds.items():
        first, ratio, third = ratios(times, seconds[JOINT])
        forwards, backwards = passes[row] / passes[JOINT]
        found.append(
            (
                row, round(quartiles(times)[1], 2), round(ratio, 2), f"{first:.2f}-{third:.2f}",
                round(float(backwards), 2), 1.0 if row == JOINT else round(EXPECTED, 2), round(float(forwards), 2),
            )
        )  # fmt: skip
    title = (
        f"{EPOCHS} epochs of {STEPS} steps, cnn, {modalities} modalities of {SIDE}x{SIDE}, batch {BATCH}, {turns} turns"
    )
    return Figures(title, COLUMNS, found)
