"""Which recordings are meant, by a manifest or by files alone, and to which modality each belongs."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inforeg_cli.data import media
from inforeg_cli.data.kinds import TextSettings
from inforeg_cli.data.media import MediaError, Unreadable
from inforeg_cli.data.preparation import Preparation
from inforeg_cli.data.problems import Problems
from inforeg_cli.data.sources import Clip, Failure
from inforeg_cli.data.sources.located import inside, read_text, text_of, token_ids
from inforeg_cli.data.sources.table import Table, read_table
from inforeg_cli.errors import BadInput, Misuse
from inforeg_cli.naming import count, nearest

#: Kinds of modality that are read from another kind of file.
_FROM = {"motion": "video"}


@dataclass
class Listed:
    """Clips without labels and splits, each with the modalities that it has; those of which a file is seen to be absent
    or wrong are `failures` instead. `notes` say what was passed over."""

    clips: list[Clip] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, clip: Clip, errors: Mapping[str, MediaError]) -> None:
        if errors:
            self.failures.extend(Failure.of(clip, name, error) for name, error in errors.items())
        else:
            self.clips.append(clip)


def of_manifest(path: Path, preparation: Preparation, modalities: Sequence[str], spare: Collection[str]) -> Listed:
    """The rows of a CSV file: a column for each modality, named as it or as in the recipe, with files relative to the
    manifest or texts, an empty cell where the clip lacks it; and perhaps a column `id`.

    spare: columns that may be there and are passed over, such as labels.
    Raises Misuse or BadInput where the manifest cannot be used as a whole.
    """
    problems, listed = Problems(), Listed()
    table = read_table(path, problems)
    columns = _columns(table, preparation, modalities, spare, listed.notes)
    ids = _ids(table, columns, problems, preparation)
    if problems:
        raise BadInput(f"{path}: {count(len(problems), 'problem')}; nothing was scored", problems.lines())
    base, together = os.path.realpath(path.parent), "+".join(modalities)
    for row, name in zip(table.rows, ids, strict=True):
        raw, named, errors = {}, {}, {}
        for modality, column in columns.items():
            if cell := row.cells[column]:
                if not _holds_text(preparation, modality):
                    named[modality] = cell
                try:
                    raw[modality] = _raw(preparation, modality, cell, base)
                except MediaError as error:
                    errors[modality] = error
        if not raw and not errors:
            errors[together] = Unreadable("the row names no recording")
        listed.add(Clip(name, {}, {}, media=raw, where=row.where, named=named), errors)
    return listed


def of_files(paths: Sequence[Path], preparation: Preparation, modalities: Sequence[str]) -> Listed:
    """Files that tell by their kind which modality they are; those that differ in their endings alone are one clip.

    The sound of a video is taken where the recipe takes it from the same file, or the run sees no video.
    Raises Misuse or BadInput where that leaves open what is meant.
    """
    listed, problems, together = Listed(), Problems(), "+".join(modalities)
    found: dict[str, tuple[dict[str, Path], dict[str, MediaError], dict[str, str]]] = {}
    for path in paths:
        if path.is_dir():
            raise Misuse(f"{path} is a folder: name the files in it, or a manifest (.csv)")
        files, errors, named = found.setdefault(path.stem, ({}, {}, {}))
        try:
            kinds = _contents(path)
        except MediaError as error:
            errors[together], named[together] = error, str(path)
            continue
        takers = _takers(kinds, preparation, modalities)
        if not takers:
            wanted = ", ".join(f"{preparation.modalities[name].kind} ({name})" for name in modalities)
            problems.add(str(path), f"holds {' and '.join(sorted(kinds))}, and the run takes {wanted}")
        for name in takers:
            if name in files:
                problems.add(f"{files[name]} and {path}", f"both are {name} of {path.stem}", "give a manifest (.csv)")
            files[name], named[name] = path, str(path)
    if problems:
        raise BadInput("it is not clear what is to be scored:", problems.lines())
    for stem, (files, errors, named) in found.items():
        raw: dict[str, Path | np.ndarray] = dict(files)
        for name, path in files.items():
            if preparation.modalities[name].kind == "text":
                try:
                    raw[name] = _tokens(preparation, name, read_text(path))
                except MediaError as error:
                    errors[name] = error
        ordered = {name: raw[name] for name in modalities if name in raw}
        listed.add(Clip(stem, {}, {}, media=ordered, named=named), errors)
    return listed


def _columns(
    table: Table, preparation: Preparation, modalities: Sequence[str], spare: Collection[str], notes: list[str]
) -> dict[str, str]:
    """The column of each modality that has one, in the modalities' order."""
    found = {name: name for name in modalities if name in table.columns}
    for name in modalities:
        column = preparation.settings[name].column
        if name not in found and column in table.columns and column not in modalities:
            found[name] = column
    others = {*preparation.modalities, *(settings.column for settings in preparation.settings.values())}
    for column in table.columns:
        if column == "id" or column in found.values():
            continue
        if column in others:
            notes.append(f"column {column!r} is passed over: the run has no such modality")
        elif column in spare:
            notes.append(f"column {column!r} is passed over: predict uses no labels and splits; evaluate does")
        elif absent := [name for name in modalities if name not in found]:  # it may be one of them, misspelt
            raise Misuse(
                f"{table.name}: column {column!r} is no modality of the run: rename or remove it; {nearest(column, absent)}"
            )
        else:
            notes.append(f"column {column!r} is passed over: it is no modality of the run")
    if not found:
        wanted = ", ".join(modalities)
        raise Misuse(f"{table.name} has no column for any of the run's modalities ({wanted}), named as they are")
    return {name: found[name] for name in modalities if name in found}


def _ids(table: Table, columns: Mapping[str, str], problems: Problems, preparation: Preparation) -> list[str]:
    """The column `id`; without one the stems of the files, where each row has its own, or the rows' numbers from 1."""
    if "id" in table.columns:
        places: dict[str, list[str]] = {}
        for row in table.rows:
            places.setdefault(row.cells["id"], []).append(row.where)
        for name, every in places.items():
            if not name:
                problems.add(", ".join(every), "the id is empty")
            elif len(every) > 1:
                problems.add(", ".join(every), "the id is a duplicate", repr(name))
        return [row.cells["id"] for row in table.rows]
    files = [column for name, column in columns.items() if not _holds_text(preparation, name)]
    stems = [Path(next((row.cells[column] for column in files if row.cells[column]), "")).stem for row in table.rows]
    unique = all(stems) and len(set(stems)) == len(stems)
    return stems if unique else [str(row.index + 1) for row in table.rows]


def _holds_text(preparation: Preparation, modality: str) -> bool:
    """Whether the cells are texts themselves, not names of files."""
    settings = preparation.settings[modality]
    return isinstance(settings, TextSettings) and not settings.files


def _raw(preparation: Preparation, modality: str, cell: str, base: str) -> Path | np.ndarray:
    settings = preparation.settings[modality]
    if isinstance(settings, TextSettings):
        return _tokens(preparation, modality, text_of(settings, cell, base))
    return inside(base, cell)


def _tokens(preparation: Preparation, modality: str, text: str) -> np.ndarray:
    return token_ids(preparation.vocabularies[modality].encode(text), preparation.modalities[modality].length)


def _contents(path: Path) -> frozenset[str]:
    if not path.is_file():
        raise Unreadable("not a file" if path.exists() else "no such file")
    try:
        media.check_whole(path)
        return media.contents(path)
    except OSError as error:
        raise Unreadable("the file cannot be read", error.strerror or "") from None


def _takers(kinds: Collection[str], preparation: Preparation, modalities: Sequence[str]) -> list[str]:
    """The modalities that a file of these kinds is."""
    by_file: dict[str, list[str]] = {}
    for name in modalities:
        kind = preparation.modalities[name].kind
        if kind in kinds:
            by_file.setdefault(_FROM.get(kind, kind), []).append(name)
    if by_file.get("video"):
        filmed = {_origin(preparation, name) for name in by_file["video"]}
        heard = [name for name in by_file.pop("audio", []) if _origin(preparation, name) in filmed]
        by_file["video"] += heard
    for kind, names in by_file.items():
        if len({_origin(preparation, name) for name in names}) > 1:
            raise Misuse(
                f"a file of kind {kind} alone does not say which it is of {', '.join(names)}: "
                "give a manifest, a CSV file with a column for each modality"
            )
    return [name for names in by_file.values() for name in names]


def _origin(preparation: Preparation, modality: str) -> str:
    """Modalities of the same origin are read from the same file."""
    settings = preparation.settings[modality]
    return settings.column or settings.array
