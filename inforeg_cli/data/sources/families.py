"""The families of datasets, one module each, and what to say where a dataset's raw files are not there.

The module of ``source = "crema-d"`` is `crema_d` here. It has ``scan(recipe, raw, splits) -> Scan`` and
``inputs(recipe, raw, splits) -> str``, the digest of what stands beside the recordings: manifest, lists and arrays.
"""

import shlex
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from inforeg_cli.data.recipe import ManifestRecipe, TableRecipe
from inforeg_cli.data.sources import Scan
from inforeg_cli.errors import Misuse


def scan(recipe: TableRecipe, raw: Path, splits: Path | None) -> Scan:
    """The table of the clips whose raw files lie in `raw`, and their split lists perhaps in `splits`.

    Raises Misuse where there are none, saying where they come from, or where lists cannot be read.
    """
    require(recipe, raw)
    _check_folder(splits)
    return _module(recipe).scan(recipe, raw, splits)


def require(recipe: TableRecipe, raw: Path) -> None:
    """Raises Misuse where there are no raw files, saying where they come from."""
    if raw.exists() and not raw.is_dir():
        raise Misuse(f"{recipe.name}: {raw} is not a folder")
    if not isinstance(recipe, ManifestRecipe) and not (raw.is_dir() and any(raw.iterdir())):
        raise Misuse("\n".join([f"{recipe.name}: there are no raw files in {raw}", *how_to_get(recipe, raw)]))


def inputs(recipe: TableRecipe, raw: Path, splits: Path | None) -> str | None:
    """The digest that the scan's `inputs` would be; None where the raw files are gone.

    Raises Misuse where the lists that were asked for are not in `splits`.
    """
    _check_folder(splits)
    try:
        return _module(recipe).inputs(recipe, raw, splits)
    except OSError:
        return None
    except Misuse:
        if splits is not None:
            raise
        return None


def _check_folder(splits: Path | None) -> None:
    if splits is not None and not splits.is_dir():
        raise Misuse(f"--splits {splits}: there is no such folder")


def verify(recipe: TableRecipe, raw: Path, progress: Callable[[int, int], None], workers: int) -> int | None:
    """How many recordings are what their publisher records of them; None where there is nothing to compare with.

    Raises InforegError where some differ.
    """
    compare = getattr(_module(recipe), "verify", None)
    return compare(recipe, raw, progress, workers) if compare and raw.is_dir() else None


def how_to_get(recipe: TableRecipe, raw: Path) -> list[str]:
    """Where the raw data comes from, its licence and size, and the commands that fetch it."""
    told = {"from": recipe.origin, "licence": recipe.licence, "size": recipe.download_size}
    lines = [f"  {what}: {said}" for what, said in told.items() if said]
    if recipe.get:
        lines += ["  get it:", *(f"    {command.replace('RAW', shlex.quote(str(raw)))}" for command in recipe.get)]
    return [*lines, f"  then: inforeg prepare {recipe.name}, or with --source DIR where it lies elsewhere"]


def _module(recipe: TableRecipe) -> ModuleType:
    """Imported when it is needed: some need libraries that others do without."""
    return import_module(f"{__package__}.{recipe.source.replace('-', '_')}")
