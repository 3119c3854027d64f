"""Work in threads, results in order, no more of them in memory than there are threads to make them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Results waiting for their turn, a thread.
_AHEAD = 4


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
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
