"""How fast `prepare` is beside bare loops that only decode the same files."""

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import av

from inforeg_cli.benchmarks.tree import Pair
from inforeg_cli.benchmarks.turns import interleaved
from inforeg_cli.data.preparing.plan import Job
from inforeg_cli.data.preparing.prepare import prepare

#: Workers of prepare, or bare loops side by side.
PROCESSES = (1, 2)
BARE = {1: "a bare loop", 2: "two bare loops"}
PREPARE = {1: "prepare, 1 worker", 2: "prepare, 2 workers"}


def time_preparing(raw: Path, pairs: Sequence[Pair], turns: int) -> dict[str, list[float]]:
    """Seconds for all `pairs`, by row and turn. `raw` is the folder of their recipe and manifest."""
    rows = {}
    with ExitStack() as stack:
        for processes in PROCESSES:
            # Started beforehand: a bare loop has no start of its own that would count.
            pool = stack.enter_context(get_context("spawn").Pool(processes))
            shares = [pairs[first::processes] for first in range(processes)]
            rows[BARE[processes]] = partial(pool.map, decode, shares, 1)
            rows[PREPARE[processes]] = partial(_prepare, raw, processes)
        return interleaved(rows, turns)


def decode(pairs: Sequence[Pair]) -> None:
    """All frames of the videos and all sound of the recordings, neither converted nor kept."""
    for pair in pairs:
        with av.open(str(pair.video)) as container:
            for _ in container.decode(video=0):
                pass
        with av.open(str(pair.audio)) as container:
            for _ in container.decode(audio=0):
                pass


def _prepare(raw: Path, workers: int) -> None:
    folder = Path(tempfile.mkdtemp(dir=raw.parent))
    try:
        prepare(Job(raw / "recipe.toml", folder / "store", workers=workers))
    finally:
        shutil.rmtree(folder)
