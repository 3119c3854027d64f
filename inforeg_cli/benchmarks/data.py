"""What preparing and reading cost, beside what else could be done with the same files."""

import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from inforeg_cli.benchmarks.preparing import BARE, PREPARE, PROCESSES, time_preparing
from inforeg_cli.benchmarks.reading import BATCH, DECODED, FETCHED, FRAMES, RELEASED, TRANSFORMED, time_reading
from inforeg_cli.benchmarks.tree import make_tree
from inforeg_cli.benchmarks.turns import Figures, quartiles, ratios
from inforeg_cli.console import err
from inforeg_cli.data.preparing.plan import Job
from inforeg_cli.data.preparing.prepare import prepare

#: At least this share of the bare loops' rate, by workers.
SHARES = {1: 0.8, 2: 0.9}
#: At least so many times the rate of decoding files each epoch.
TIMES = 20

_COLUMNS = ("quartiles", "target", "what it is")

MEANINGS = {
    BARE[1]: "a process that decodes every frame of the videos and all sound, and keeps nothing",
    PREPARE[1]: "from recipe and raw files to the finished store, its start and its digests included",
    BARE[2]: "two such processes side by side, each with half of the clips",
    PREPARE[2]: "the same store by two workers",
    RELEASED: f"WAV decoded, spectrogram, {FRAMES} extracted JPEG frames, cropped; one process, on the CPU",
    DECODED: "the same files read and decoded, and nothing done with them",
    TRANSFORMED: f"spectrogram and {FRAMES} random raw frames, cropped, by one thread of the CPU",
    FETCHED: "waveform and the same frames, read: all that a GPU, which transforms them, waits for",
}


def bench_data(parts: Collection[str], clips: int, turns: int) -> Iterator[Figures]:
    """Time `prepare` on a tree like CREMA-D's of so many clips, and `reading` what it made: whichever `parts` names.

    Every turn times each row once, in turn; a row's ratio is that to its yardstick in the same turn.
    """
    with tempfile.TemporaryDirectory(prefix="inforeg-bench-") as name:
        folder = Path(name)
        with err.status(f"encoding {clips} clips"):
            pairs = make_tree(folder / "raw", clips)
        if "prepare" in parts:
            with err.status(f"prepare: {turns} turns"):
                seconds = time_preparing(folder / "raw", pairs, turns)
            rows = []
            for processes in PROCESSES:
                bare, made = seconds[BARE[processes]], seconds[PREPARE[processes]]
                rows.append(_row(BARE[processes], clips, bare, bare))
                rows.append(_row(PREPARE[processes], clips, made, bare, SHARES[processes]))
            title = f"prepare: {clips} clips of FLV and WAV, {turns} turns"
            yield Figures(title, ("prepare", "clips/s", "over bare", *_COLUMNS), rows)
        if "reading" in parts:
            with err.status(f"reading: {turns} turns"):
                store, _ = prepare(Job(folder / "raw" / "recipe.toml", folder / "store"))
                seconds = time_reading(store, pairs, folder / "frames", turns)
            rows = [
                _row(row, 1, times, seconds[RELEASED], TIMES if row == FETCHED else None)
                for row, times in seconds.items()
            ]
            title = f"reading: batches of {BATCH} clips, {turns} turns"
            yield Figures(title, ("reading", "batches/s", "over files", *_COLUMNS), rows)


def _row(
    row: str, items: int, seconds: list[float], yardstick: list[float], target: float | None = None
) -> tuple[Any, ...]:
    first, ratio, third = ratios(yardstick, seconds)
    verdict = None if target is None else f"{'met' if ratio >= target else 'MISSED'}: at least {target:g}"
    rate = items / quartiles(seconds)[1]
    return row, round(rate, 1), round(ratio, 2), f"{first:.2f}-{third:.2f}", verdict, MEANINGS[row]
