"""What the tests let worker processes do: found there by its name, so it stands in a module of its own."""

import os
import signal
import time
from pathlib import Path

import numpy as np


def square(initial, item):
    return initial + item * item


def staggered(initial, item):
    time.sleep(0.02 * (item % 3 == 0))
    return item


def staggered_array(initial, item):
    return np.full((50, 1000), staggered(initial, item), np.uint8)


def large_or_small(initial, item):
    return np.full(2**24 + 1 if item % 3 == 0 else item, item, np.uint8)


def filled(initial, item):
    return {"item": item, "array": np.full((item + 1, 1000), item, np.uint8), "text": "x" * item}


def echo(initial, item):
    return item


def die(initial, item):
    """`initial`: the signal by item."""
    if item in initial:
        os.kill(os.getpid(), initial[item])
    return item


def leave(initial, item):
    os._exit(3 if item == 7 else 0) if item == 7 else None
    return item


def fail(initial, item):
    if item == 5:
        raise ValueError(f"item {item} is bad")
    return item


def environment(initial, item):
    return os.getpid(), os.environ["OMP_NUM_THREADS"]


def print_and_wait(initial, item):
    """Leaves its process id in the folder `initial`; the later items take their time."""
    (Path(initial) / str(os.getpid())).touch()
    print("no output of the command", flush=True)
    time.sleep(0.01 if item < 4 else 30)
    return item


def logged(decoder, task):
    """`decode`, with a line for each call in the file $DECODED; it takes $SECONDS longer and dies of $DEADLY files."""
    from inforeg_cli.data import decoding  # here, so that the workers of the other functions start sooner

    path = next(raw for raw in task.media.values() if isinstance(raw, Path))
    with Path(os.environ["DECODED"]).open("a", encoding="utf-8") as handle:
        handle.write(f"{path.name}\n")
    if path.name in os.environ.get("DEADLY", "").split():
        os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(float(os.environ.get("SECONDS", "0")))
    return decoding.decode(decoder, task)
