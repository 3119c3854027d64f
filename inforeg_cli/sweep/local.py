"""Cells on this machine: worker processes, each of which imports torch once and trains one cell after another.

A worker reads jobs from a socket and answers with events. The other end closed means that nobody waits for it any more,
for whatever reason: it saves what it is at, and ends.
"""

import json
import math
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import connection

from inforeg_cli.engine.device import choose
from inforeg_cli.engine.guard import StopRequest
from inforeg_cli.errors import Misuse
from inforeg_cli.naming import count
from inforeg_cli.sweep.jobs import Event, Job
from inforeg_cli.sweep.work import perform

#: What a worker runs. It finds modules where the parent does, which a test or a script may have told it by hand.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from inforeg_cli.sweep.local import serve; "
    "serve(int(sys.argv[2]))"
)
#: Seconds that workers get to save what they are at; and one that nobody waits for, whatever it is doing.
_PATIENCE, _ORPHANS = 20.0, 60.0
#: Workers that may die one after the other before any of them could be given a job.
_MOST_STILLBORN = 3


@dataclass(frozen=True)
class Local:
    """devices: one for each worker process, e.g. ``("cuda:0", "cuda:1", "cuda:0", "cuda:1")``."""

    devices: tuple[str, ...] = ("auto",)

    @classmethod
    def of(cls, jobs: int | None = None, devices: Sequence[str] = (), per_device: int = 1) -> "Local":
        """As ``--jobs``, ``--devices`` and ``--per-device`` say: without devices, `jobs` processes, else `per_device`, on
        whatever there is; with them `per_device` on each, `jobs` at most. Raises Misuse for a device that is not there,
        and for more jobs than the devices take."""
        for what, number in (("--jobs", jobs), ("--per-device", per_device)):
            if number is not None and number < 1:
                raise Misuse(f"{what} {number}: at least 1")
        for name in devices:
            choose(name)
        if not devices:
            return cls(("auto",) * (jobs or per_device))
        slots = tuple(devices) * per_device
        if jobs is not None and jobs > len(slots):
            raise Misuse(
                f"--jobs {jobs}: {count(len(devices), 'device')} with {per_device} each take {len(slots)} at once; "
                f"add --per-device {math.ceil(jobs / len(devices))}"
            )
        return cls(slots[:jobs])

    def crew(self) -> "_Crew":
        return _Crew(self.devices)


def cores() -> int:
    """Those that this process may use; a batch system may have left it a part of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Crew:
    def __init__(self, devices: Sequence[str]):
        self._devices = devices
        self._threads = max(1, cores() // len(devices))
        self._workers: dict[int, _Worker] = {}  # by slot
        self._stillborn = 0
        self._closing = False

    def room(self, wanted: int) -> int:
        idle = [worker for worker in self._workers.values() if worker.held is None]
        for slot in range(len(self._devices)):
            if slot not in self._workers and len(idle) < wanted:
                self._workers[slot] = worker = _Worker(self._threads)
                idle.append(worker)
        return sum(worker.ready for worker in idle)

    def start(self, job: Job) -> str:
        slot = next(slot for slot, worker in self._workers.items() if worker.ready and worker.held is None)
        self._workers[slot].give(replace(job, device=self._devices[slot], threads=self._threads))
        device = self._devices[slot]
        return f"worker {slot + 1}" + ("" if device == "auto" else f", {device}")

    def events(self, timeout: float) -> list[Event]:
        by_connection = {worker.connection: slot for slot, worker in self._workers.items()}
        if not by_connection:
            time.sleep(timeout)
            return []
        told = []
        for ready in connection.wait(list(by_connection), timeout):
            slot = by_connection[ready]
            worker = self._workers[slot]
            if (event := worker.receive()) is not None:
                told.append(event)
            else:
                del self._workers[slot]
                told += self._buried(worker)
        return told

    def stop(self) -> None:
        self._closing = True
        for worker in self._workers.values():
            worker.give(None)

    def close(self, *, hard: bool) -> None:
        deadline = time.monotonic() + (0 if hard else _PATIENCE)
        for worker in self._workers.values():
            worker.connection.close()
        for worker in self._workers.values():
            worker.end(deadline - time.monotonic())
        self._workers.clear()

    def _buried(self, worker: "_Worker") -> list[Event]:
        reason = worker.end(_PATIENCE)
        self._stillborn = 0 if worker.born else self._stillborn + 1
        if worker.held is not None:
            return [Event("lost", worker.held, text=f"the process {reason}")]
        if self._stillborn >= _MOST_STILLBORN and not self._closing:
            return [Event("broken", text=f"no worker process can be started: it {reason}")]
        return []


class _Worker:
    """A process, this end of its socket, and the cell in its hands."""

    def __init__(self, threads: int):
        ours, theirs = socket.socketpair()
        self.connection = connection.Connection(ours.detach())
        self.held: str | None = None
        self.ready = self.born = False
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what is not told as events is no output of the command
                pass_fds=[theirs.fileno()],
                env={**os.environ, **limits, "TERM": "dumb"},
                process_group=0,  # Ctrl-C in a terminal is for the parent, which tells its workers
            )

    def give(self, job: Job | None) -> None:
        """A job, or None for the end of all."""
        if job is not None:
            self.held = job.name
        with suppress(OSError):  # of a dead one `receive` tells
            self.connection.send(job)

    def receive(self) -> Event | None:
        """None from a dead one."""
        try:
            event = self.connection.recv()
        except (EOFError, OSError):
            return None
        if event.kind == "ready":
            # So it says after each job, too: only then it can be given another one.
            self.ready = self.born = True
        elif event.is_ending:
            self.held, self.ready = None, False
        return event

    def end(self, patience: float) -> str:
        """How it ended, after so many seconds at the latest."""
        self.connection.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0, patience))
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        code = self._process.returncode
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def serve(descriptor: int) -> None:
    """A worker's life."""
    link, jobs, stop = connection.Connection(descriptor), queue.SimpleQueue(), StopRequest()
    sending = threading.Lock()

    def tell(event: Event) -> None:
        with sending, suppress(OSError):  # with nobody there any more
            link.send(event)

    threading.Thread(target=_listen, args=(link, jobs, stop), daemon=True).start()
    with stop.listening():
        fit = True
        while fit and not stop.requested:
            tell(Event("ready"))
            job = jobs.get()
            fit = job is not None and perform(job, tell, stop)


def _listen(link: connection.Connection, jobs: "queue.SimpleQueue[Job | None]", stop: StopRequest) -> None:
    """Jobs go to the main thread; the end of all is a request to stop, which it finds between two steps."""
    with suppress(EOFError, OSError):
        while (job := link.recv()) is not None:
            jobs.put(job)
    stop.requested = True
    jobs.put(None)
    with suppress(EOFError, OSError):
        link.recv()
    # Nobody is there any more. What is stuck, or takes longer for a step, has its last checkpoint.
    time.sleep(_ORPHANS)
    os.kill(os.getpid(), signal.SIGKILL)
