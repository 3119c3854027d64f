"""Workers: results in order whatever they do, a dead one costs one item, and none outlives its parent."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import worker_functions as functions

from inforeg_cli.data.parallel import Crash, ordered_map, threaded_map
from inforeg_cli.errors import InforegError


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(ordered_map(functions.square, range(40), workers, 7)) == [7 + n * n for n in range(40)]
    assert list(ordered_map(functions.staggered, range(40), workers)) == list(range(40))


def test_few_items_are_done_in_this_process_and_many_in_others():
    assert list(ordered_map(lambda initial, item: -item, range(31), 4)) == [-item for item in range(31)]
    assert {pid for pid, _ in ordered_map(functions.environment, range(31), 2)} == {os.getpid()}
    found = list(ordered_map(functions.environment, range(32), 2))
    assert os.getpid() not in {pid for pid, _ in found}
    assert {threads for _, threads in found} == {"1"}
    assert len(list(ordered_map(functions.environment, [0], 2, fewest=0))) == 1
    assert list(ordered_map(functions.square, [], 2, fewest=0)) == []


@pytest.fixture(autouse=True)
def _threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")


def test_large_arrays_arrive_as_they_were_sent_and_are_writable():
    for item, result in enumerate(ordered_map(functions.filled, range(40), 2)):
        assert result["item"] == item
        assert result["text"] == "x" * item
        assert result["array"].shape == (item + 1, 1000)
        assert (result["array"] == item).all()
        result["array"][0] = 1


@pytest.mark.parametrize("shared", [True, False])
def test_results_that_do_not_fit_into_shared_memory_and_systems_without_it(monkeypatch, shared):
    if not shared:
        monkeypatch.delattr(os, "memfd_create")
    for item, result in enumerate(ordered_map(functions.large_or_small, range(10), 2, fewest=0)):
        assert len(result) == (2**24 + 1 if item % 3 == 0 else item)
        assert (result == item).all()


def test_a_result_is_good_until_the_next_is_asked_for():
    for item, result in enumerate(ordered_map(functions.staggered_array, range(60), 3)):
        time.sleep(0.002)  # meanwhile the workers run ahead
        assert (result == item).all()


def test_large_items_and_large_results_at_once_do_not_stick():
    arrays = [np.full(3_000_000, n, np.uint8) for n in range(12)]
    for sent, back in zip(arrays, ordered_map(functions.echo, arrays, 2, fewest=0), strict=True):
        assert np.array_equal(sent, back)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_worker_that_dies_costs_its_item_only(workers):
    deadly = {0: signal.SIGKILL, 9: signal.SIGSEGV, 10: signal.SIGKILL, 39: signal.SIGABRT}
    found = list(ordered_map(functions.die, range(40), workers, deadly))
    assert found == [Crash(deadly[n].name) if n in deadly else n for n in range(40)]
    assert list(ordered_map(functions.leave, range(32), workers))[7] == Crash("exit code 3")


def test_an_exception_of_the_function_is_raised_with_its_place():
    with pytest.raises(InforegError, match="item 5 is bad") as caught:
        list(ordered_map(functions.fail, range(40), 2))
    assert "worker_functions.py" in str(caught.value)
    with pytest.raises(ValueError, match="item 5 is bad"):
        list(ordered_map(functions.fail, range(10), 2))


def test_a_worker_that_cannot_start_is_told(monkeypatch):
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if "data" not in entry])
    with pytest.raises(InforegError, match="could not be started"):
        list(ordered_map(functions.square, range(40), 2, 0))


def test_no_more_is_begun_than_the_consumer_asks_for(tmp_path):
    asked = []

    class Items(list):
        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index)

    results = ordered_map(functions.echo, Items(range(100)), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert max(asked) <= 2 + 2 * 4
    results.close()


def test_with_much_waiting_for_one_result_no_more_is_fetched(monkeypatch):
    monkeypatch.setattr("inforeg_cli.data.parallel._MOST_WAITING", 1)
    assert list(ordered_map(functions.staggered, range(40), 3)) == list(range(40))


def test_a_consumer_that_stops_ends_the_workers(tmp_path):
    results = ordered_map(functions.print_and_wait, range(40), 2, str(tmp_path))
    assert next(results) == 0
    processes = [int(path.name) for path in tmp_path.iterdir()]
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 5
    assert processes
    assert not any(map(alive, processes))


PARENT = """
import signal, sys
sys.path[:0] = {path}
import worker_functions as functions
from inforeg_cli.data.parallel import ordered_map
signal.signal(signal.SIGINT, signal.default_int_handler)
for item in ordered_map(functions.print_and_wait, range(40), 2, sys.argv[1]):
    print(item, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_workers_end_with_their_parent(tmp_path, number):
    command = [sys.executable, "-c", PARENT.format(path=json.dumps(sys.path)), str(tmp_path)]
    parent = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert [parent.stdout.readline() for _ in range(4)] == ["0\n", "1\n", "2\n", "3\n"]
    processes = [int(path.name) for path in tmp_path.iterdir()]
    assert all(map(alive, processes))
    assert parent.pid not in map(os.getpgid, processes)
    os.killpg(parent.pid, number)  # as a terminal does it: the parent's whole group
    _, said = parent.communicate(timeout=20)
    assert parent.returncode != 0
    assert until(lambda: not any(map(alive, processes)))
    assert said.count("Traceback") <= 1  # the parent's own


def test_threads_give_results_in_order_and_stop_when_asked():
    begun = []

    def work(item):
        begun.append(item)
        time.sleep(0.001)
        return item, threading.current_thread() is threading.main_thread()

    assert list(threaded_map(work, range(30), 3)) == [(n, False) for n in range(30)]
    begun.clear()
    results = threaded_map(work, range(1000), 2)
    next(results)
    results.close()
    assert len(begun) < 20
