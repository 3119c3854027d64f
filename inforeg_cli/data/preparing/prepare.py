"""From a recipe to a store: what stands already is left alone, and one process at a time makes what does not."""

import glob
import json
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from filelock import FileLock, Timeout

from inforeg_cli.data.preparing.execute import Listener, execute, reason, refusal
from inforeg_cli.data.preparing.plan import Job, look, raw_folder, recipe_of
from inforeg_cli.data.recipe import DigitsRecipe, Recipe, TableRecipe
from inforeg_cli.data.sources import Plan, families
from inforeg_cli.data.store import Store
from inforeg_cli.errors import InforegError, Misuse

#: What a folder may hold that a new store replaces, beside what its store.json lists; anything else is somebody's own.
_STORE_FILES = ("store.json", "clips.parquet", "*.bin", "*.lengths.npy", "*.index.npy", "*.vocabulary.json")


def prepare(job: Job, *, force: bool = False, listener: Listener | None = None) -> tuple[Store, bool]:
    """The store at `job.out`, and whether it was made now; one that is there already and up to date is left alone.

    Safe where several processes do it at once: one works, the others wait and then find it done. Raises BadInput with
    all that is wrong; Misuse where a store from another recipe or other inputs stands there and neither `force` is given
    nor the dataset embedded.
    """
    listener = listener or Listener()
    try:
        if not force and (store := _standing(job, listener)):
            return store, False
        recipe, _ = recipe_of(job)
        if isinstance(recipe, TableRecipe):
            families.require(recipe, raw_folder(job, recipe))  # before anything is made
        job.out.parent.mkdir(parents=True, exist_ok=True)
        with _interruptible(), _alone(job.out, listener):
            # Another process may have made it while this one waited.
            if not force and (store := _standing(job, Listener())):
                return store, False
            _check_own(job.out)
            recipe, plan = look(job)
            head = {"frames": job.frames, "splits_seed": recipe.splits.seed}
            if isinstance(recipe, TableRecipe):
                head["decoding"] = recipe.model_dump(mode="json")["modalities"]
            more = {"workers": job.workers, "allow_missing": job.allow_missing, "listener": listener, "head": head}
            return execute(recipe.name, recipe.source, recipe.digest, plan, job.out, **more), True
    except OSError as error:
        raise InforegError(f"cannot prepare {job.out}: {reason(error)}") from error


def refuse(recipe: Recipe, plan: Plan) -> NoReturn:
    """Report everything that is wrong with the plan."""
    raise refusal(recipe.name, plan)


def _standing(job: Job, listener: Listener) -> Store | None:
    """The store that is there already, if it is what the job would make. None where one must be made."""
    if not job.out.is_dir() or not any(job.out.iterdir()):
        return None
    recipe, problems = recipe_of(job)
    if recipe is None or problems:
        return None
    try:
        store = Store.open(job.out)
    except Misuse as error:
        _check_own(job.out)
        listener.said(f"preparing anew: {error}")
        return None
    if job.frames is None and store.frames and isinstance(recipe, TableRecipe):
        recipe = recipe.with_frames(store.frames)  # who does not say how frames shall lie takes them as they do
    if (store.name, store.recipe_digest) != (recipe.name, recipe.digest):
        changed = "recipe"
    elif isinstance(recipe, TableRecipe) and _inputs_changed(recipe, job, store):
        changed = "manifest, list or array"
    else:
        return store
    if isinstance(recipe, DigitsRecipe):
        listener.said(f"{recipe.name} was prepared from another recipe: preparing it anew")
        return None
    raise Misuse(f"{job.out} was prepared from another {changed}: add --force to replace it")


def _inputs_changed(recipe: TableRecipe, job: Job, store: Store) -> bool:
    inputs = families.inputs(recipe, raw_folder(job, recipe), job.splits)
    return inputs is not None and inputs != store.inputs_digest


def _check_own(out: Path) -> None:
    """Refuse to replace what is not a store."""
    if out.exists() and not out.is_dir():
        raise Misuse(f"{out} is not a folder")
    own = {path for pattern in _STORE_FILES for path in out.glob(pattern)}
    with suppress(OSError, ValueError, KeyError, TypeError):
        own |= {out / name for name in json.loads((out / "store.json").read_text(encoding="utf-8"))["files"]}
    others = sorted(path.name for path in out.glob("*") if path not in own)
    if others:
        raise Misuse(f"{out} holds what is no part of a store ({', '.join(others[:3])}): choose another folder")


@contextmanager
def _alone(out: Path, listener: Listener) -> Iterator[None]:
    """One process at a time; the first thing it does is to clear away what a killed one has left."""
    # The lock's file stays: without it two processes that wait for one another could each lock a file of their own.
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
    """A request to end (SIGTERM) unwinds as Ctrl-C does, so that what is done is kept and no worker stays."""
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
