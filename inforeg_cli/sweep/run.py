"""A sweep: which of its cells are run, in what order, and what becomes of each. Who runs them is an engine's business."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from inforeg_cli.data.store import Store
from inforeg_cli.engine.guard import StopRequest
from inforeg_cli.engine.launch import Interrupted
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.run_folder import Busy, RunFolder, reason_of
from inforeg_cli.sweep.cells import Cell
from inforeg_cli.sweep.jobs import Event, Job
from inforeg_cli.sweep.ledger import Ledger, Summary
from inforeg_cli.sweep.view import View
from inforeg_cli.sweep.work import check_runs

#: How often a cell goes on after its worker died; what kills it every time would kill workers for ever.
_MORE_TRIES = 2
#: Seconds between two looks: at the workers and at a request to stop; at cells that other processes train.
_TICK, _LOOK = 0.2, 1.0


class Crew(Protocol):
    """Who trains cells, for as long as a sweep runs."""

    def room(self, wanted: int) -> int:
        """How many jobs can be begun at once, of the `wanted` that wait; what that needs is got ready meanwhile."""

    def start(self, job: Job) -> str:
        """Begin a job for which there is room, on a device and with threads of the crew's. Returns where."""

    def events(self, timeout: float) -> list[Event]:
        """What has been told, after so many seconds at the latest. Each job that is begun has one ending."""

    def stop(self) -> None:
        """Ask for all that runs to be saved and ended, which `events` tells of."""

    def close(self, *, hard: bool) -> None:
        """End everything that is left: `hard` at once, else with everything saved."""


class Engine(Protocol):
    def crew(self) -> Crew: ...


class CellKilled(InforegError):
    """The process that trained a cell died, again and again."""


def run_sweep(
    cells: Sequence[Cell],
    store: Store,
    runs: Path,
    *,
    engine: Engine,
    sweep: str,
    retry: bool = False,
    view: View | None = None,
    tags: Mapping[str, str] | None = None,
) -> Summary:
    """Run every cell that is not done, in their order, each once, and return when all are done or failed.

    engine: who trains them, `local.Local` or `cluster.Cluster`. sweep: the name that MLflow shows them under.
    retry: try those again that failed before. tags: of each run in MLflow.
    Interrupted ones go on from their checkpoints. One that another process is training is waited for, and taken over
    if that dies. Raises Interrupted after SIGINT or SIGTERM, with everything saved; InforegError where the folder of
    runs cannot be written, or the data has vanished.
    """
    try:
        runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misuse(f"{runs} cannot be made: {error.strerror}") from None
    check_runs(runs)
    ledger = Ledger(cells, runs, retry=retry, since=datetime.now(UTC).isoformat(timespec="milliseconds"))
    view = view or View()
    jobs = {
        name: Job(
            experiment=cell.experiment.model_dump(mode="json"), preset=cell.preset, data_digest=store.digest,
            store_path=str(store.path), dataset=store.name, runs=str(runs.absolute()), name=name,
            sweep=sweep, tags=dict(tags or {}),
        )
        for name, cell in ledger.cells.items()
    }  # fmt: skip
    try:
        view.begin(sweep, ledger)
        if ledger.left:
            with StopRequest().listening() as stop:
                _Run(ledger, view, jobs, engine.crew(), stop).to_the_end()
    finally:
        view.end()
    return Summary(tuple(ledger.done), tuple(ledger.ran), dict(ledger.failed), ledger.left)


class _Run:
    """The cells that are left, and the crew that they are given to."""

    def __init__(self, ledger: Ledger, view: View, jobs: Mapping[str, Job], crew: Crew, stop: StopRequest):
        self._ledger, self._view, self._jobs, self._crew, self._stop = ledger, view, jobs, crew, stop
        self._deaths: Counter[str] = Counter()
        self._looked = time.monotonic()
        self._trouble = ""
        self._said: set[str] = set()

    def to_the_end(self) -> None:
        """Raises Interrupted and InforegError as `run_sweep` does."""
        hard = True
        try:
            self._work()
            hard = False
        except KeyboardInterrupt:
            self._stop.requested = True  # nothing is lost but the epochs that were begun
        finally:
            try:
                self._crew.close(hard=hard)
            except KeyboardInterrupt:
                self._crew.close(hard=True)
        if self._trouble:
            raise InforegError(f"{self._trouble}\n{self._standing()}")
        if self._ledger.left:
            raise Interrupted(self._standing())

    def _work(self) -> None:
        while self._ledger.left and not self._stop.requested and not self._trouble:
            self._hand_out()
            self._take_in()
        if self._ledger.running:
            self._view.said("stopping: what runs is being saved; interrupt again to end at once")
            self._crew.stop()
            while self._ledger.running:
                self._take_in()

    def _standing(self) -> str:
        done, every, left = len(self._ledger.done), len(self._ledger.cells), len(self._ledger.left)
        return f"{done} of {every} cells are done, {left} left; the same command goes on with them"

    def _hand_out(self) -> None:
        ledger = self._ledger
        if ledger.elsewhere and time.monotonic() - self._looked > _LOOK:
            for name in sorted(ledger.elsewhere):
                if ledger.look(name):
                    ledger.waiting.append(name)
                elif name not in ledger.elsewhere:
                    self._view.booked(name)
            self._looked = time.monotonic()
        room = self._crew.room(len(ledger.waiting))
        while room and ledger.waiting:
            name = ledger.waiting.popleft()
            if ledger.look(name):  # it may be another process's by now, or done
                room -= 1
                ledger.start(name, self._crew.start(self._jobs[name]))
                self._view.started(name)
            else:
                self._view.booked(name)

    def _take_in(self) -> None:
        for event in self._crew.events(_TICK):
            self._book(event)
        self._view.refresh()

    def _book(self, event: Event) -> None:
        ledger, name = self._ledger, event.cell
        running = ledger.running.get(name)
        if event.kind == "said":
            if event.text not in self._said:  # several workers warn of one thing
                self._said.add(event.text)
                self._view.said(event.text)
        elif event.kind == "broken" and not name:
            self._trouble = event.text
        elif running is None:
            return
        elif event.kind == "started":
            running.from_epoch = running.epoch = event.epoch
            running.epochs, running.where = event.epochs, event.text or running.where
        elif event.kind == "epoch":
            running.epoch, running.score = event.epoch, event.score
        else:
            del ledger.running[name]
            self._end(event)

    def _end(self, event: Event) -> None:
        ledger, name = self._ledger, event.cell
        match event.kind:
            case "done":
                ledger.done[name] = event.score
                if event.ran:
                    ledger.ran.append(name)
            case "failed":
                ledger.failed[name] = event.text
            case "busy":
                ledger.elsewhere.add(name)
            case "broken":
                self._trouble = event.text
                ledger.waiting.appendleft(name)
            case "stopped":
                self._again(name, "its process was told to stop")
            case "lost":
                self._again(name, event.text)
        self._view.booked(name)

    def _again(self, name: str, reason: str) -> None:
        """A cell whose worker died, or was told to stop by somebody else, goes on; but not for ever."""
        ledger = self._ledger
        if not self._stop.requested and not self._trouble:
            self._deaths[name] += 1
            self._view.lost(name, reason)
        if self._deaths[name] <= _MORE_TRIES:
            ledger.waiting.appendleft(name)
            return
        folder = RunFolder(Path(self._jobs[name].runs) / name)
        try:
            with folder.locked():
                folder.write_failure(CellKilled(reason))
        except Busy:
            ledger.elsewhere.add(name)
            return
        except (InforegError, OSError) as error:
            self._view.said(f"{folder.path}: {reason_of(error)}")
        ledger.failed[name] = reason
