"""Hateful Memes: images with the text that stands on them, hateful or not, in lists of JSON lines.

Kiela et al., "The Hateful Memes Challenge: Detecting Hate Speech in Multimodal Memes", NeurIPS 2020
(https://arxiv.org/abs/2005.04790).
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inforeg_cli.data.problems import Problems
from inforeg_cli.data.recipe import HatefulMemesRecipe
from inforeg_cli.data.sources import Found, Scan
from inforeg_cli.data.sources.lists import files_digest, read_list
from inforeg_cli.data.sources.table import Row, Table
from inforeg_cli.errors import Misuse

#: The split scheme of the lists.
SCHEME = "standard"
#: What each line holds, and so the columns; the lists of the unlabelled tests lack the label.
_KEYS = ("id", "img", "text", "label")
_LABEL = "label"


def scan(recipe: HatefulMemesRecipe, raw: Path, splits: Path | None) -> Scan:
    """Raises Misuse where a list is absent, no text, or has no labels."""
    lists, problems = _lists(recipe, raw, splits), Problems()
    rows: list[Row] = []
    for split, path in lists.items():
        own = [*_rows(path, split, len(rows), problems)]
        if own and not any(row.cells[_LABEL] for row in own):
            labelled = recipe.lists[split][0]
            hint = f"use {labelled}" if labelled != path.name else "choose a list with labels"
            raise Misuse(f"{path} has no labels, so it cannot be the {split} split: {hint}")
        rows += own
    if not rows and not problems:
        raise Misuse(f"{', '.join(map(str, lists.values()))}: the lists are empty")
    return Scan(
        table=Table("the lists", (*_KEYS, SCHEME), tuple(rows), len(rows)),
        folder=raw,
        inputs=files_digest(lists),
        schemes=tuple(recipe.split or (SCHEME,)),
        found=_found(lists, rows),
        problems=problems,
    )


def inputs(recipe: HatefulMemesRecipe, raw: Path, splits: Path | None) -> str:
    """Names the lists."""
    return files_digest(_lists(recipe, raw, splits))


def _lists(recipe: HatefulMemesRecipe, raw: Path, splits: Path | None) -> dict[str, Path]:
    folder, found = splits or raw, {}
    for split, names in recipe.lists.items():
        there = [folder / name for name in names if (folder / name).is_file()]
        if not there:
            raise Misuse(f"{folder} has no {' or '.join(names)}, the list of the {split} split")
        found[split] = there[0]
    return found


def _rows(path: Path, split: str, first: int, problems: Problems) -> Iterator[Row]:
    """The sound lines of a list. What is wrong with the others becomes a problem, with its line."""
    index = first
    for number, line in enumerate(read_list(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path.name}:{number}"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.add(where, "the line is not JSON", getattr(error, "msg", ""))
            continue
        if wrong := _wrong(entry):
            problems.add(where, *wrong)
            continue
        cells = {key: "" if entry.get(key) is None else str(entry[key]) for key in _KEYS}
        yield Row(index, where, {**cells, SCHEME: split})
        index += 1


def _wrong(entry: Any) -> tuple[str, str] | None:
    """What is wrong with a line, and its detail; a label may be absent, and is asked for with all others."""
    if not isinstance(entry, dict):
        return "the line is no JSON object", type(entry).__name__
    if absent := [key for key in _KEYS if entry.get(key) is None and key != _LABEL]:
        return f"the line has no {' and no '.join(absent)}", f"it has: {', '.join(list(entry)[:8])}"
    kinds = {"img": str, "text": str, "id": int | str, _LABEL: int | str | None}
    for key, kind in kinds.items():
        if not isinstance(entry.get(key), kind) or isinstance(entry.get(key), bool):
            return f"{key} is of the wrong kind", repr(entry[key])
    return None


def _found(lists: Mapping[str, Path], rows: Sequence[Row]) -> list[Found]:
    lines = []
    for split, path in lists.items():
        labels = Counter(row.cells[_LABEL] for row in rows if row.cells[SCHEME] == split)
        said = ", ".join(f"{number:,} of class {label or 'unknown'}" for label, number in sorted(labels.items()))
        lines.append(Found(f"memes in {path.name}", labels.total(), path.stat().st_size, f"{split}: {said}"))
    return lines
