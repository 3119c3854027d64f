"""`inforeg bench`: what a training step of each method costs, as a ratio to plain joint training's."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from inforeg_cli.commands import options
from inforeg_cli.console import out
from inforeg_cli.errors import Misuse

if TYPE_CHECKING:
    from pathlib import Path

    from inforeg_cli.data.store import Store

#: What is timed: settings over the common ones. "joint again" is the same as joint: how far its ratio strays from 1 is
#: what this machine's noise alone does.
ROWS: dict[str, dict[str, Any]] = {
    "joint": {},
    "joint again": {},
    "joint, no trace": {"record": {"trace": False}},
    "uniform": {"method": "uniform"},
    "ogm": {"method": {"name": "ogm"}},
    "ogm-ge": {"method": {"name": "ogm", "noise": True}},
    "inforeg": {"method": {"name": "inforeg"}, "window": {"when": "whole"}},
    "inforeg+own": {"method": {"name": "inforeg"}, "window": {"when": "whole"}, "unimodal_losses": "own"},
}
TARGETS = {"ogm": 1.05, "inforeg": 1.05}
#: By encoder: side of the images, clips a batch, and steps timed together.
SIZES = {"cnn": (32, 64, 1), "resnet18": (64, 32, 1)}


def bench(
    turns: Annotated[int, typer.Option(min=3, help="How often every row is timed, in turn.")] = 30,
    encoder: Annotated[list[str] | None, typer.Option(show_default="cnn and resnet18", help="cnn, resnet18.")] = None,
    modalities: Annotated[int, typer.Option(min=2, help="How many modalities the model has.")] = 2,
    device: options.Device = "auto",
) -> None:
    """Time the training step of each method over joint's: medians of many turns, all in one process, windows open.

    A turn times every row once; a row's ratio is its time over joint's in the same turn. The half-width is half the
    interquartile range of "joint again", which is joint a second time: differences below it mean nothing here.
    """
    import tempfile
    from pathlib import Path

    from rich.table import Table

    from inforeg_cli.engine import device as devices

    chosen = devices.choose(device)
    for name in encoder or ():
        if name not in SIZES:
            raise Misuse(f"--encoder {name}: there is {' and '.join(SIZES)}")
    for name in encoder or SIZES:
        side, batch_size, steps = SIZES[name]
        with tempfile.TemporaryDirectory() as folder:
            store = _synthetic(Path(folder) / "store", modalities, side, batch_size * steps)
            with out.status(f"{name}: {turns} turns of {len(ROWS)} rows"):
                seconds = _timed(store, Path(folder), name, batch_size, turns, chosen)
        title = f"{name}, {modalities} modalities of {side}x{side}, batch {batch_size}, {chosen}, {turns} turns"
        table = Table(title=title, title_justify="left")
        for heading in ("method", "ms a step", "over joint", "quartiles", "target"):
            table.add_column(heading, justify="left" if heading in ("method", "target") else "right")
        ratios = {
            row: _quartiles([t / j for t, j in zip(times, seconds["joint"], strict=True)])
            for row, times in seconds.items()
        }
        low, _, high = ratios["joint again"]
        half_width = (high - low) / 2
        for row, times in seconds.items():
            first, middle, third = ratios[row]
            verdict = ""
            if row in TARGETS:
                met = "met" if middle <= TARGETS[row] + half_width else "MISSED"
                verdict = f"{met}: at most {TARGETS[row]:.2f} + {half_width:.3f}"
            milliseconds = 1000 * _quartiles(times)[1] / steps
            table.add_row(row, f"{milliseconds:.2f}", f"{middle:.3f}", f"{first:.3f}-{third:.3f}", verdict)
        out.print(table)


def _timed(
    store: "Store", folder: "Path", encoder: str, batch_size: int, turns: int, device: Any
) -> dict[str, list[float]]:
    """Seconds by row and turn; every turn begins with another row, so that none always follows the same one."""
    import time

    import torch

    from inforeg_cli.engine.fit import Training
    from inforeg_cli.progress import Silent
    from inforeg_cli.resolve import resolve
    from inforeg_cli.run_folder import RunFolder

    common = {"batch_size": batch_size, "encoders": {name: {"name": encoder} for name in store.modalities}}
    trainings = {
        row: Training(resolve({**common, **settings}, store), store, RunFolder(folder / row), device)
        for row, settings in ROWS.items()
    }

    def epoch(training: Training) -> float:
        training.loop.step = 0
        started = time.perf_counter()
        training.loop.train_epoch(Silent())
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    seconds: dict[str, list[float]] = {row: [] for row in trainings}
    rows = list(trainings)
    for row in rows:
        epoch(trainings[row])  # warm-up
    for turn in range(turns):
        for row in rows[turn % len(rows) :] + rows[: turn % len(rows)]:
            seconds[row].append(epoch(trainings[row]))
    return seconds


def _synthetic(path: "Path", modalities: int, side: int, train_clips: int) -> "Store":
    """Random images of ten classes: the time of a step does not depend on what is in them."""
    import numpy as np

    from inforeg_cli.data.sources import Clip
    from inforeg_cli.data.store import Modality, Store
    from inforeg_cli.data.writer import write_store

    random = np.random.default_rng(0)
    described = {f"image{index}": Modality("image", np.dtype("u1"), (1, side, side)) for index in range(modalities)}
    with write_store(path, described, name="bench", source="manifest", recipe_digest="") as writer:
        for clip in range(train_clips + 20):
            split = "train" if clip < train_clips else ("val", "test")[clip % 2]
            arrays = {name: random.integers(0, 256, (1, side, side), dtype=np.uint8) for name in described}
            writer.add(Clip(str(clip), {"label": str(clip % 10)}, {"split": split}), arrays)
    return Store.open(path)


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    from statistics import quantiles

    first, middle, third = quantiles(values, n=4, method="inclusive")
    return first, middle, third
