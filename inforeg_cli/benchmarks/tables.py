"""`bench_prepare`: prepare and reading beside what else could be done with the same files, as tables."""

import tempfile
from pathlib import Path

from rich.table import Table

from inforeg_cli.benchmarks.preparing import BARE, PREPARE, PROCESSES, time_preparing
from inforeg_cli.benchmarks.reading import BATCH, DECODED, FETCHED, FRAMES, RELEASED, TRANSFORMED, time_reading
from inforeg_cli.benchmarks.tree import make_tree
from inforeg_cli.benchmarks.turns import quartiles
from inforeg_cli.console import out
from inforeg_cli.data.plan import Job
from inforeg_cli.data.prepare import prepare

#: At least this share of the bare loops' rate, by workers.
SHARES = {1: 0.8, 2: 0.9}
#: At least so many times the rate of decoding files each epoch.
TIMES = 20

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


def bench_prepare(clips: int = 400, turns: int = 5) -> None:
    """Time `prepare` on a tree like CREMA-D's of so many clips, and reading what it made; print what each figure means.

    Every turn times each row once, in turn; a row's ratio is that to its yardstick in the same turn.
    """
    with tempfile.TemporaryDirectory(prefix="inforeg-bench-") as name:
        folder = Path(name)
        with out.status(f"encoding {clips} clips"):
            pairs = make_tree(folder / "raw", clips)
        with out.status(f"prepare: {turns} turns"):
            seconds = time_preparing(folder / "raw", pairs, turns)
        table = _table(f"prepare: {clips} clips of FLV and WAV, {turns} turns", "clips/s", "over bare")
        for processes in PROCESSES:
            bare, made = seconds[BARE[processes]], seconds[PREPARE[processes]]
            _add(table, BARE[processes], clips, bare, bare)
            _add(table, PREPARE[processes], clips, made, bare, SHARES[processes])
        out.print(table)
        with out.status(f"reading: {turns} turns"):
            store, _ = prepare(Job(folder / "raw" / "recipe.toml", folder / "store"))
            seconds = time_reading(store, pairs, folder / "frames", turns)
        table = _table(f"reading: batches of {BATCH} clips, {turns} turns", "batches/s", "over files")
        for row, times in seconds.items():
            _add(table, row, 1, times, seconds[RELEASED], TIMES if row == FETCHED else None)
        out.print(table)


def _table(title: str, unit: str, ratio: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("", unit, ratio, "quartiles", "target", "what it is"):
        table.add_column(heading, justify="right" if heading in (unit, ratio, "quartiles") else "left")
    return table


def _add(
    table: Table, row: str, items: int, seconds: list[float], yardstick: list[float], target: float | None = None
) -> None:
    rate = items / quartiles(seconds)[1]
    first, middle, third = quartiles([other / own for own, other in zip(seconds, yardstick, strict=True)])
    verdict = "" if target is None else f"{'met' if middle >= target else 'MISSED'}: at least {target:g}"
    table.add_row(row, f"{rate:.1f}", f"{middle:.2f}", f"{first:.2f}-{third:.2f}", verdict, MEANINGS[row])
