"""Cells of a small store, and what tests ask of the folders that become of them."""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inforeg_cli.data.store import Store
from inforeg_cli.engine.launch import folder_of
from inforeg_cli.resolve import resolve
from inforeg_cli.sweep.cells import Cell

SHORT = {"epochs": 2, "batch_size": 8, "threads": 1}


def cell(store: Store, values: Mapping[str, Any], settings: Mapping[str, Any] = SHORT) -> Cell:
    experiment = resolve({**settings, **values}, store)
    name = folder_of(experiment, store, Path()).path.name
    told = {key: str(value) for key, value in values.items()}
    return Cell(told, experiment, None, experiment.id(store.digest), name)


def grid(store: Store, seeds: int, methods: Sequence[str] = ("joint",), settings: Mapping[str, Any] = SHORT):
    return [cell(store, {"method": method, "seed": seed}, settings) for method in methods for seed in range(seeds)]


#: A sweep over the seeds given, in a process of its own; what it ran stands in its last line.
PROGRAM = """
import json, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
from cell_factory import SHORT, cell
from inforeg_cli.console import out
from inforeg_cli.data.store import Store
from inforeg_cli.errors import InforegError
from inforeg_cli.sweep.local import Local
from inforeg_cli.sweep.run import run_sweep
from inforeg_cli.sweep.view import Lines
store, runs, seeds, epochs = Store.open(Path(sys.argv[2])), Path(sys.argv[3]), json.loads(sys.argv[4]), int(sys.argv[5])
cells = [cell(store, {"seed": seed}, {**SHORT, "epochs": epochs}) for seed in seeds]
try:
    summary = run_sweep(cells, store, runs, engine=Local.of(int(sys.argv[6])), sweep="tried", view=Lines(out))
except InforegError as error:
    print(error.kind, error)
    sys.exit(error.exit_code)
print(json.dumps({"done": summary.done, "ran": summary.ran, "failed": summary.failed}))
"""


def start_sweep(store: Store, runs: Path, seeds: Sequence[int], epochs: int, jobs: int = 2) -> subprocess.Popen:
    paths, seeds = json.dumps([path for path in sys.path if path]), json.dumps(list(seeds))
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, paths, str(store.path), str(runs), seeds, str(epochs), str(jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def without_mlflow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds to start, and nothing depends on it."""
    instead = folder / "instead of mlflow"
    instead.mkdir()
    (instead / "mlflow.py").write_text("raise ImportError('no mlflow here')")
    monkeypatch.syspath_prepend(instead)


@contextmanager
def held(folder: Path):
    """The run of that folder as another process trains it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def until(true: Callable[[], Any], seconds: float = 300) -> Any:
    """What is true at last. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)
    return found


def children(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    direct = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (stat := read(folder / "stat")):
            state, parent = stat.rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                direct.append(int(folder.name))
    return direct + [below for child in direct for below in children(child)]


def alive(pid: int) -> bool:
    stat = read(Path(f"/proc/{pid}/stat"))
    return bool(stat) and stat.rpartition(")")[2].split()[0] != "Z"


def holds(pid: int, path: Path) -> bool:
    """Whether a process has that file open."""
    try:
        return any(path.samefile(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
