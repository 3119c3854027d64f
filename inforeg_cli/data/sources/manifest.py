"""Your own data: a CSV manifest, one row a clip, whose files lie in its folder."""

import difflib
from collections.abc import Mapping
from pathlib import Path

from inforeg_cli.data import media
from inforeg_cli.data.problems import Problems
from inforeg_cli.data.recipe import ManifestRecipe, count
from inforeg_cli.data.sources import Clip, Plan
from inforeg_cli.data.sources.located import Located, locate
from inforeg_cli.data.sources.table import Row, Table, read_table
from inforeg_cli.data.splits import complete, nearest_split, report_unlearnable, shared_groups, split_name
from inforeg_cli.data.store import SPLITS, file_digest
from inforeg_cli.files import digest
from inforeg_cli.naming import nearest

#: The split scheme's column, and its name where there is no such column and everything is carved.
DEFAULT_SPLIT = "split"


def manifest_path(recipe: ManifestRecipe, folder: Path, source: Path | None = None) -> Path:
    """`folder` is the recipe's; `source`, where given, is the folder that holds the manifest instead."""
    return folder / recipe.manifest if source is None else source / Path(recipe.manifest).name


def inputs_digest(recipe: ManifestRecipe, manifest: Path) -> str:
    """Names the manifest and the arrays beside it, which hold whole modalities in one file."""
    there = [path for path in (manifest.parent / array for array in recipe.arrays.values()) if path.is_file()]
    return digest(*map(file_digest, [manifest, *there]))


def look(recipe: ManifestRecipe, manifest: Path, *, allow_missing: bool = False, workers: int = 1) -> Plan:
    """Read the manifest and the header of every file it names, and say what would be prepared and what is wrong.

    Raises Misuse where the manifest cannot be read at all.
    """
    problems, warnings = Problems(), Problems()
    table = read_table(manifest, problems)
    _check_columns(recipe, table, problems)
    _check_ids(table, problems)
    splits = _assign(recipe, table, problems, warnings)
    located = {name: locate(settings, table, manifest.parent, workers) for name, settings in recipe.modalities.items()}
    for name, modality in located.items():
        if modality.problem:
            problems.add(f"modalities.{name}", modality.problem.what, modality.problem.detail)
    plan = Plan(
        clips=[],
        modalities={name: found.modality for name, found in located.items() if found.modality},
        decoding=recipe.modalities,
        inputs=inputs_digest(recipe, manifest),
        decoders=media.versions(settings.kind for settings in recipe.modalities.values()),
        problems=problems,
        warnings=warnings,
    )
    for row in table.rows:
        errors = {name: found.errors[row.index] for name, found in located.items() if row.index in found.errors}
        clip = _clip(recipe, row, splits[row.index], located)
        if not errors:
            plan.clips.append(clip)
        else:
            plan.reject(clip, errors, allow_missing)
    return plan


def _check_columns(recipe: ManifestRecipe, table: Table, problems: Problems) -> None:
    columns = {
        "id": "every clip needs a name",
        **dict.fromkeys(recipe.labels, "named by the recipe's labels"),
        **dict.fromkeys(recipe.split or (), "named by the recipe's split"),
        **({recipe.group: "named by the recipe's group"} if recipe.group else {}),
    }
    for name, column in recipe.columns.items():
        columns.setdefault(column, f"named by modalities.{name}")
    for column, reason in columns.items():
        if column not in table.columns:
            problems.add(table.name, f"there is no column {column!r}", f"{reason}; {nearest(column, table.columns)}")


def _check_ids(table: Table, problems: Problems) -> None:
    if "id" not in table.columns:
        return
    lines: dict[str, list[int]] = {}
    for row in table.rows:
        if row.cells["id"]:
            lines.setdefault(row.cells["id"], []).append(row.line)
        else:
            problems.add(row.where, "the id is empty")
    for name, every in lines.items():
        if len(every) > 1:
            problems.add(f"lines {', '.join(map(str, every))}", "the id is a duplicate", repr(name))


def _assign(recipe: ManifestRecipe, table: Table, problems: Problems, warnings: Problems) -> dict[int, dict[str, str]]:
    """By row: its split in each scheme, the missing ones carved. A misspelt split counts as what it resembles, else as
    train, so that one mistake is not reported as several."""
    splits: dict[int, dict[str, str]] = {row.index: {} for row in table.rows}
    labels = {label: cells for label in recipe.labels if (cells := _filled(label, "label", table, problems))}
    groups = _filled(recipe.group, "group", table, problems) if recipe.group else None
    if len(labels) < len(recipe.labels) or (recipe.group and not groups):
        return splits  # a column is missing, and reported
    keys = [row.cells.get("id") or str(row.index) for row in table.rows]
    for scheme in recipe.split or [DEFAULT_SPLIT]:
        given, kept_together = _given(scheme, table, problems), groups
        if groups and (shared := shared_groups(given, groups)):
            kept_together = None
            said = f"{shared} of {count(len(set(groups)), 'group')}; val and test, if carved, are carved without groups"
            warnings.add(f"columns {scheme} and {recipe.group}", "groups stand in several of the given splits", said)
        strata = list(zip(*labels.values(), strict=True))
        completed = complete(given, strata, kept_together, recipe.splits, scheme, keys)
        report_unlearnable(scheme, completed, labels, problems)
        for row, split in zip(table.rows, completed, strict=True):
            splits[row.index][scheme] = str(split)
    if recipe.split is None and DEFAULT_SPLIT not in table.columns:
        similar = difflib.get_close_matches(
            DEFAULT_SPLIT, [column.lower() for column in table.columns], n=1, cutoff=0.8
        )
        if similar:
            warnings.add(
                table.name, "there is no column 'split', so all splits are carved", f"did you mean {similar[0]!r}?"
            )
    return splits


def _filled(column: str, what: str, table: Table, problems: Problems) -> list[str] | None:
    """The cells of a column that must not be empty; None where there is no such column."""
    if column not in table.columns:
        return None
    for row in table.rows:
        if not row.cells[column]:
            problems.add(f"{row.where}, column {column}", f"the {what} is empty")
    return [row.cells[column] for row in table.rows]


def _given(scheme: str, table: Table, problems: Problems) -> list[str | None]:
    if scheme not in table.columns:
        return [None] * len(table.rows)
    for row in table.rows:
        cell = row.cells[scheme]
        if not cell:
            problems.add(f"{row.where}, column {scheme}", "the split is empty")
        elif split_name(cell) is None:
            meant = nearest_split(cell)
            hint = f"{cell!r}; did you mean {meant!r}?" if meant else repr(cell)
            problems.add(f"{row.where}, column {scheme}", f"the split is none of {', '.join(SPLITS)}", hint)
    return [split_name(row.cells[scheme]) or nearest_split(row.cells[scheme]) for row in table.rows]


def _clip(recipe: ManifestRecipe, row: Row, splits: Mapping[str, str], located: Mapping[str, Located]) -> Clip:
    return Clip(
        id=row.cells.get("id", ""),
        labels={label: row.cells.get(label, "") for label in recipe.labels},
        splits=splits,
        group=row.cells.get(recipe.group) if recipe.group else None,
        media={name: found.sources[row.index] for name, found in located.items() if row.index in found.sources},
        where=row.where,
        named=recipe.arrays | {name: row.cells.get(column, "") for name, column in recipe.columns.items()},
    )
