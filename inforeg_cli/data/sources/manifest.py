"""Your own data: a CSV manifest, one row a clip, whose files lie in its folder."""

from pathlib import Path

from inforeg_cli.data.problems import Problems
from inforeg_cli.data.recipe import ManifestRecipe
from inforeg_cli.data.sources import Found, Scan
from inforeg_cli.data.sources.table import read_table
from inforeg_cli.errors import Misuse
from inforeg_cli.files import digest, file_digest

#: The split scheme's column, and its name where there is no such column and everything is carved.
DEFAULT_SPLIT = "split"


def scan(recipe: ManifestRecipe, raw: Path, splits: Path | None) -> Scan:
    """Raises Misuse where the manifest cannot be read at all."""
    if splits is not None:
        raise Misuse("--splits is for published split lists: a manifest has its splits in a column")
    problems, path = Problems(), _path(recipe, raw)
    table = read_table(path, problems)
    return Scan(
        table=table,
        folder=raw,
        inputs=inputs(recipe, raw, splits),
        schemes=recipe.split or (DEFAULT_SPLIT,),
        found=[Found(f"rows in {path.name}", table.count, path.stat().st_size)],
        problems=problems,
    )


def inputs(recipe: ManifestRecipe, raw: Path, splits: Path | None) -> str:
    """Names the manifest and the arrays beside it, which hold whole modalities in one file."""
    there = [path for path in (raw / array for array in recipe.arrays.values()) if path.is_file()]
    return digest(*map(file_digest, [_path(recipe, raw), *there]))


def _path(recipe: ManifestRecipe, raw: Path) -> Path:
    return raw / Path(recipe.manifest).name
