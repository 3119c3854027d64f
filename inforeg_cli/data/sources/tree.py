"""The videos in a folder and in all folders below it, each looked at once and none opened."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from inforeg_cli.errors import Misuse

_SUFFIXES = frozenset(
    ".3gp .asf .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .vob .webm .wmv".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Video:
    """A video file: its `path` relative to the folder that was searched, and its size."""

    path: PurePosixPath
    bytes: int


def videos(folder: Path) -> list[Video]:
    """All of them, by path, so that the order is the same on every machine. Hidden files and folders are left out.

    Raises Misuse where a folder cannot be read: its videos would be missing without a word.
    """
    found: list[Video] = []
    waiting, seen = [(folder, PurePosixPath())], set()
    while waiting:
        place, name = waiting.pop()
        try:
            about = place.stat()
            if (about.st_dev, about.st_ino) in seen:  # links may lead in circles
                continue
            seen.add((about.st_dev, about.st_ino))
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        waiting.append((Path(entry.path), name / entry.name))
                    elif os.path.splitext(entry.name)[1].lower() in _SUFFIXES and entry.is_file():  # noqa: PTH122
                        found.append(Video(name / entry.name, entry.stat().st_size))
        except OSError as error:
            raise Misuse(f"{place}: cannot read the folder: {error.strerror}") from None
    return sorted(found, key=lambda video: video.path.parts)
