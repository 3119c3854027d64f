"""`inforeg prepare`: raw recordings to training-ready data; by itself, the list of datasets."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inforeg_cli import paths
from inforeg_cli.commands import options
from inforeg_cli.commands.tabular import Table, number, print_json, print_table, size
from inforeg_cli.console import err, out, warn
from inforeg_cli.errors import Misuse

if TYPE_CHECKING:
    from inforeg_cli.data.prepare import Job
    from inforeg_cli.data.sources import Plan
    from inforeg_cli.data.store import Modality, Store

#: Off a terminal, seconds between two lines of progress.
_QUIET = 5.0
#: With more classes than this the table on a terminal shows totals alone; the other formats show all.
_MOST_CLASSES = 24


def prepare(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|RECIPE.toml]", show_default=False, help="A dataset's name, or a recipe of your own."
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(show_default="the recipe's", help="The folder that holds the manifest and the raw files."),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", show_default="datasets/NAME/prepared under the root", help="The folder to prepare into."),
    ] = None,
    root: options.Root = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, show_default="one a core, up to 8", help="Decoding threads.")
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Leave out clips whose files are absent or unreadable; the store says how many."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Prepare again, in place of what is there.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look at recipe, manifest and headers; decode and write nothing.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare what is prepared with its digests; prepare nothing.")
    ] = False,
    format: options.FormatOption = options.Format.rich,
) -> None:
    """Turn raw recordings into training-ready data. Without a name: list the datasets.

    Your own data is a CSV manifest (id, label, perhaps split, a column of files for each modality) and a recipe beside
    it that says what the columns are:

    \b
      name = "my-set"
      \\[modalities.sound]
      kind = "audio"          # any file FFmpeg decodes
      sample_rate = 16000
      seconds = 3.0
      \\[modalities.face]
      kind = "image"          # or features: .npy files

    All that is wrong with the files is reported at once, and nothing half-prepared is ever left behind.
    """
    if dataset is None:
        if source or out_dir or allow_missing or force or dry_run or verify:
            raise Misuse("name a dataset, or a recipe.toml, for these options; see inforeg prepare --help")
        _print_list(paths.root(root), format)
        return

    from inforeg_cli.data import catalogue
    from inforeg_cli.data.prepare import prepare as prepare_store

    if verify:
        store = _standing(dataset, out_dir)
        store.verify()
        err.print(f"verified: every byte of {store.path} is as it was prepared", markup=False)
        _print_store(store, format)
        return
    job = catalogue.job(
        dataset, out=out_dir, source=source, workers=workers or min(8, os.cpu_count() or 1), allow_missing=allow_missing
    )
    if dry_run:
        _print_plan(job, format)
        return
    listener = _Progress()
    try:
        store, made = prepare_store(job, force=force, listener=listener)
    finally:
        listener.stop()
    if not made:
        left_out = sum(store.dropped.values())
        more = f", with {left_out} clips left out; --force tries them again" if left_out else ""
        err.print(f"{store.name} is prepared already and up to date{more}", markup=False)
    _print_store(store, format)


class _Progress:
    """A bar on a terminal, plain lines elsewhere; on standard error, so that the result can be piped."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._plan: Plan | None = None
        self._told = time.monotonic()

    def said(self, message: str) -> None:
        err.print(message, markup=False)

    def looked(self, plan: "Plan") -> None:
        self._plan, self._total = plan, len(plan.clips) + len(plan.rejected)
        if plan.problems:
            err.print("there are problems; reading on, so that all are reported at once", markup=False)
        if err.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("decoding"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("clips"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=err, transient=True)
            self._task = self._bar.add_task("decoding", total=self._total)
            self._bar.start()

    def advanced(self, clips: int) -> None:
        if self._bar:
            self._bar.update(self._task, completed=clips)
        elif clips == self._total or time.monotonic() - self._told > _QUIET:
            self._told = time.monotonic()
            err.print(f"decoded {clips} of {self._total} clips", markup=False)

    def stop(self) -> None:
        if self._bar:
            self._bar.stop()
        for line in self._plan.warnings.lines() if self._plan else ():
            _warn(line)


def _warn(line: str) -> None:
    from rich.markup import escape

    warn(escape(line))


def _standing(dataset: str, out_dir: Path | None) -> "Store":
    """What is prepared under that name, or by that recipe, or in that folder."""
    from inforeg_cli.data import catalogue
    from inforeg_cli.data.store import Store

    if out_dir is not None:
        return Store.open(out_dir)
    if dataset.endswith(".toml") or Path(dataset).is_file():
        return Store.open(catalogue.job(dataset).out)
    return Store.open(catalogue.find(dataset).out)


def _print_list(root: Path, format: options.Format) -> None:
    from inforeg_cli.data import catalogue

    rows = []
    for name, dataset in catalogue.datasets(root).items():
        state, store, origin = dataset.state()
        rows.append((name, state, len(store) if store else None, store.size if store else None, origin))
    if format in (options.Format.csv, options.Format.json):
        print_table(Table("", ("dataset", "state", "clips", "bytes", "raw_data"), rows), format)
        return
    rows = [(name, state, number(clips), size(stored), origin) for name, state, clips, stored, origin in rows]
    print_table(Table(f"Datasets under {root}", ("dataset", "state", "clips", "size", "raw data"), rows), format)
    if format == options.Format.rich:
        out.print("prepare one: inforeg prepare NAME; your own: inforeg prepare my/recipe.toml", markup=False)


def _print_plan(job: "Job", format: options.Format) -> None:
    from inforeg_cli.data.prepare import look, refuse
    from inforeg_cli.data.recipe import count
    from inforeg_cli.data.writer import counted

    recipe, plan = look(job)
    for line in plan.warnings.lines():
        _warn(line)
    if plan.problems:
        refuse(recipe, plan)
    classes, counts = counted(plan.clips)
    described = {
        "name": recipe.name,
        "path": str(job.out),
        "clips": len(plan.clips),
        "bytes": len(plan.clips) * sum(modality.clip_bytes for modality in plan.modalities.values()),
        "dropped": dict(plan.dropped),
        "modalities": _modalities(plan.modalities, len(plan.clips)),
        "counts": counts,
    }
    _print_description(described, classes, format)
    if format == options.Format.rich:
        out.print(f"dry run: {count(len(plan.clips), 'clip')} would go to {job.out}; nothing was written", markup=False)


def _print_store(store: "Store", format: options.Format) -> None:
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
    if format == options.Format.rich:
        left_out = "".join(f"; left out: {number} for {reason}" for reason, number in store.dropped.items())
        out.print(f"{len(store):,} clips, {size(store.size)}, in {store.path}{left_out}", markup=False)
        out.print(f"digest {store.digest}", markup=False)
        out.print(f"next: inforeg train --dataset {_argument(store)}", markup=False)


def _argument(store: "Store") -> str:
    """What names this store to the other commands: its name, where it lies where names are looked for."""
    import shlex

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
            "sequence": modality.sequence,
            "bytes": None if modality.shape is None else clips * modality.clip_bytes,
            **modality.settings,
        }
        for name, modality in modalities.items()
    ]


def _print_description(described: dict[str, Any], classes: dict[str, Sequence[str]], format: options.Format) -> None:
    if format == options.Format.json:
        print_json(described)
        return
    rows = [
        (scheme, split, label, name, number)
        for scheme, splits in described["counts"].items()
        for split, labels in splits.items()
        for label, numbers in labels.items()
        for name, number in numbers.items()
    ]
    if format == options.Format.csv:
        print_table(Table("", ("scheme", "split", "label", "class", "clips"), rows), format)
        return
    for scheme, splits in described["counts"].items():
        for label, names in classes.items():
            by_split = [[splits[split][label][name] for name in names] for split in splits]
            totals = ("all", *map(sum, by_split), sum(map(sum, by_split)))
            by_class = [(name, *numbers, sum(numbers)) for name, *numbers in zip(names, *by_split, strict=True)]
            shown = by_class if len(names) <= _MOST_CLASSES or format != options.Format.rich else []
            title = f"{described['name']}: {len(names)} classes of {label}, split scheme {scheme}"
            print_table(Table(title, (label, *splits, "all"), [*shown, totals]), format)
    columns = ("modality", "kind", "shape", "numbers", "size")
    rows = [
        (
            entry["modality"],
            entry["kind"] + (" sequence" if entry["sequence"] else "") + _rate(entry),
            "varies" if entry["shape"] is None else " x ".join(map(str, entry["shape"])),
            entry["dtype"],
            size(entry["bytes"]),
        )
        for entry in described["modalities"]
    ]
    print_table(Table("Modalities, one clip each", columns, rows), format)


def _rate(entry: dict[str, Any]) -> str:
    return f", {entry['sample_rate']:,} Hz" if "sample_rate" in entry else ""
