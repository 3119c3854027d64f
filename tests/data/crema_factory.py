"""A small CREMA-D for tests: real FLV (Sorenson video, MP3) and WAV files under the publisher's names, and split lists."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from raw_factory import tone, write_wav
from video_factory import write_video

from inforeg_cli import paths

EMOTIONS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
ACTORS = tuple(range(1001, 1011))


def clip_ids(actors: Sequence[int] = ACTORS, emotions: Sequence[str] = EMOTIONS) -> list[str]:
    return [f"{actor}_DFA_{emotion}_XX" for actor in actors for emotion in emotions]


def make_files(folder: Path, ids: Sequence[str], content: bytes = b"\0" * 2000) -> Path:
    """The publisher's tree with files that are no recordings: enough to be looked at."""
    for name, suffix in (("AudioWAV", "wav"), ("VideoFlash", "flv")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for clip in ids:
            (folder / name / f"{clip}.{suffix}").write_bytes(content)
    return folder


def make_recordings(folder: Path, ids: Sequence[str], size: tuple[int, int] = (48, 64)) -> Path:
    """The publisher's tree with a pitch, and frames, that tell the emotion."""
    for name in ("AudioWAV", "VideoFlash"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index, clip in enumerate(ids):
        emotion = EMOTIONS.index(clip.split("_")[2])
        samples = tone(300 + 100 * emotion, seconds=0.5 + 0.1 * (index % 3), rate=16000)
        write_wav(folder / "AudioWAV" / f"{clip}.wav", samples, rate=16000)
        write_video(
            folder / "VideoFlash" / f"{clip}.flv",
            seconds=0.7 + 0.1 * (index % 4),
            size=size,
            audio="mp3",
            picture=lambda number, size, level=40 * emotion: np.full((*size, 3), level, np.uint8),
        )
    return folder


def write_lists(folder: Path, train: Sequence[str], test: Sequence[str]) -> dict[str, str]:
    """The two lists, and by file name their SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, ids in (("train.csv", train), ("test.csv", test)):
        content = "".join(f"{clip},{clip.split('_')[2]}\r\n" for clip in ids).encode()
        (folder / name).write_bytes(content)
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def write_recipe(path: Path, lists: dict[str, str] | None = None, **replaced: str) -> Path:
    """The shipped recipe with the SHA-256 of other lists, and with text replaced: ``size="size = 32"``."""
    text = shipped_recipe().read_text(encoding="utf-8")
    for name, sha256 in (lists or {}).items():
        text = _line(text, f'"{name}"', f'"{name}" = "{sha256}"')
    for key, line in replaced.items():
        text = _line(text, key, line)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def shipped_recipe() -> Path:
    return paths.shipped("datasets") / "crema-d" / "recipe.toml"


def _line(text: str, start: str, line: str) -> str:
    old = next(every for every in text.splitlines() if every.startswith(start))
    return text.replace(old, line)
