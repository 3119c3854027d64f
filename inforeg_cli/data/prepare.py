"""From a recipe and raw files to a store: look at everything, decode it, write it whole or report all that is wrong."""

import glob
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
from filelock import FileLock, Timeout

from inforeg_cli.data import media
from inforeg_cli.data.media import MediaError, Unreadable
from inforeg_cli.data.parallel import ordered_map
from inforeg_cli.data.recipe import AudioSettings, DigitsRecipe, ManifestRecipe, Recipe, bad_recipe, count, examine
from inforeg_cli.data.sources import Clip, Plan, digits, manifest
from inforeg_cli.data.splits import report_unlearnable
from inforeg_cli.data.store import Store, file_digest
from inforeg_cli.data.writer import write_store
from inforeg_cli.errors import BadInput, InforegError, Misuse
from inforeg_cli.files import digest

#: What a folder may hold that a new store replaces; anything else is somebody's own.
_STORE_FILES = ("store.json", "clips.parquet", "*.bin", "*.lengths.npy", "*.index.npy")


class Listener:
    """Is told how preparing goes; the base tells nobody."""

    def said(self, message: str) -> None:
        """Something that the person should know."""

    def looked(self, plan: Plan) -> None:
        """Looking is done, decoding begins."""

    def advanced(self, clips: int) -> None:
        """So many clips of the plan are decoded."""


@dataclass(frozen=True)
class Job:
    """Prepare the recipe at `recipe` into the folder `out`. `source` is the folder that holds the manifest, where it
    is not the recipe's; `allow_missing` leaves out clips with absent or unreadable files, and nothing else."""

    recipe: Path
    out: Path
    source: Path | None = None
    workers: int = 1
    allow_missing: bool = False


def look(job: Job) -> tuple[Recipe, Plan]:
    """What would be prepared and what is wrong, from the recipe, the manifest and the files' headers alone.

    Raises BadInput or Misuse where the recipe or the manifest cannot be read at all.
    """
    recipe, problems = examine(job.recipe)
    if recipe is None:
        raise bad_recipe(job.recipe, problems)
    if not isinstance(recipe, ManifestRecipe):
        if job.source is not None:
            raise Misuse(f"{recipe.name} is embedded and needs no raw files: leave --source out")
        return recipe, digits.look(recipe)
    path = manifest.manifest_path(recipe, job.recipe.parent, job.source)
    try:
        plan = manifest.look(recipe, path, allow_missing=job.allow_missing, workers=job.workers)
    except Misuse as error:
        if problems:
            raise BadInput(f"{job.recipe}: the recipe and the manifest", [*problems.lines(), str(error)]) from None
        raise
    plan.problems.extend(problems)
    _check_left(recipe, plan, plan.clips)
    return recipe, plan


def prepare(job: Job, *, force: bool = False, listener: Listener | None = None) -> tuple[Store, bool]:
    """The store at `job.out`, and whether it was made now; one that is there already and up to date is left alone.

    Safe where several processes do it at once: one works, the others wait and then find it done. Raises BadInput with
    all that is wrong with the files; Misuse where a store from another recipe or manifest stands there and neither
    `force` is given nor the dataset embedded.
    """
    listener = listener or Listener()
    try:
        if not force and (store := _standing(job, listener)):
            return store, False
        job.out.parent.mkdir(parents=True, exist_ok=True)
        with _interruptible(), _alone(job.out, listener):
            # Another process may have made it while this one waited.
            if not force and (store := _standing(job, Listener())):
                return store, False
            _check_own(job.out)
            recipe, plan = look(job)
            return _write(recipe, plan, job, listener), True
    except OSError as error:
        raise InforegError(
            f"cannot prepare {job.out}: {error.strerror or error} ({error.filename or 'no file'})"
        ) from error


def _standing(job: Job, listener: Listener) -> Store | None:
    """The store that is there already, if it is what the job would make. None where one must be made."""
    if not job.out.is_dir() or not any(job.out.iterdir()):
        return None
    recipe, problems = examine(job.recipe)
    if recipe is None or problems:
        return None
    try:
        store = Store.open(job.out)
    except Misuse as error:
        _check_own(job.out)
        listener.said(f"preparing anew: {error}")
        return None
    if (store.name, store.recipe_digest) != (recipe.name, recipe.digest):
        changed = "recipe"
    elif isinstance(recipe, ManifestRecipe) and _inputs_changed(recipe, job, store):
        changed = "manifest or array"
    else:
        return store
    if isinstance(recipe, DigitsRecipe):
        listener.said(f"{recipe.name} was prepared from another recipe: preparing it anew")
        return None
    raise Misuse(f"{job.out} was prepared from another {changed}: add --force to replace it")


def _inputs_changed(recipe: ManifestRecipe, job: Job, store: Store) -> bool:
    path = manifest.manifest_path(recipe, job.recipe.parent, job.source)
    return path.is_file() and manifest.inputs_digest(recipe, path) != store.inputs_digest


def _check_own(out: Path) -> None:
    """Refuse to replace what is not a store."""
    if out.exists() and not out.is_dir():
        raise Misuse(f"{out} is not a folder")
    own = {path for pattern in _STORE_FILES for path in out.glob(pattern)}
    others = sorted(path.name for path in out.glob("*") if path not in own)
    if others:
        raise Misuse(f"{out} holds what is no part of a store ({', '.join(others[:3])}): choose another folder")


def _write(recipe: Recipe, plan: Plan, job: Job, listener: Listener) -> Store:
    listener.looked(plan)
    with ExitStack() as stack:
        writer = None
        if not plan.problems:
            _check_space(plan, job.out)
            writer = stack.enter_context(
                write_store(
                    job.out,
                    plan.modalities,
                    name=recipe.name,
                    source=recipe.source,
                    recipe_digest=recipe.digest,
                    inputs_digest=plan.inputs,
                    decoders=plan.decoders,
                )
            )
        kept = []
        # Where something is wrong the rest is decoded all the same, so that everything is reported at once.
        clips = [*plan.clips, *plan.rejected]
        decoded = stack.enter_context(closing(ordered_map(partial(_decode, plan), clips, job.workers)))
        for done, (clip, arrays, source, errors) in enumerate(decoded, start=1):
            listener.advanced(done)
            if errors:
                plan.reject(clip, errors, job.allow_missing)
            elif not plan.problems:
                kept.append(clip)
                _listen(plan, clip, arrays)
                writer.add(clip, arrays, source)
        _check_left(recipe, plan, kept)
        if plan.problems:
            refuse(recipe, plan)
        writer.dropped = dict(sorted(plan.dropped.items()))
    return Store.open(job.out)


def _decode(plan: Plan, clip: Clip) -> tuple[Clip, dict[str, np.ndarray], str, dict[str, MediaError]]:
    """The clip's arrays, the digest of its raw files, and what is wrong with any of them."""
    arrays, errors, parts = {}, {}, []
    for name, raw in clip.media.items():
        try:
            settings = plan.decoding.get(name)
            arrays[name] = raw if settings is None else media.read(settings, raw)
            parts += [name, file_digest(raw) if isinstance(raw, Path) else digest(raw.tobytes())]
            media.check_shape(arrays[name], plan.modalities[name])
        except MediaError as error:
            errors[name] = error
        except OSError as error:
            errors[name] = Unreadable("the file cannot be read", error.strerror)
    return clip, arrays, digest(*parts), errors


def _listen(plan: Plan, clip: Clip, arrays: Mapping[str, np.ndarray]) -> None:
    for name, settings in plan.decoding.items():
        if isinstance(settings, AudioSettings) and media.silent(arrays[name]):
            plan.warnings.add(clip.place(name), "the audio is silent")


def _check_left(recipe: Recipe, plan: Plan, kept: list[Clip]) -> None:
    """Clips that were left out may have been all that a class or a split had."""
    if not plan.dropped or plan.problems:
        return
    if not kept:
        plan.problems.add(recipe.name, "no clip is left", f"{count(sum(plan.dropped.values()), 'clip')} left out")
        return
    labels = {label: [clip.labels[label] for clip in kept] for label in kept[0].labels}
    for scheme in kept[0].splits:
        report_unlearnable(scheme, [clip.splits[scheme] for clip in kept], labels, plan.problems)


def refuse(recipe: Recipe, plan: Plan) -> NoReturn:
    """Report everything that is wrong."""
    raise BadInput(f"{recipe.name}: {count(len(plan.problems), 'problem')}; nothing was written", plan.problems.lines())


def _check_space(plan: Plan, out: Path) -> None:
    needed = len(plan.clips) * sum(modality.clip_bytes for modality in plan.modalities.values())
    free = shutil.disk_usage(out.parent).free
    if needed > free:
        raise InforegError(f"{out} would need {needed / 1e9:.1f} GB, and the disk has {free / 1e9:.1f} GB left")


@contextmanager
def _alone(out: Path, listener: Listener) -> Iterator[None]:
    """One process at a time; the first thing it does is to clear away what a killed one has left."""
    lock = FileLock(out.parent / f".{out.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        listener.said(f"another process is preparing {out}: waiting for it")
        lock.acquire()
    try:
        for suffix in ("tmp", "old"):
            for left in out.parent.glob(f".{glob.escape(out.name)}.*.{suffix}"):
                shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        lock.release()


@contextmanager
def _interruptible() -> Iterator[None]:
    """A request to end (SIGTERM) unwinds as Ctrl-C does, so that nothing half-written stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
