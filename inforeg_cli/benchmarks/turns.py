"""Timing on a machine that does other things too: everything in turn, again and again, and medians."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any


@dataclass(frozen=True)
class Figures:
    """A table of what was measured."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


def interleaved(rows: Mapping[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Seconds by row and turn, after one turn that does not count. A row that returns a float has timed itself.

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
            timed = rows[row]()
            elapsed = time.perf_counter() - started
            seconds[row].append(timed if isinstance(timed, float) else elapsed)
    return seconds


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    first, middle, third = quantiles(values, n=4, method="inclusive")
    return first, middle, third


def ratios(values: Sequence[float], yardstick: Sequence[float]) -> tuple[float, float, float]:
    """The quartiles of the values over the yardstick's of the same turn."""
    return quartiles([value / other for value, other in zip(values, yardstick, strict=True)])
