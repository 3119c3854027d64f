"""Cells on many machines: the jobs of the local engine, handed to a Ray cluster.

What ends a job is the result of its Ray task; what is told meanwhile goes through an actor, and may be lost with it.
Nothing else is Ray's: a lost cell is begun again by the sweep, as with every engine, from the checkpoint in its folder.
"""

import importlib.util
import math
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from inforeg_cli.errors import InforegError, Misuse, first_line
from inforeg_cli.sweep.jobs import Event, Job

if TYPE_CHECKING:
    from inforeg_cli.engine.guard import StopRequest

#: Set unless the user did: no statistics are sent, and no advice is printed between the lines of a sweep.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}
#: Seconds after which the cluster is asked again how large it is.
_RECOUNT = 5.0
#: Seconds that tasks get to save what they are at.
_PATIENCE = 20.0


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster: the one that this process is connected to, else at `address` or `$RAY_ADDRESS`, else one of its
    own on this machine.

    jobs: cells at once at most; None for as many as there is room for. cpus: cores a cell.
    device: ``auto`` (CUDA where the cluster has any), ``cpu`` or ``cuda``. per_device: cells that share a GPU.
    """

    address: str | None = None
    jobs: int | None = None
    cpus: int = 1
    device: str = "auto"
    per_device: int = 1

    def crew(self) -> "_Crew":
        """Raises Misuse without Ray, InforegError where the cluster cannot be reached."""
        if self.device not in ("auto", "cpu", "cuda"):
            raise Misuse(
                f"on a Ray cluster the device is auto, cpu or cuda, not '{self.device}': Ray chooses which GPU"
            )
        if importlib.util.find_spec("ray") is None:
            raise Misuse('--engine ray needs Ray: pip install "inforeg[ray]"')
        return _Crew(self)


class Mailbox:
    """An actor: events from tasks to the one who asks for them, as plain tuples."""

    def __init__(self) -> None:
        self._events: list[tuple[Any, ...]] = []

    def put(self, event: tuple[Any, ...]) -> None:
        self._events.append(event)

    def take(self) -> list[tuple[Any, ...]]:
        taken, self._events = self._events, []
        return taken


def train(job: Job, mailbox: Any) -> Event:
    """A task: train the cell, and return how that ended."""
    from inforeg_cli.engine.guard import StopRequest
    from inforeg_cli.sweep.work import perform

    endings: list[Event] = []

    def tell(event: Event) -> None:
        if event.is_ending:
            endings.append(event)
            return
        if event.kind == "started":
            event = replace(event, text=socket.gethostname())
        mailbox.put.remote(tuple(vars(event).values()))

    with StopRequest().listening() as stop, _noticing_the_end_of_ray(stop):  # Ray cancels by SIGINT
        perform(job, tell, stop)
    return endings[0]


@contextmanager
def _noticing_the_end_of_ray(stop: "StopRequest") -> Iterator[None]:
    """Ray's own process on this machine is the parent of its workers. When it dies they would go on for a minute; so
    what runs is saved, and the worker ends."""
    parent, over = os.getppid(), threading.Event()

    def watch() -> None:
        while not over.wait(1):
            if os.getppid() != parent:
                stop.requested = True
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        if os.getppid() != parent:
            os._exit(1)


class _Crew:
    def __init__(self, cluster: Cluster):
        for key, value in _ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        import ray

        self._ray, self._cluster = ray, cluster
        self._temporary: str | None = None
        self._own = not ray.is_initialized()
        if self._own:
            self._connect()
        has_gpu = ray.cluster_resources().get("GPU", 0) > 0
        if cluster.device == "cuda" and not has_gpu:
            self._disconnect()
            raise Misuse("the Ray cluster has no GPU, so cells would wait for ever; choose --devices auto or cpu")
        cuda = has_gpu and cluster.device != "cpu"
        self._device, self._gpus = ("cuda", 1 / cluster.per_device) if cuda else ("cpu", 0)
        self._slots, self._counted = 0, -math.inf
        self._mailbox = ray.remote(num_cpus=0, max_restarts=-1)(Mailbox).remote()
        # Retries are the sweep's, which counts them and says so, and which a stop ends.
        self._train = ray.remote(num_cpus=cluster.cpus, num_gpus=self._gpus, max_retries=0)(train)
        self._tasks: dict[Any, str] = {}
        self._letters: Any = None

    def _connect(self) -> None:
        address = self._cluster.address or os.environ.get("RAY_ADDRESS")
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if address:
                self._ray.init(address=address, **quiet)
            else:
                # Its sockets' paths may have 107 characters, and users' own folders for temporary files are longer.
                self._temporary = tempfile.mkdtemp(prefix="inforeg-ray-", dir="/tmp")
                cpus = self._cluster.jobs and self._cluster.jobs * self._cluster.cpus
                self._ray.init(
                    address="local", num_cpus=cpus, include_dashboard=False, _temp_dir=self._temporary, **quiet
                )
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            self._disconnect()
            raise InforegError(f"no Ray cluster at {address or 'this machine'}: {first_line(error)}") from None

    def room(self, wanted: int) -> int:
        if time.monotonic() - self._counted > _RECOUNT:  # machines come and go
            total, cluster = self._ray.cluster_resources(), self._cluster
            slots = int(total.get("CPU", 0) // cluster.cpus)
            if self._gpus:
                slots = min(slots, int(total.get("GPU", 0) * cluster.per_device))
            # At least one waits there, so that a cluster that grows with what is asked of it does so.
            self._slots = min(max(1, slots), cluster.jobs or slots or 1)
            self._counted = time.monotonic()
        return max(0, self._slots - len(self._tasks))

    def start(self, job: Job) -> str:
        task = self._train.remote(replace(job, device=self._device, threads=self._cluster.cpus), self._mailbox)
        self._tasks[task] = job.name
        return "ray"

    def events(self, timeout: float) -> list[Event]:
        ray = self._ray
        if self._letters is None:
            self._letters = self._mailbox.take.remote()
        if self._tasks:
            ended, _ = ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=timeout)
        else:
            ended = []
            time.sleep(timeout)
        told = []
        if ray.wait([self._letters], timeout=0)[0]:
            # Where the actor has died Ray starts it again; what it held was nothing that counts.
            with suppress(ray.exceptions.RayError):
                told = [Event(*letter) for letter in ray.get(self._letters)]
            self._letters = None
        return told + [self._ending(task) for task in ended]

    def stop(self) -> None:
        for task in self._tasks:
            self._ray.cancel(task, force=False)

    def close(self, *, hard: bool) -> None:
        if not hard and self._tasks:
            self.stop()
            self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=_PATIENCE)
        for task in self._tasks:
            self._ray.cancel(task, force=True)
        self._tasks.clear()
        self._ray.kill(self._mailbox)
        self._disconnect()

    def _ending(self, task: Any) -> Event:
        name, errors = self._tasks.pop(task), self._ray.exceptions
        try:
            return self._ray.get(task)
        except errors.TaskCancelledError:
            return Event("stopped", name)
        except errors.RayTaskError as error:  # no error of the training, which would have been told as an ending
            return Event("broken", name, text=f"a Ray worker cannot train cells: {first_line(error.cause)}")
        except errors.RayError as error:
            return Event("lost", name, text=f"the Ray worker died: {first_line(error)}")

    def _disconnect(self) -> None:
        """From a cluster that this crew has connected to; one of its own ends with that."""
        if self._own:
            self._ray.shutdown()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)
