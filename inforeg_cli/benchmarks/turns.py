"""Timing on a machine that does other things too: everything in turn, again and again, and medians."""

import time
from collections.abc import Callable, Mapping
from statistics import quantiles


def interleaved(rows: Mapping[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Seconds by row and turn, after one turn that does not count.

    Every turn begins with another row, so that none always follows the same one. Rows of one turn saw the machine in
    about the same state: compare them within their turn.
    """
    for work in rows.values():
        work()
    seconds: dict[str, list[float]] = {row: [] for row in rows}
    names = list(rows)
    for turn in range(turns):
        first = turn % len(names)
        for row in names[first:] + names[:first]:
            started = time.perf_counter()
            rows[row]()
            seconds[row].append(time.perf_counter() - started)
    return seconds


def quartiles(values: list[float]) -> tuple[float, float, float]:
    first, middle, third = quantiles(values, n=4, method="inclusive")
    return first, middle, third
