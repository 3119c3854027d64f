"""What `inforeg prepare` prints: the list of datasets, what a look at the raw files found, and what was prepared."""

import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inforeg_cli.commands.options import Format
from inforeg_cli.commands.tabular import Table, number, print_json, print_table, size
from inforeg_cli.console import err, out, warn

if TYPE_CHECKING:
    from inforeg_cli.data.sources import Plan
    from inforeg_cli.data.store import Modality, Store

#: Off a terminal, seconds between two lines of progress.
_QUIET = 5.0
#: With more classes than this the table on a terminal shows totals alone; the other formats show all.
_MOST_CLASSES = 24


class Progress:
    """A bar on a terminal, plain lines elsewhere; on standard error, so that the result can be piped."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._plan: Plan | None = None
        self._told = self._began = time.monotonic()
        self._done_before: int | None = None

    def said(self, message: str) -> None:
        err.print(message, markup=False)

    def looked(self, plan: "Plan") -> None:
        self._plan = plan
        print_found(plan)

    def sized(self, needed: int, free: int) -> None:
        err.print(f"to write: about {size(needed)}; free on the disk: {size(free)}", markup=False)

    def advanced(self, done: int, total: int, failed: int, what: str = "clips") -> None:
        """Told once at the beginning, with what an earlier call has done."""
        now = time.monotonic()
        if self._done_before is None:
            self._done_before, self._began = done, now
            if err.is_terminal:
                self._start(total, what)
        seconds = max(now - self._began, 1e-9)
        rate = (done - self._done_before) / seconds
        if self._bar:
            self._bar.update(self._task, completed=done, rate=f"{rate:,.0f} {what}/s", failed=_failed(failed))
        elif done == total or now - self._told > _QUIET:
            self._told = now
            left = f", {_span((total - done) / rate)} left" if rate and done < total else ""
            err.print(f"{done:,} of {total:,} {what}, {rate:,.0f} {what}/s{left}{_failed(failed)}", markup=False)

    def compared(self, done: int, total: int) -> None:
        """Recordings, with what their publisher records of them."""
        self.advanced(done, total, 0, "recordings")

    def stop(self) -> None:
        if self._bar:
            self._bar.stop()
        for line in self._plan.warnings.lines() if self._plan else ():
            warn_plainly(line)

    def _start(self, total: int, what: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn(what),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}{task.fields[failed]}", markup=False),
            TimeRemainingColumn(),
        )
        self._bar = Bar(*columns, console=err, transient=True)
        self._task = self._bar.add_task(what, total=total, rate="", failed="")
        self._bar.start()


def warn_plainly(line: str) -> None:
    from rich.markup import escape

    warn(escape(line))


def print_found(plan: "Plan") -> None:
    """What the look found, on standard error."""
    from rich.table import Table as Grid
    from rich.text import Text

    if not plan.found:
        return
    grid = Grid(title="Found", title_justify="left", box=None, pad_edge=False, show_header=False)
    for justify in ("left", "right", "right", "left"):
        grid.add_column(justify=justify)
    for line in plan.found:
        grid.add_row(Text(line.what), number(line.count), size(line.bytes), Text(line.remark))
    err.print(grid)


def print_list(root: Path, format: Format) -> None:
    from inforeg_cli.data import catalogue

    rows = []
    for name, dataset in catalogue.datasets(root).items():
        state, store, origin = dataset.state()
        rows.append((name, state, len(store) if store else None, store.size if store else None, origin))
    if format in (Format.csv, Format.json):
        print_table(Table("", ("dataset", "state", "clips", "bytes", "raw_data"), rows), format)
        return
    rows = [(name, state, number(clips), size(stored), origin) for name, state, clips, stored, origin in rows]
    print_table(Table(f"Datasets under {root}", ("dataset", "state", "clips", "size", "raw data"), rows), format)
    if format == Format.rich:
        out.print("prepare one: inforeg prepare NAME; your own: inforeg prepare my/recipe.toml", markup=False)


def print_plan(name: str, plan: "Plan", needed: int, place: Path, format: Format) -> None:
    """What would be prepared; `needed` is the estimated size of the store."""
    from inforeg_cli.data.writer import counted
    from inforeg_cli.naming import count

    classes, counts = counted(plan.clips, plan.classes)
    described = {
        "name": name,
        "path": str(place),
        "clips": len(plan.clips),
        "bytes": needed,
        "found": [vars(line) for line in plan.found],
        "modalities": _modalities(plan.modalities, len(plan.clips)),
        "counts": counts,
    }
    _print_description(described, classes, format)
    if format == Format.rich:
        absent = len({failure.clip.id for failure in plan.failures})
        less = f", {absent:,} left out" if absent else ""
        existing = next(folder for folder in (place, *place.parents) if folder.is_dir())
        room = f"about {size(needed)} of the {size(shutil.disk_usage(existing).free)} that are free"
        said = f"dry run: {count(len(plan.clips), 'clip')}{less}, {room}, would go to {place}"
        out.print(f"{said}; nothing was written", markup=False)


def print_store(store: "Store", format: Format) -> None:
    described = {
        "name": store.name,
        "path": str(store.path),
        "digest": store.digest,
        "recipe": store.recipe_digest,
        "clips": len(store),
        "bytes": store.size,
        "dropped": store.dropped,
        "modalities": _modalities(store.modalities, len(store)),
        "counts": store.counts,
    }
    _print_description(described, {label: store.classes(label) for label in store.label_columns}, format)
    if format == Format.rich:
        left_out = "".join(f"; left out: {number:,} for {reason}" for reason, number in store.dropped.items())
        out.print(f"{len(store):,} clips, {size(store.size)}, in {store.path}{left_out}", markup=False)
        out.print(f"digest {store.digest}", markup=False)
        out.print(f"next: inforeg train --dataset {_argument(store)}", markup=False)


def _argument(store: "Store") -> str:
    """What names this store to the other commands: its name, where it lies where names are looked for."""
    from inforeg_cli.data.catalogue import store_path

    by_name = store_path(store.name).resolve() == store.path.resolve()
    return store.name if by_name else shlex.quote(str(store.path))


def _modalities(modalities: "dict[str, Modality]", clips: int) -> list[dict[str, Any]]:
    return [
        {
            "modality": name,
            "kind": modality.kind,
            "shape": None if modality.shape is None else list(modality.shape),
            "dtype": str(modality.dtype),
            "codec": modality.codec,
            "sequence": modality.sequence,
            "bytes": None if modality.shape is None else clips * modality.clip_bytes,
            **modality.settings,
        }
        for name, modality in modalities.items()
    ]


def _print_description(described: dict[str, Any], classes: dict[str, Sequence[str]], format: Format) -> None:
    if format == Format.json:
        print_json(described)
        return
    rows = [
        (scheme, split, label, name, number)
        for scheme, splits in described["counts"].items()
        for split, labels in splits.items()
        for label, numbers in labels.items()
        for name, number in numbers.items()
    ]
    if format == Format.csv:
        print_table(Table("", ("scheme", "split", "label", "class", "clips"), rows), format)
        return
    for scheme, splits in described["counts"].items():
        for label, names in classes.items():
            by_split = [[splits[split][label][name] for name in names] for split in splits]
            totals = ("all", *map(sum, by_split), sum(map(sum, by_split)))
            by_class = [(name, *numbers, sum(numbers)) for name, *numbers in zip(names, *by_split, strict=True)]
            shown = by_class if len(names) <= _MOST_CLASSES or format != Format.rich else []
            title = f"{described['name']}: {len(names)} classes of {label}, split scheme {scheme}"
            print_table(Table(title, (label, *splits, "all"), [*shown, totals]), format)
    columns = ("modality", "kind", "shape", "numbers", "size")
    rows = [
        (
            entry["modality"],
            entry["kind"] + (" sequence" if entry["sequence"] else "") + _details(entry),
            "varies" if entry["shape"] is None else " x ".join(map(str, entry["shape"])),
            entry["dtype"] if entry["codec"] == "raw" else entry["codec"],
            size(entry["bytes"]),
        )
        for entry in described["modalities"]
    ]
    print_table(Table("Modalities, one clip each", columns, rows), format)


def _details(entry: dict[str, Any]) -> str:
    """What the numbers mean, as far as a line has room for it."""
    told = {"sample_rate": "{:,} Hz", "fps": "{:g} fps", "vocabulary": "{:,} tokens known"}
    return "".join(f", {form.format(entry[key])}" for key, form in told.items() if key in entry)


def _failed(failed: int) -> str:
    return f", {failed:,} failed" if failed else ""


def _span(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
