"""Which datasets there are, by name: the recipes that ship, the user's own under the root, and what is prepared."""

import atexit
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inforeg_cli import console, paths
from inforeg_cli.data.preparing import prepare
from inforeg_cli.data.preparing.plan import Job
from inforeg_cli.data.recipe import TableRecipe
from inforeg_cli.data.recipe_file import bad_recipe, examine
from inforeg_cli.data.sources import Plan
from inforeg_cli.data.store import Store
from inforeg_cli.errors import Misuse
from inforeg_cli.naming import count, nearest

EMBEDDED = "digits"
PREPARED, STALE = "prepared", "prepared from another recipe"
_PREFERRED = "crema-d"


@dataclass(frozen=True)
class Dataset:
    """A dataset by name: its recipe, None where that lies where nobody knows, and the folder of its store."""

    name: str
    recipe: Path | None
    out: Path

    @property
    def prepared(self) -> bool:
        return (self.out / "store.json").is_file()

    def state(self) -> tuple[str, Store | None, str]:
        """In words whether it is prepared, its store if that can be opened, and where its raw data comes from."""
        try:
            recipe, problems = (None, ()) if self.recipe is None else examine(self.recipe)
        except Misuse:
            return "the recipe cannot be read", None, ""
        origin = recipe.origin if recipe else ""
        if problems:
            return f"{count(len(problems), 'problem')} in the recipe", None, origin
        if not self.prepared:
            return "not prepared", None, origin
        try:
            store = Store.open(self.out)
        except Misuse:
            return "damaged", None, origin
        if isinstance(recipe, TableRecipe) and store.frames:
            recipe = recipe.with_frames(store.frames)
        current = recipe is None or recipe.digest == store.recipe_digest
        return PREPARED if current else STALE, store, origin


def datasets(root: Path | None = None) -> dict[str, Dataset]:
    """All that is known, by name; the user's own recipe wins over a shipped one of the same name."""
    own = paths.root(root) / "datasets"
    recipes: dict[str, Path | None] = {path.parent.parent.name: None for path in own.glob("*/prepared/store.json")}
    for folder in (paths.shipped("datasets"), own):
        recipes |= {path.parent.name: path for path in folder.glob("*/recipe.toml")}
    return {name: Dataset(name, recipes[name], store_path(name, root)) for name in sorted(recipes)}


def store_path(name: str, root: Path | None = None) -> Path:
    """Where a dataset of that name is prepared unless another folder is named."""
    return paths.root(root) / "datasets" / name / "prepared"


def find(name: str, root: Path | None = None) -> Dataset:
    """By its name, whatever the case and the hyphens: CREMA-D, cremad and crema_d are crema-d. Raises Misuse."""
    known = datasets(root)
    if name in known:
        return known[name]
    alike = [dataset for candidate, dataset in known.items() if _bare(candidate) == _bare(name)]
    if len(alike) != 1:
        raise Misuse(
            f"there is no dataset {name!r}; {nearest(name, known)}\n"
            "inforeg prepare lists what there is; your own data: inforeg prepare my/recipe.toml"
        )
    return alike[0]


def job(name_or_recipe: str, root: Path | None = None, *, out: Path | None = None, **options: Any) -> Job:
    """What `inforeg prepare` is asked to do. What ends in .toml, or is a file, is a recipe; anything else a name.
    `options` are the job's.

    Raises Misuse for an unknown name, and for a recipe under the root whose name is not its folder's, since that is
    what a dataset is found by.
    """
    path = Path(name_or_recipe)
    if path.suffix == ".toml" or path.is_file():
        recipe, problems = examine(path)
        if recipe is None:
            raise bad_recipe(path, problems)
        return Job(path, (out or store_path(recipe.name, root)).absolute(), **options)
    dataset = find(name_or_recipe, root)
    if dataset.recipe is None:
        raise Misuse(f"the recipe of {dataset.name} lies elsewhere: give its file, inforeg prepare my/recipe.toml")
    recipe, _ = examine(dataset.recipe)
    if recipe and recipe.name != dataset.name:
        raise Misuse(f"{dataset.recipe}: the name {recipe.name!r} must be that of its folder, {dataset.name!r}")
    return Job(dataset.recipe, (out or dataset.out).absolute(), raw=dataset.out.parent / "raw", **options)


def open_store(name_or_path: str, root: Path | None = None, *, temporary: bool = False) -> Store:
    """The prepared dataset of that name, or in that folder. The embedded digits prepare themselves if need be:
    with `temporary`, into a folder that vanishes with the process. Raises Misuse."""
    path = Path(name_or_path)
    if path.is_dir() and (len(path.parts) > 1 or (path / "store.json").is_file()):
        inner = path / "prepared"
        return Store.open(inner if (inner / "store.json").is_file() else path)
    if len(path.parts) > 1:
        raise Misuse(f"there is no prepared dataset in {path}")
    dataset = find(name_or_path, root)
    if dataset.name == EMBEDDED:
        return ensure_digits(root, temporary=temporary)
    if not dataset.prepared:
        raise Misuse(f"{dataset.name} is not prepared yet: inforeg prepare {dataset.name}")
    store = Store.open(dataset.out)
    if dataset.state()[0] == STALE:
        raise Misuse(f"{dataset.name} was prepared from another recipe: inforeg prepare {dataset.name} --force")
    return store


def store_of_run(config: Mapping[str, Any]) -> Store:
    """The store that a run's config.json names: where it lay then, else what is prepared under its name now."""
    name, path = config["data"]["name"], Path(config["data"]["path"])
    if (path / "store.json").is_file():
        return Store.open(path)
    try:
        return open_store(name)
    except Misuse as error:
        raise Misuse(f"the run's data, {name}, lay in {path} and are there no more; {error}") from None


def default_dataset(root: Path | None = None) -> str:
    """What is trained on where no dataset is named: crema-d if it is prepared, else the embedded digits."""
    preferred = datasets(root).get(_PREFERRED)
    return _PREFERRED if preferred and preferred.prepared else EMBEDDED


def ensure_digits(root: Path | None = None, *, temporary: bool = False) -> Store:
    """The embedded dataset, prepared if it is missing or out of date; by one process where several ask at once.

    With `temporary` nothing is written under the root: where the store there will not do, another one is made in a
    folder that is removed when the process ends.
    """
    todo = job(EMBEDDED, root)
    if temporary and find(EMBEDDED, root).state()[0] != PREPARED:
        folder = Path(tempfile.mkdtemp(prefix="inforeg-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        todo = replace(todo, out=folder / EMBEDDED)
    return prepare.prepare(todo, listener=_Spoken())[0]


class _Spoken(prepare.Listener):
    def said(self, message: str) -> None:
        console.err.print(message, markup=False)

    def looked(self, plan: Plan) -> None:
        console.err.print(
            f"preparing {count(len(plan.clips), 'clip')} of {EMBEDDED}, the embedded dataset", markup=False
        )


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
