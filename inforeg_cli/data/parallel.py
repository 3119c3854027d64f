"""Work in processes or threads, results in order, no more of them in memory than the workers need to be kept busy.

The processes are started afresh, not forked (the parent may have threads), and import only what the function needs.
Results travel as pickles through a socket; their arrays lie in memory that all processes share.
"""

import gc
import json
import os
import pickle
import queue
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from inforeg_cli.data.exchange import Places, receive, send
from inforeg_cli.errors import InforegError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: For fewer items than this no process is started: that takes as long as decoding so many short recordings.
FEWEST = 32
#: Items in a worker's hands: the one it works on, and the next, so that it never waits for the parent.
_HELD = 2
#: Results on their way or waiting for their turn, a worker; and bytes of those waiting beyond which none is fetched.
_AHEAD, _MOST_WAITING = 4, 256 * 2**20
#: Seconds that a worker gets to end by itself once nothing is left to do.
_PATIENCE = 5.0
#: What a worker runs. It finds modules where the parent does, which a test or a script may have told it by hand.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from inforeg_cli.data.parallel import serve; serve(*map(int, sys.argv[2:]))"
)
#: One core each: several processes with as many threads as there are cores would only be in each other's way.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Crash:
    """Stands in place of a result whose worker died over it: `reason` is the signal's name or the exit code."""

    reason: str


def ordered_map(
    function: Callable[[Any, Item], Result],
    items: Sequence[Item],
    workers: int,
    initial: Any = None,
    *,
    fewest: int = FEWEST,
) -> Iterator[Result | Crash]:
    """``function(initial, item)`` of each item in the order of the items, computed by `workers` processes.

    The function is found in them by its name, and gets `initial` once. One that dies costs the item that it was working
    on; the others go on. An exception of the function is raised here. Where the consumer stops, or this process dies,
    the workers end. With fewer than `fewest` items all is computed in this process, where an item may not crash.

    A result's arrays lie where those of a later one will: they are good until the next result is asked for.
    """
    if len(items) < max(fewest, 1):
        return (function(initial, item) for item in items)
    return _spread(pickle.dumps((function, initial)), items, min(workers, len(items)))


def threaded_map(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """``function(item)`` of each item in the order of the items, computed by `workers` threads.

    Where the consumer stops, or is interrupted, what has not begun is never begun.
    """
    pool, pending = ThreadPoolExecutor(workers, thread_name_prefix="prepare"), deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers * _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _spread(setup: bytes, items: Sequence[Item], workers: int) -> Iterator[Any]:
    waiting: dict[int, tuple[Any, int]] = {}
    turn = begun = 0
    places = Places.of(workers * _AHEAD)
    crew = [_Worker(setup, places) for _ in range(workers)]
    try:
        while turn < len(items):
            limit = min(len(items), turn + workers * _AHEAD)
            while begun < limit and len((worker := min(crew, key=lambda each: len(each.held))).held) < _HELD:
                worker.send(begun, items[begun])
                begun += 1
            if turn in waiting:
                yield waiting.pop(turn)[0]
                turn += 1
                continue
            # With much waiting only the one is listened to that has what is waited for: its oldest item.
            full = sum(size for _, size in waiting.values()) > _MOST_WAITING
            for worker in _readable([worker for worker in crew if not full or turn in worker.held]):
                answer = worker.receive()
                if answer is not None:
                    waiting |= answer
                    continue
                reason = worker.end(_PATIENCE)
                if not worker.ready:
                    raise InforegError(f"a worker process could not be started ({reason})")
                lost, *left = worker.held
                waiting[lost] = (Crash(reason), 0)
                crew[crew.index(worker)] = successor = _Worker(setup, places)
                for index in left:
                    successor.send(index, items[index])
        for worker in crew:
            worker.connection.close()
        for worker in crew:
            worker.end(_PATIENCE)
    finally:
        for worker in crew:
            worker.end(0)
        places.close()


def _readable(workers: Sequence["_Worker"]) -> list["_Worker"]:
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            if worker.held or not worker.ready:
                selector.register(worker.connection, selectors.EVENT_READ, worker)
        return [key.data for key, _ in selector.select()]


class _Worker:
    """A process, its end of a socket, and the items in its hands, oldest first."""

    def __init__(self, setup: bytes, places: Places):
        self._places = places
        self.connection, theirs = socket.socketpair()
        self.held: deque[int] = deque()
        self.ready = False
        with theirs:
            descriptors = [theirs.fileno(), *places.descriptors]
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path), *map(str, descriptors)],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a decoder prints is no output of the command
                pass_fds=descriptors,
                env={**os.environ, **_ONE_THREAD},
                process_group=0,  # Ctrl-C in a terminal is for the parent, which ends its workers
            )
        self._send(setup)

    def send(self, index: int, item: Any) -> None:
        self.held.append(index)
        self._send((index, item))

    def receive(self) -> dict[int, tuple[Any, int]] | None:
        """The oldest item's result and its bytes; nothing from one that has just started; None from a dead one."""
        try:
            (failed, result), size = receive(self.connection, self._places[self.held[0]] if self.held else None)
        except (EOFError, ConnectionError):
            return None
        if failed:
            raise InforegError(f"a worker process failed:\n{result}")
        if not self.ready:
            self.ready = True
            return {}
        return {self.held.popleft(): (result, size)}

    def end(self, patience: float) -> str:
        """Why it ended, after so many seconds at the latest."""
        self.connection.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        code = self._process.returncode
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _send(self, item: Any) -> None:
        with suppress(ConnectionError):  # of a dead one `receive` tells
            send(self.connection, item)


def serve(descriptor: int, *memory: int) -> None:
    """A worker's life: once the parent's end of the socket is closed, for whatever reason, it is over."""
    connection, places = socket.socket(fileno=descriptor), Places(memory)
    tasks: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    try:
        function, initial = pickle.loads(receive(connection)[0])
        gc.freeze()  # what was imported need not be looked through again and again
        # A thread takes in what is sent, so that the parent is never stuck with a task while this sends a result.
        threading.Thread(target=_listen, args=(connection, tasks), daemon=True).start()
        index, answer = 0, (False, None)
        while True:
            send(connection, answer, places[index])
            index, item = tasks.get()
            try:
                answer = (False, function(initial, item))
            except Exception:
                answer = (True, traceback.format_exc())
    except (EOFError, ConnectionError):
        os._exit(0)


def _listen(connection: socket.socket, tasks: "queue.SimpleQueue[tuple[int, Any]]") -> None:
    try:
        while True:
            tasks.put(receive(connection)[0])
    except (EOFError, ConnectionError):
        os._exit(0)
