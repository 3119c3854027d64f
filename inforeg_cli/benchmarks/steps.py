"""What a training step of each method costs: time over joint's, passes through the encoders, and memory."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inforeg_cli.benchmarks.passes import Memory, Passes
from inforeg_cli.benchmarks.turns import Figures, interleaved, quartiles, ratios
from inforeg_cli.console import err
from inforeg_cli.data.sources import Clip
from inforeg_cli.data.store import Modality, Store
from inforeg_cli.data.writer import write_store
from inforeg_cli.engine.fit import Training
from inforeg_cli.engine.guard import Stopped, StopRequest
from inforeg_cli.methods.g_blending import FUSED
from inforeg_cli.progress import Silent
from inforeg_cli.resolve import resolve
from inforeg_cli.run_folder import RunFolder
from inforeg_cli.step import Epoch

#: Rows whose difference is the machine's noise: the yardstick, and the same a second time.
JOINT, AGAIN = "joint", "joint again"
#: With which row a method's own share of its cost is told; where none is named, with joint.
BASELINES = {"greedy": "mmtm", "g-blending": "uniform", "mmpareto": "uniform", "inforeg+own": "uniform"}
#: At most so many times joint's time; and where that grows with their number, for two modalities.
TARGETS = {"uniform": 1.1, "ogm": 1.05, "greedy": 1.2, "pmr": 1.05, "mmpareto": 2.0, "inforeg": 1.05}
TARGETS_OF_TWO = {"agm": 2.5}

#: What a method does before an epoch's first step is shared by so many steps: CREMA-D has 94 of 64 clips.
EPOCH = 100
#: By encoder: side of the images, clips a batch, and steps a turn.
SIZES = {"cnn": (32, 64, 2), "resnet18": (64, 32, 1)}
CHANNELS, CLASSES = 1, 10

COLUMNS = ("method", "ms", "/ joint", "quartiles", "target", "/ baseline", "forwards", "backwards", "MB", "+ MB")


def rows(modalities: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What is timed: settings over the common ones. "mmtm" is greedy's network without greedy."""
    inforeg = {"method": {"name": "inforeg"}, "window": {"when": "whole"}}
    weights = dict.fromkeys([*modalities, FUSED], 1.0)
    return {
        JOINT: {},
        AGAIN: {},
        "uniform": {"method": {"name": "uniform"}},
        "ogm": {"method": {"name": "ogm"}},
        "ogm-ge": {"method": {"name": "ogm", "noise": True}},
        "mmtm": {"method": {"name": "greedy", "curate": False}},
        "greedy": {"method": {"name": "greedy", "burn_in": 0}},
        "pmr": {"method": {"name": "pmr"}},
        "agm": {"method": {"name": "agm"}},
        "g-blending": {"method": {"name": "g-blending", "weights": weights}},  # its steps: of probes see `whole`
        "mmpareto": {"method": {"name": "mmpareto"}},
        "inforeg": inforeg,
        "inforeg+own": {**inforeg, "unimodal_losses": "own"},
    }


def bench_steps(encoder: str, modalities: int, turns: int, device: torch.device) -> Figures:
    """Time the training step of each method, windows open, beside joint's: medians over many turns in one process."""
    side, batch_size, steps = SIZES[encoder]
    with tempfile.TemporaryDirectory(prefix="inforeg-bench-") as name:
        folder = Path(name)
        store = images(folder / "store", modalities, side, EPOCH * batch_size)
        common = {"batch_size": batch_size, "encoders": {name: {"name": encoder} for name in store.modalities}}
        steppers, memory, passes = {}, {}, {}
        with err.status(f"{encoder}, {modalities} modalities: {turns} turns"):
            for row, settings in rows(list(store.modalities)).items():
                with Memory(device) as needed:
                    steppers[row] = Stepper({**common, **settings}, store, folder / row, device, steps)
                    passes[row] = steppers[row].passes()
                memory[row] = needed.peak / 1e6
            seconds = interleaved({row: stepper.turn for row, stepper in steppers.items()}, turns)
    low, _, high = ratios(seconds[AGAIN], seconds[JOINT])
    half_width = (high - low) / 2
    title = (
        f"{encoder}, {modalities} modalities of {side}x{side}, batch {batch_size}, {device}, {turns} turns; "
        f"{AGAIN}: half-width {half_width:.3f}"
    )
    targets = TARGETS if modalities > 2 else {**TARGETS, **TARGETS_OF_TWO}
    found = []
    for row, times in seconds.items():
        first, ratio, third = ratios(times, seconds[JOINT])
        own = ratios(times, seconds[BASELINES[row]])[1] if row in BASELINES else None
        verdict = None
        if row in targets:
            met = "met" if ratio <= targets[row] else "met in noise" if ratio <= targets[row] + half_width else "MISSED"
            verdict = f"{met}: at most {targets[row]:g}"
        found.append(
            (
                row, round(1000 * quartiles(times)[1], 2), round(ratio, 3), f"{first:.3f}-{third:.3f}", verdict,
                own and round(own, 3), *(round(count, 2) for count in passes[row]), round(memory[row], 1),
                round(memory[row] - memory[JOINT], 1),
            )
        )  # fmt: skip
    return Figures(title, COLUMNS, found)


def images(path: Path, modalities: int, side: int, train_clips: int) -> Store:
    """A store of random grey images of ten classes: what a step costs does not depend on what is in them."""
    random = np.random.default_rng(0)
    described = {
        f"image{index}": Modality("image", np.dtype("u1"), (CHANNELS, side, side)) for index in range(modalities)
    }
    with write_store(path, described, name="bench", source="manifest", recipe_digest="") as writer:
        for clip in range(train_clips + 2 * CLASSES):
            split = "train" if clip < train_clips else ("val", "test")[clip % 2]
            arrays = {name: random.integers(0, 256, (CHANNELS, side, side), dtype=np.uint8) for name in described}
            writer.add(Clip(str(clip), {"label": str(clip % CLASSES)}, {"split": split}), arrays)
    return Store.open(path)


class Stepper:
    """A training of which each turn makes some steps, always those that its first epoch begins with."""

    def __init__(self, settings: Mapping[str, Any], store: Store, folder: Path, device: torch.device, steps: int):
        stop = StopRequest()
        self._training = Training(resolve(settings, store), store, RunFolder(folder), device, stop)
        self._progress, self._steps, self._device = _StopAfter(stop, steps), steps, device
        method = self._training.loop.method
        self._epoch_start, method.epoch_start = method.epoch_start, self._start

    def turn(self) -> float:
        """Seconds a step."""
        return self._charged(self._now)

    def passes(self) -> tuple[float, float]:
        """Forwards and backwards a step, each of one batch through all encoders."""
        experiment = self._training.experiment
        with Passes(CHANNELS) as counted:
            clips = self._charged(lambda: np.array([counted.forwards, counted.backwards]))
        forwards, backwards = clips / (experiment.batch_size * len(experiment.modalities))
        return float(forwards), float(backwards)

    def _charged(self, read: Callable[[], Any]) -> Any:
        """By how much a meter moves on in a step, and in a step's share of what comes before an epoch."""
        self._read, training = read, self._training
        training.loop.step = 0
        begun = read()
        with suppress(Stopped):
            training.loop.train_epoch(self._progress, training.probing.begin(self._progress))
        moved = read() - begun
        training.loop.optimizer.zero_grad(
            set_to_none=True
        )  # as each step begins; all rows' gradients would be gigabytes
        return (moved - self._before) / self._steps + self._before / EPOCH

    def _start(self, epoch: Epoch) -> None:
        begun = self._read()
        self._epoch_start(epoch)
        self._before = self._read() - begun

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


class _StopAfter(Silent):
    """Asks for a stop after so many steps of an epoch."""

    def __init__(self, stop: StopRequest, steps: int):
        self._stop, self._steps = stop, steps

    def step(self, index: int) -> None:
        self._stop.requested = index + 1 == self._steps
