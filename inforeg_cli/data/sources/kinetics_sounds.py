"""Kinetics-Sounds: videos of ten seconds named by YouTube id, start and end, and a list of each split's videos.

The lists are the ones that were released with OGM-GE (Peng et al., CVPR 2022). A list names a video by YouTube id and
start, some with the end and some with leading zeros, and so do the files: YouTube id and start in seconds are what a
video is known by here.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inforeg_cli.data.problems import Problems
from inforeg_cli.data.recipe import KineticsSoundsRecipe
from inforeg_cli.data.sources import Found, Scan
from inforeg_cli.data.sources.lists import files_digest, read_list
from inforeg_cli.data.sources.table import Row, Table
from inforeg_cli.data.sources.tree import Video, videos
from inforeg_cli.errors import Misuse
from inforeg_cli.naming import count

#: The split scheme of the lists.
SCHEME = "released"
#: The column of both modalities: sound and pictures lie in one file.
VIDEO = "video"
LABEL = "class"

_NAME = r"(?P<youtube>[A-Za-z0-9_-]{11})_(?P<start>[0-9]+)(?:_[0-9]+)?"
_FILE = re.compile(_NAME)
_LINE = re.compile(rf"(?P<id>{_NAME}),(?P<seconds>[0-9]+(?:\.[0-9]+)?),(?P<label>[0-9]+)")
_EXAMPLES = 3

#: YouTube id, and start in seconds.
Key = tuple[str, int]


@dataclass(frozen=True)
class Entry:
    """A line of a list."""

    id: str
    key: Key
    label: str
    split: str
    where: str


def scan(recipe: KineticsSoundsRecipe, raw: Path, splits: Path | None) -> Scan:
    """Raises Misuse where the lists are absent or no text."""
    problems, warnings = Problems(), Problems()
    lists = _lists(recipe, raw, splits)
    entries = _entries(lists, problems)
    files, unknown = _by_key(videos(raw), {entry.key for entry in entries}, warnings)
    if unknown:
        examples = ", ".join(str(video.path) for video in unknown[:_EXAMPLES])
        warnings.add(count(len(unknown), "video"), "in no list, and left out", examples)
    folders = _class_folders(entries, files, warnings)
    return Scan(
        table=_table(entries, files, lists),
        folder=raw,
        inputs=files_digest(lists),
        schemes=tuple(recipe.split or (SCHEME,)),
        found=[*_found(lists, entries, files), *folders],
        problems=problems,
        warnings=warnings,
    )


def inputs(recipe: KineticsSoundsRecipe, raw: Path, splits: Path | None) -> str:
    """Names the lists. Raises Misuse where they are absent."""
    return files_digest(_lists(recipe, raw, splits))


def _lists(recipe: KineticsSoundsRecipe, raw: Path, splits: Path | None) -> dict[str, Path]:
    """By split, all from one folder: lists of different origin need not fit together."""
    folders = [splits] if splits is not None else [raw, raw / "splits", raw.absolute().parent / "splits"]
    for folder in folders:
        lists = {split: folder / name for split, name in recipe.lists.items()}
        if all(path.is_file() for path in lists.values()):
            return lists
    names = " and ".join(recipe.lists.values())
    raise Misuse(
        f"{recipe.name}: {names} do not lie together in {', '.join(map(str, folders))}\n"
        f"  they say which videos there are, of which class and split; the released code has them in {recipe.lists_url}\n"
        "  put them into one of these folders, or name theirs: --splits DIR"
    )


def _entries(lists: Mapping[str, Path], problems: Problems) -> list[Entry]:
    """In the order of the lists; of a video that is listed again, the first line."""
    entries: dict[Key, Entry] = {}
    for split, path in lists.items():
        for number, line in enumerate(read_list(path).splitlines(), start=1):
            if not line.strip():
                continue
            where = f"{path.name} line {number}"
            found = _LINE.fullmatch(re.sub(r"\s*,\s*", ",", line.strip()))
            if found is None:
                problems.add(where, "the line is not of the form youtubeid_start_end,seconds,class", line)
                continue
            key = found["youtube"], int(found["start"])
            entry = Entry(found["id"], key, str(int(found["label"])), split, where)
            if (first := entries.setdefault(key, entry)) is not entry:
                what = "the video is listed twice" if first.split == split else "the video is in two lists"
                problems.add(where, what, f"{entry.id}; before in {first.where}")
    if not entries and not problems:
        problems.add(" and ".join(path.name for path in lists.values()), "the lists are empty")
    return list(entries.values())


def _by_key(every: Iterable[Video], listed: set[Key], warnings: Problems) -> tuple[dict[Key, Video], list[Video]]:
    """The listed videos' files, of several the first, and the files of no listed video."""
    files: dict[Key, Video] = {}
    unknown = []
    for video in every:
        named = _FILE.fullmatch(video.path.stem)
        key = (named["youtube"], int(named["start"])) if named else None
        if key not in listed:
            unknown.append(video)
        elif (first := files.setdefault(key, video)) is not video:
            warnings.add(str(video.path), "the same video is there twice, and the first is taken", str(first.path))
    return files, unknown


def _table(entries: Sequence[Entry], files: Mapping[Key, Video], lists: Mapping[str, Path]) -> Table:
    """An absent video is named as Kinetics names its files: that there is no such file is told with the others'."""
    rows = [
        Row(
            index,
            entry.where,
            {
                "id": entry.id,
                LABEL: entry.label,
                SCHEME: entry.split,
                VIDEO: str(files[entry.key].path) if entry.key in files else f"{entry.id}.mp4",
            },
        )
        for index, entry in enumerate(entries)
    ]
    name = " and ".join(path.name for path in lists.values())
    return Table(name, ("id", LABEL, SCHEME, VIDEO), tuple(rows), len(rows))


def _found(lists: Mapping[str, Path], entries: Sequence[Entry], files: Mapping[Key, Video]) -> list[Found]:
    lines = []
    for split, path in lists.items():
        listed = [entry.key for entry in entries if entry.split == split]
        there = [files[key] for key in listed if key in files]
        size = sum(video.bytes for video in there)
        lines.append(Found(f"{split} videos", len(there), size, f"of {len(listed):,} listed in {path.name}"))
    return lines


def _class_folders(entries: Sequence[Entry], files: Mapping[Key, Video], warnings: Problems) -> list[Found]:
    """Which class is which folder's, where each has one of its own: the lists have numbers alone."""
    labels: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        if entry.key in files:
            labels[files[entry.key].path.parent.name][entry.label] += 1
    usual = {folder: found.most_common(1)[0] for folder, found in labels.items()}
    mostly = all(2 * number > labels[folder].total() for folder, (_, number) in usual.items())
    there = {label for found in labels.values() for label in found}
    if not mostly or not 1 < len(there) == len(labels) == len({label for label, _ in usual.values()}):
        return []
    for folder, (label, number) in usual.items():
        if number < (total := labels[folder].total()):
            said = f"{number} of {total} are of class {label}"
            warnings.add(f"folder {folder}", "the folder has videos of several classes of the lists", said)
    named = sorted((int(label), folder) for folder, (label, _) in usual.items())
    return [Found("class folders", len(labels), remark=", ".join(f"{label} {folder}" for label, folder in named))]
