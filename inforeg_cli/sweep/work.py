"""What a worker does with a job, in whatever process it is: train the cell, and tell how it goes."""

import gc
import io
import os
import socket
import tempfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import torch

from inforeg_cli.data import catalogue
from inforeg_cli.data.store import Store
from inforeg_cli.engine import launch
from inforeg_cli.engine.device import choose
from inforeg_cli.engine.guard import StopRequest
from inforeg_cli.errors import InforegError, Misuse, first_line
from inforeg_cli.progress import Silent
from inforeg_cli.resolve import restored
from inforeg_cli.run_folder import Busy, RunFolder, reason_of
from inforeg_cli.sweep.jobs import Event, Job

Tell = Callable[[Event], None]


def perform(job: Job, tell: Tell, stop: StopRequest) -> bool:
    """Train the cell of a job in this process, telling how it begins, goes on and ends; nothing is raised.

    Returns whether the process is fit for another one: an error that nobody foresaw may have left it in any state.
    """
    if stop.requested:
        tell(Event("stopped", job.name))
        return True
    torch.set_num_threads(job.threads)
    try:
        store = find_store(job)
        check_runs(Path(job.runs))
    except (InforegError, OSError) as error:
        tell(Event("broken", job.name, text=str(error)))
        return True
    folder, relay = RunFolder(Path(job.runs) / job.name), _Relay(tell)
    try:
        with redirect_stdout(relay), redirect_stderr(relay):
            outcome = launch.train(
                restored(job.experiment, folder.path), store, folder, choose(job.device),
                preset=job.preset, progress=_Telling(job, tell), stop=stop, sweep=job.sweep, tags=job.tags,
            )  # fmt: skip
    except launch.Interrupted as error:
        tell(Event("stopped", job.name, text=str(error)))
    except Busy as error:
        tell(Event("busy", job.name, text=str(error)))
    except Exception as error:
        if trouble := _trouble(job):  # not the cell's fault, so it shall not count as failed
            with suppress(OSError):  # it is the machine that is in trouble
                folder.forget_failure()
            tell(Event("broken", job.name, text=trouble))
        else:
            tell(Event("failed", job.name, text=reason_of(error)))
        return isinstance(error, InforegError)
    else:
        tell(Event("done", job.name, score=outcome.result["val"]["accuracy"], ran=outcome.trained))
    finally:
        # A training refers to itself: until its cycles are found, it keeps its model in memory and the data's files open.
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # others share the device
    return True


def find_store(job: Job) -> Store:
    """The data of a job on this machine: at its path, else what is prepared under its name. Raises Misuse."""
    found = {}
    for path in dict.fromkeys((Path(job.store_path), catalogue.store_path(job.dataset))):
        try:
            store = Store.open(path)
        except Misuse as error:
            found[path] = first_line(error)
            continue
        if store.digest == job.data_digest:
            return store
        found[path] = f"{path} holds other data (digest {store.digest[:8]})"
    raise Misuse(
        f"{socket.gethostname()} has no {job.dataset} of digest {job.data_digest[:8]}: {'; '.join(found.values())}"
    )


def check_runs(runs: Path) -> None:
    """Raises InforegError where runs cannot be written. The folder is not made: that of another machine must be seen."""
    if not runs.is_dir():
        raise InforegError(
            f"{socket.gethostname()} has no folder {runs}: it must be there, on storage that all machines share"
        )
    try:
        with tempfile.TemporaryFile(dir=runs) as handle:
            handle.write(bytes(2**16))
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise InforegError(f"{runs} cannot be written on {socket.gethostname()}: {error.strerror}") from None


def _trouble(job: Job) -> str:
    """What is wrong with the machine, whichever the cell; empty where nothing is."""
    try:
        find_store(job)
        check_runs(Path(job.runs))
    except (InforegError, OSError) as error:
        return str(error)
    return ""


class _Telling(Silent):
    def __init__(self, job: Job, tell: Tell):
        self._job, self._tell = job, tell
        self._epochs = 0

    def start(self, title: str, epochs: int, steps: int, epoch: int) -> None:
        self._epochs = epochs
        self._tell(Event("started", self._job.name, epoch, epochs))

    def epoch(self, epoch: int, rows: Mapping[str, Mapping[str, Any]]) -> None:
        self._tell(Event("epoch", self._job.name, epoch + 1, self._epochs, score=float(rows["val"]["accuracy"])))


class _Relay(io.TextIOBase):
    """What a worker would print, line by line to who started it: who knows what is on the terminal."""

    def __init__(self, tell: Tell):
        self._tell, self._line = tell, ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            if line.strip():
                self._tell(Event("said", text=line.rstrip()))
        return len(text)
