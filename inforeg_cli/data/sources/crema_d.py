"""CREMA-D as its repository lays it out: AudioWAV/*.wav, VideoFlash/*.flv, named ACTOR_SENTENCE_EMOTION_LEVEL."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from inforeg_cli import paths
from inforeg_cli.data.problems import Problems
from inforeg_cli.data.recipe import CremaDRecipe
from inforeg_cli.data.sources import Found, Scan, lists
from inforeg_cli.data.sources.pointers import RawFile, raw_files, refuse_pointers, verify_against_pointers
from inforeg_cli.data.sources.table import Row, Table
from inforeg_cli.errors import Misuse
from inforeg_cli.files import digest
from inforeg_cli.naming import count

#: The scheme with published lists.
PAPER = "paper"
#: By column of the table, the publisher's folder and the suffix of its recordings.
FOLDERS = {"audio": ("AudioWAV", ".wav"), "video": ("VideoFlash", ".flv")}

_NAME = re.compile(r"(?P<actor>\d{4})_[A-Z]{3}_(?P<emotion>[A-Z]{3})_(XX|LO|MD|HI)", re.ASCII)
_PATTERN = "expected ACTOR_SENTENCE_EMOTION_LEVEL with the level XX, LO, MD or HI, such as 1001_DFA_ANG_XX"
#: Published so until 2022; the split lists have always had the name in full.
_RENAMED = {"1040_ITH_SAD_X": "1040_ITH_SAD_XX"}
#: Names told of many.
_EXAMPLES = 3


def scan(recipe: CremaDRecipe, raw: Path, splits: Path | None) -> Scan:
    """One row a clip, in the order of the ids: those of the split lists where they are at hand, else whatever lies in
    one of the folders.

    The lists are looked for in `splits`, else with the raw files, beside their folder, and where they are kept once
    fetched or given. Raises Misuse where folders or lists are not CREMA-D's, InforegError where there are Git LFS
    pointers.
    """
    base = _base(recipe, raw)
    files = _files(recipe, base)
    refuse_pointers(base, files)
    problems, warnings = Problems(), Problems()
    misnamed = Problems()
    named = _named(recipe, files, misnamed, warnings)
    place = _place(recipe, raw, base, splits)
    contents = _contents(recipe, place) if place else _fetched(recipe, warnings)
    origin = str(place or recipe.lists_url)
    listed = _listed(contents, origin)
    kept = _kept(recipe)
    worth_keeping = contents and (place is None or splits is not None) and not kept.exists()
    # With lists at hand such a file is one more recording that stands in none of them.
    (warnings if listed else problems).extend(misnamed)
    if listed:
        _warn_unlisted(recipe, named, listed, warnings)
    clips = _clips(named, listed)
    rows = [_row(index, clip, named, listed) for index, clip in enumerate(clips)]
    found = [
        Found(f"files under {name}", len(every), sum(file.size for file in every)) for name, every in files.items()
    ]
    found.append(Found("Git LFS pointers in place of files", 0))
    found += [
        Found(f"clips in {split}.csv", number, remark=origin) for split, number in Counter(listed.values()).items()
    ]
    return Scan(
        table=Table(
            recipe.name, ("id", "emotion", "actor", *([PAPER] if listed else []), *named), tuple(rows), len(rows)
        ),
        folder=base,
        inputs=_digest(recipe, clips, listed),
        schemes=[scheme for scheme in recipe.split if listed or scheme != PAPER],
        found=found,
        problems=problems,
        warnings=warnings,
        keep={kept / name: content for name, content in contents.items()} if worth_keeping else {},
    )


def inputs(recipe: CremaDRecipe, raw: Path, splits: Path | None) -> str:
    """Names the split lists or, where there are none, the clips that lie there. Fetches nothing."""
    base = _base(recipe, raw)
    if place := _place(recipe, raw, base, splits):
        return _digest(recipe, (), _listed(_contents(recipe, place), str(place)))
    named = _named(recipe, _files(recipe, base), Problems(), Problems())
    return _digest(recipe, _clips(named, {}), {})


def verify(recipe: CremaDRecipe, raw: Path, progress: Callable[[int, int], None], workers: int = 2) -> int | None:
    """How many recordings are what the git clone that they lie in records of them; see `verify_against_pointers`."""
    folders = [name for name, _ in _folders(recipe).values()]
    return verify_against_pointers(_base(recipe, raw), folders, progress, workers)


def _digest(recipe: CremaDRecipe, clips: Sequence[str], listed: Mapping[str, str]) -> str:
    return digest("lists", *sorted(recipe.lists.values())) if listed else digest("clips", *clips)


def _folders(recipe: CremaDRecipe) -> dict[str, tuple[str, str]]:
    """Those that the recipe's modalities are read from."""
    return {column: FOLDERS[column] for column in FOLDERS if column in recipe.columns.values()}


def _base(recipe: CremaDRecipe, raw: Path) -> Path:
    """The folder that holds the recordings' folders: `raw`, or the one folder in it that does."""
    expected = [name for name, _ in _folders(recipe).values()]

    def complete(folder: Path) -> bool:
        return all((folder / name).is_dir() for name in expected)

    if complete(raw):
        return raw
    there = sorted(raw.iterdir())
    within = [folder for folder in there if complete(folder)]
    if len(within) == 1:
        return within[0]
    if within:
        raise Misuse(f"{recipe.name}: both {within[0]} and {within[1]} hold recordings: name one with --source")
    found = ", ".join(path.name for path in there[:8]) + (", ..." if len(there) > 8 else "")
    raise Misuse(f"{recipe.name}: expected the folders {' and '.join(expected)} in {raw}; found {found or 'nothing'}")


def _files(recipe: CremaDRecipe, base: Path) -> dict[str, list[RawFile]]:
    """By folder, the recordings in it. Raises Misuse where one has none."""
    files = {name: raw_files(base / name, suffix) for name, suffix in _folders(recipe).values()}
    for name, suffix in _folders(recipe).values():
        if not files[name]:
            raise Misuse(f"{recipe.name}: there are no recordings *{suffix} in {base / name}")
    return files


def _named(
    recipe: CremaDRecipe, files: Mapping[str, Sequence[RawFile]], problems: Problems, warnings: Problems
) -> dict[str, dict[str, str]]:
    """By column and clip, the recording's path below the base."""
    named: dict[str, dict[str, str]] = {}
    for column, (folder, _) in _folders(recipe).items():
        named[column] = {}
        for file in files[folder]:
            path = f"{folder}/{file.path.name}"
            clip = _RENAMED.get(file.path.stem, file.path.stem)
            if not _NAME.fullmatch(clip):
                problems.add(path, "the name is not that of a recording", _PATTERN)
            elif clip in named[column]:
                warnings.add(path, "another file holds the same clip and is read in its stead", named[column][clip])
            else:
                named[column][clip] = path
    return named


def _clips(named: Mapping[str, Mapping[str, str]], listed: Mapping[str, str]) -> list[str]:
    return sorted(listed or {clip for every in named.values() for clip in every})


def _row(index: int, clip: str, named: Mapping[str, Mapping[str, str]], listed: Mapping[str, str]) -> Row:
    told = _NAME.fullmatch(clip)
    cells = {"id": clip, "emotion": told["emotion"], "actor": told["actor"]}
    cells |= {PAPER: listed[clip]} if listed else {}
    for column, every in named.items():
        folder, suffix = FOLDERS[column]
        cells[column] = every.get(clip, f"{folder}/{clip}{suffix}")
    return Row(index, clip, cells)


def _place(recipe: CremaDRecipe, raw: Path, base: Path, splits: Path | None) -> Path | None:
    """The folder with the split lists, without asking the network."""
    if PAPER not in recipe.split:
        if splits is not None:
            raise Misuse(f"--splits {splits}: {recipe.name} has no scheme {PAPER!r} that lists are for")
        return None
    if splits is None:
        beside = raw.absolute().parent / "splits"
        return lists.find(recipe.lists, [raw, raw / "splits", base, base / "splits", beside, _kept(recipe)])
    if place := lists.find(recipe.lists, [splits]):
        return place
    raise Misuse(f"--splits {splits}: expected {' and '.join(recipe.lists)} there")


def _kept(recipe: CremaDRecipe) -> Path:
    """Under the root, wherever the raw files lie: theirs may be a place that others share, or nobody may write to."""
    return paths.root() / "datasets" / recipe.name / "splits"


def _contents(recipe: CremaDRecipe, place: Path) -> dict[str, bytes]:
    return {name: (place / name).read_bytes() for name in recipe.lists}


def _fetched(recipe: CremaDRecipe, warnings: Problems) -> dict[str, bytes]:
    """The lists from the network; none where no scheme is in need of them, or they cannot be had."""
    if PAPER not in recipe.split:
        return {}
    try:
        return lists.fetch(recipe.lists, recipe.lists_url)
    except lists.NotFetched as error:
        others = [scheme for scheme in recipe.split if scheme != PAPER]
        get = f"put {' and '.join(recipe.lists)} from {recipe.lists_url} into a folder and give it with --splits DIR"
        if not others:
            raise Misuse(f"{recipe.name} needs its split lists: {get}\n  {error}") from None
        warnings.add("the split lists are absent", f"there is only the scheme {others[0]!r}", str(error))
        warnings.add(f"to have the scheme {PAPER!r}", get)
        return {}


def _listed(contents: Mapping[str, bytes], origin: str) -> dict[str, str]:
    """The split of each clip in the lists, which come from the folder `origin`."""
    listed: dict[str, str] = {}
    for name, content in contents.items():
        where, split = f"{origin}/{name}", Path(name).stem
        text = io.StringIO(content.decode("utf-8", "replace"), newline="")
        for line, cells in enumerate(csv.reader(text), start=1):
            told = _NAME.fullmatch(cells[0]) if len(cells) == 2 else None
            if told is None or told["emotion"] != cells[1]:
                raise Misuse(f"{where}: line {line} is no clip and its emotion: {','.join(cells)[:80]!r}")
            if cells[0] in listed:
                raise Misuse(f"{where}: line {line}: {cells[0]} is listed twice")
            listed[cells[0]] = split
    return listed


def _warn_unlisted(
    recipe: CremaDRecipe, named: Mapping[str, Mapping[str, str]], listed: Mapping[str, str], warnings: Problems
) -> None:
    if unlisted := sorted({clip for every in named.values() for clip in every} - set(listed)):
        shown = ", ".join(unlisted[:_EXAMPLES]) + (", ..." if len(unlisted) > _EXAMPLES else "")
        said = f"{count(len(unlisted), 'clip')}: {shown}"
        warnings.add(" and ".join(recipe.lists), "recordings that stand in no list are left out", said)
