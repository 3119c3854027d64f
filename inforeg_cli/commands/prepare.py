"""`inforeg prepare`: raw recordings to training-ready data; by itself, the list of datasets."""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inforeg_cli import paths
from inforeg_cli.commands import options
from inforeg_cli.commands.prepare_output import (
    Progress,
    print_found,
    print_list,
    print_plan,
    print_store,
    warn_plainly,
)
from inforeg_cli.console import err
from inforeg_cli.errors import InforegError, Misuse

if TYPE_CHECKING:
    from inforeg_cli.data.preparing.plan import Job
    from inforeg_cli.data.store import Store


class Frames(StrEnum):
    raw = "raw"
    jpeg = "jpeg"


def prepare(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|RECIPE.toml]", show_default=False, help="A dataset's name, or a recipe of your own."
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            show_default="datasets/NAME/raw, or the recipe's folder", help="The folder of the raw files as published."
        ),
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option(show_default="with the raw files", help="The folder of the published split lists."),
    ] = None,
    frames: Annotated[
        Frames | None,
        typer.Option(show_default="the recipe's", help="How video frames are stored: pixels, or JPEG of quality 95."),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", show_default="datasets/NAME/prepared under the root", help="The folder to prepare into."),
    ] = None,
    root: options.Root = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, show_default="one a core, up to 8", help="Decoding processes.")
    ] = None,
    download: Annotated[
        bool,
        typer.Option("--download", help="Fetch the raw files first, where a public way works unattended."),
    ] = False,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Leave out clips whose files are absent or unreadable; report and store say which."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Prepare again, in place of what is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look at recipe, lists and files; write nothing.")] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compare what is prepared with its digests, and recordings with a Git clone's pointers; prepare nothing.",
        ),
    ] = False,
    format: options.FormatOption = options.Format.rich,
) -> None:
    """Turn raw recordings into training-ready data. Without a name: list the datasets.

    First it looks at what is there and says so; then every clip is decoded once, and training decodes nothing. Broken
    or absent files are listed in prepare-report.csv with their reasons; all other clips are kept, and the next call
    goes on from there, as it does after an interruption.

    Your own data is a CSV manifest (id, label, perhaps split, a column for each modality) and a recipe beside it that
    says what the columns are:

    \b
      name = "my-set"
      \\[modalities.sound]
      kind = "audio"          # any file FFmpeg decodes
      sample_rate = 16000
      seconds = 3.0
      \\[modalities.face]
      kind = "video"          # or image, motion, text, features (.npy files)
      fps = 3
      size = 256
    """
    if dataset is None:
        asked = (source, splits, frames, out_dir, download, allow_missing, force, dry_run, verify)
        if any(asked):
            raise Misuse("name a dataset, or a recipe.toml, for these options; see inforeg prepare --help")
        print_list(paths.root(root), format)
        return

    from inforeg_cli.data import catalogue
    from inforeg_cli.data.preparing.prepare import prepare as prepare_store

    if verify:
        _verify(dataset, out_dir, source, workers or 2, format)
        return
    job = catalogue.job(
        dataset,
        out=out_dir,
        source=source,
        splits=splits,
        frames=frames.value if frames else None,
        workers=workers or min(8, os.cpu_count() or 1),
        allow_missing=allow_missing,
    )
    if download:
        _download(job)
    if dry_run:
        _look(job, format)
        return
    listener = Progress()
    try:
        store, made = prepare_store(job, force=force, listener=listener)
    except KeyboardInterrupt:
        err.print("stopped; what is done is kept: the same call goes on from there", markup=False)
        raise
    finally:
        listener.stop()
    if not made:
        left_out = sum(store.dropped.values())
        more = f", with {left_out:,} clips left out; --force tries them again" if left_out else ""
        if source is not None:
            more += f"; {source} was not read: --force prepares from it"
        err.print(f"{store.name} is prepared already and up to date{more}", markup=False)
    print_store(store, format)


def _download(job: "Job") -> None:
    from inforeg_cli.data.preparing.download import download
    from inforeg_cli.data.preparing.plan import raw_folder
    from inforeg_cli.data.recipe import TableRecipe
    from inforeg_cli.data.recipe_file import load

    recipe = load(job.recipe)
    if not isinstance(recipe, TableRecipe):
        raise Misuse(f"{recipe.name} is embedded and needs no raw files: leave --download out")
    download(recipe, raw_folder(job, recipe), lambda command: err.print(f"$ {command}", markup=False))


def _look(job: "Job", format: options.Format) -> None:
    from inforeg_cli.data.preparing.plan import look
    from inforeg_cli.data.preparing.prepare import refuse
    from inforeg_cli.data.preparing.space import estimate

    recipe, plan = look(job, keep=False)
    print_found(plan)
    for line in plan.warnings.lines():
        warn_plainly(line)
    spared = job.allow_missing and all(failure.missing for failure in plan.failures)
    if plan.problems or (plan.failures and not spared):
        refuse(recipe, plan)
    print_plan(recipe.name, plan, estimate(plan), job.out, format)


def _verify(dataset: str, out_dir: Path | None, source: Path | None, workers: int, format: options.Format) -> None:
    """What is prepared under that name, by that recipe or in that folder; and the recordings it is prepared from."""
    from inforeg_cli.data import catalogue

    is_file = dataset.endswith(".toml") or Path(dataset).is_file()
    known = None if is_file else catalogue.find(dataset)
    place = out_dir
    if known is None or known.recipe is not None:
        job = catalogue.job(dataset, out=out_dir, source=source)
        place = job.out
        if _verify_recordings(job, workers) and not (place / "store.json").is_file():
            err.print(f"nothing is prepared yet in {place}", markup=False)
            return
    store = _opened(place or known.out)
    store.verify()
    err.print(f"verified: every byte of {store.path} is as it was prepared", markup=False)
    print_store(store, format)


def _opened(place: Path) -> "Store":
    """The store in `place`. That one is damaged is what verifying is to find out: no misuse."""
    from inforeg_cli.data.store import Store

    try:
        return Store.open(place)
    except Misuse as error:
        if (place / "store.json").is_file():
            raise InforegError(str(error)) from None
        raise


def _verify_recordings(job: "Job", workers: int) -> bool:
    """Whether there was something to compare the recordings with."""
    from inforeg_cli.data.preparing.plan import raw_folder
    from inforeg_cli.data.recipe import TableRecipe
    from inforeg_cli.data.recipe_file import load
    from inforeg_cli.data.sources import families

    recipe = load(job.recipe)
    if not isinstance(recipe, TableRecipe):
        return False
    progress = Progress()
    try:
        checked = families.verify(recipe, raw_folder(job, recipe), progress.compared, workers)
    finally:
        progress.stop()
    if checked is not None:
        err.print(f"verified: {checked:,} recordings are what their clone records of them", markup=False)
    return checked is not None
