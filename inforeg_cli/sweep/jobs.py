"""A job: what a worker is sent to train a cell, and what it says meanwhile; plain data, the same whoever the worker is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Job:
    """A cell as plain data, to be trained by any process that sees the folder of runs.

    experiment: as in ``config.json``. name: the run's folder under `runs`. store_path: where the data with this digest
    lay when the sweep began; elsewhere it is looked for by the name `dataset`. threads: of the CPU, for an experiment
    that names no number itself; like the device, it is filled in by who runs the job. sweep, tags: for MLflow.
    """

    experiment: Mapping[str, Any]
    preset: str | None
    data_digest: str
    store_path: str
    dataset: str
    runs: str
    name: str
    sweep: str
    tags: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 1


#: ``ready``: a worker may be given a job. ``started``, ``epoch``: how far it is. ``said``: a line for people.
#: How a job ended: ``done``; ``failed``, as its folder says; ``busy``, another process has it; ``stopped``, and saved;
#: ``broken``, no cell can be trained there; ``lost``, its worker died.
Kind = Literal["ready", "started", "epoch", "said", "done", "failed", "busy", "stopped", "broken", "lost"]
_ENDINGS = frozenset({"done", "failed", "busy", "stopped", "broken", "lost"})


@dataclass(frozen=True)
class Event:
    """What a worker tells.

    cell: its name, empty where it is of none. epoch: how many are finished, of `epochs`. score: val accuracy, a
    fraction. text: the line said, the reason, or where a cell was started. ran: of a cell that is done, whether it was
    trained just now.
    """

    kind: Kind
    cell: str = ""
    epoch: int = 0
    epochs: int = 0
    score: float | None = None
    text: str = ""
    ran: bool = False

    @property
    def is_ending(self) -> bool:
        return bool(self.cell) and self.kind in _ENDINGS
