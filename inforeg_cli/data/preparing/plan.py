"""From a recipe and a first look at the raw files to the plan of what is decoded and stored."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inforeg_cli.data import media
from inforeg_cli.data.kinds import VideoSettings
from inforeg_cli.data.problems import Problems
from inforeg_cli.data.recipe import ManifestRecipe, Recipe, TableRecipe
from inforeg_cli.data.recipe_file import bad_recipe, examine
from inforeg_cli.data.sources import Clip, Failure, Plan, Scan, digits, families, lists
from inforeg_cli.data.sources.located import Located, locate
from inforeg_cli.data.sources.table import Row, Table
from inforeg_cli.data.splits import complete, nearest_split, report_unlearnable, shared_groups, split_name
from inforeg_cli.data.store import RAW, SPLITS
from inforeg_cli.errors import BadInput, Misuse
from inforeg_cli.naming import count, nearest


@dataclass(frozen=True)
class Job:
    """Prepare the recipe at `recipe` into the folder `out`.

    source:        the folder of the raw files, as asked for.
    raw:           where they are looked for otherwise: raw/ beside the folder to prepare into; a manifest's lie with
                   the recipe.
    splits:        the folder of the publisher's split lists, where they do not lie with the raw files.
    frames:        raw or jpeg, in place of the recipe's codec for video frames.
    allow_missing: leave out clips with absent or unreadable files, and nothing else.
    """

    recipe: Path
    out: Path
    source: Path | None = None
    raw: Path | None = None
    splits: Path | None = None
    frames: str | None = None
    workers: int = 1
    allow_missing: bool = False


def look(job: Job, *, keep: bool = True) -> tuple[Recipe, Plan]:
    """What would be prepared and what is wrong, from the recipe, the lists and the files' headers alone.

    With `keep`, published lists that were fetched or given are kept for the next look; nothing else is written.
    Raises BadInput or Misuse where the recipe or the lists cannot be read at all.
    """
    recipe, problems = recipe_of(job)
    if recipe is None:
        raise bad_recipe(job.recipe, problems)
    if not isinstance(recipe, TableRecipe):
        return recipe, digits.look(recipe)
    try:
        scanned = families.scan(recipe, raw_folder(job, recipe), job.splits)
    except Misuse as error:
        if problems:
            raise BadInput(f"{job.recipe}: the recipe and the manifest", [*problems.lines(), str(error)]) from None
        raise
    if keep:
        lists.keep(scanned.keep, scanned.warnings)
    plan = _plan(recipe, scanned, job.workers)
    plan.problems.extend(problems)
    return recipe, plan


def recipe_of(job: Job) -> tuple[Recipe | None, Problems]:
    """The job's recipe as `examine` finds it, with its own codec for frames.

    Raises Misuse where the job asks for what the recipe has no use for.
    """
    recipe, problems = examine(job.recipe)
    if recipe is not None and not isinstance(recipe, TableRecipe):
        for option, given in (("--source", job.source), ("--splits", job.splits)):
            if given is not None:
                raise Misuse(f"{recipe.name} is embedded and needs no raw files: leave {option} out")
    if job.frames is not None and recipe is not None:
        if not isinstance(recipe, TableRecipe):
            raise Misuse(f"--frames {job.frames}: {recipe.name} has no modality of kind 'video'")
        recipe = recipe.with_frames(job.frames)
    return recipe, problems


def raw_folder(job: Job, recipe: TableRecipe) -> Path:
    """Where the raw files lie."""
    if job.source is not None:
        return job.source
    if isinstance(recipe, ManifestRecipe):
        return (job.recipe.parent / recipe.manifest).parent
    return job.raw or job.out.parent / "raw"


def _plan(recipe: TableRecipe, scanned: Scan, workers: int) -> Plan:
    table, problems, warnings = scanned.table, scanned.problems, scanned.warnings
    _check_columns(recipe, scanned, problems)
    _check_ids(table, problems)
    _check_classes(recipe, table, problems)
    splits = _assign(recipe, scanned, problems, warnings)
    train = {index for index, given in splits.items() if given and set(given.values()) == {"train"}}
    located = {
        name: locate(settings, table, scanned.folder, scanned.arrays.get(name), train, workers)
        for name, settings in recipe.modalities.items()
    }
    for name, modality in located.items():
        if modality.problem:
            problems.add(f"modalities.{name}", modality.problem.what, modality.problem.detail)
    plan = Plan(
        clips=[],
        modalities={name: found.modality for name, found in located.items() if found.modality},
        decoding={name: settings for name, settings in recipe.modalities.items() if not located[name].ready},
        inputs=scanned.inputs,
        decoders=media.versions(_decoded_kinds(recipe)),
        classes=recipe.classes,
        problems=problems,
        warnings=warnings,
        found=scanned.found,
        attachments={f"{name}.{file}": data for name, found in located.items() for file, data in found.files.items()},
        odd=recipe.odd,
    )
    for row in table.rows:
        clip = _clip(recipe, row, splits[row.index], located)
        errors = {name: found.errors[row.index] for name, found in located.items() if row.index in found.errors}
        if errors:
            plan.failures.extend(Failure.of(clip, name, error) for name, error in errors.items())
        else:
            plan.clips.append(clip)
    return plan


def _decoded_kinds(recipe: TableRecipe) -> set[str]:
    """The kinds of the modalities, and the codecs of their frames."""
    codecs = {settings.codec for settings in recipe.modalities.values() if isinstance(settings, VideoSettings)}
    return {settings.kind for settings in recipe.modalities.values()} | codecs - {RAW}


def _check_columns(recipe: TableRecipe, scanned: Scan, problems: Problems) -> None:
    table = scanned.table
    columns = {
        "id": "every clip needs a name",
        **dict.fromkeys(recipe.labels, "named by the recipe's labels"),
        **({recipe.group: "named by the recipe's group"} if recipe.group else {}),
    }
    if recipe.source == "manifest":
        columns |= dict.fromkeys(recipe.split or (), "named by the recipe's split")
    for name, column in recipe.columns.items():
        columns.setdefault(column, f"named by modalities.{name}")
    for column, reason in columns.items():
        if column not in table.columns:
            problems.add(table.name, f"there is no column {column!r}", f"{reason}; {nearest(column, table.columns)}")


def _check_ids(table: Table, problems: Problems) -> None:
    if "id" not in table.columns:
        return
    places: dict[str, list[str]] = {}
    for row in table.rows:
        if row.cells["id"]:
            places.setdefault(row.cells["id"], []).append(row.where)
        else:
            problems.add(row.where, "the id is empty")
    for name, every in places.items():
        if len(every) > 1:
            problems.add(", ".join(every), "the id is a duplicate", repr(name))


def _check_classes(recipe: TableRecipe, table: Table, problems: Problems) -> None:
    for label, classes in recipe.classes.items():
        for row in table.rows if label in table.columns else ():
            if (value := row.cells[label]) and value not in classes:
                problems.add(f"{row.where}, column {label}", f"{value!r} is no class", nearest(value, classes))


def _assign(recipe: TableRecipe, scanned: Scan, problems: Problems, warnings: Problems) -> dict[int, dict[str, str]]:
    """By row: its split in each scheme, the missing ones carved. A misspelt split counts as what it resembles, else as
    train, so that one mistake is not reported as several."""
    table = scanned.table
    splits: dict[int, dict[str, str]] = {row.index: {} for row in table.rows}
    labels = {label: cells for label in recipe.labels if (cells := _filled(label, "label", table, problems))}
    groups = _filled(recipe.group, "group", table, problems) if recipe.group else None
    if len(labels) < len(recipe.labels) or (recipe.group and not groups):
        return splits  # a column is missing, and reported
    keys = [row.cells.get("id") or str(row.index) for row in table.rows]
    for scheme in scanned.schemes:
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
    if recipe.split is None and not set(scanned.schemes) & set(table.columns):
        _warn_similar(table, scanned.schemes, warnings)
    return splits


def _warn_similar(table: Table, schemes: Sequence[str], warnings: Problems) -> None:
    folded = [column.lower() for column in table.columns]
    for scheme in schemes:
        if similar := difflib.get_close_matches(scheme, folded, n=1, cutoff=0.8):
            said = f"there is no column {scheme!r}, so all splits are carved"
            warnings.add(table.name, said, f"did you mean {similar[0]!r}?")


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


def _clip(recipe: TableRecipe, row: Row, splits: Mapping[str, str], located: Mapping[str, Located]) -> Clip:
    return Clip(
        id=row.cells.get("id", ""),
        labels={label: row.cells.get(label, "") for label in recipe.labels},
        splits=splits,
        group=row.cells.get(recipe.group) if recipe.group else None,
        media={name: found.sources[row.index] for name, found in located.items() if row.index in found.sources},
        where=row.where,
        named=recipe.arrays | {name: row.cells.get(column, "") for name, column in recipe.columns.items()},
    )
