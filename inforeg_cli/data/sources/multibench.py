"""MultiBench's pickles of CMU-MOSI: by split and modality an array ``[N, T, D]``, the scores, and the segments' ids.

Liang et al., "MultiBench: Multiscale Benchmarks for Multimodal Representation Learning", NeurIPS 2021
(https://arxiv.org/abs/2107.07502). Sequences are padded with zeros, in front or at the end.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inforeg_cli.data.problems import Problems
from inforeg_cli.data.sources import restricted_pickle
from inforeg_cli.data.sources.segments import Cleaning, Segment, Segments, numbers
from inforeg_cli.data.store import SPLITS
from inforeg_cli.errors import Misuse

#: What a split is called.
_KEYS = {"train": ("train",), "val": ("valid", "val", "dev"), "test": ("test",)}
_LABELS = "labels"
#: ``video[3]``, ``video_3`` or ``video$_$3``: a video and the number of its segment.
_SEGMENT = re.compile(r"(?P<video>.+?)(?:\[(?P<bracket>\d+)\]|\$_\$(?P<dollar>\d+)|_(?P<line>\d+))")


def read(path: Path, segments: Segments) -> None:
    """Add the segments of the pickle at `path`. Raises Misuse where it is damaged, or holds something else."""
    value = restricted_pickle.load(path)
    if not isinstance(value, dict):
        raise Misuse(f"{path} holds a {type(value).__name__}, where splits by name belong")
    cleaning = {name: Cleaning() for name in segments.arrays}
    for split in SPLITS:
        key = next((name for name in _KEYS[split] if name in value), None)
        if key is not None:
            _read_part(f"{path}: {key}", key, split, value.pop(key), segments, cleaning)
        elif split == "train":  # the others can be carved from it
            raise Misuse(f"{path} has no {split}; it has: {_names(value)}")
    for modality, done in cleaning.items():
        done.tell(f"{path.name}, {modality}", segments.warnings)


def _read_part(
    where: str, key: str, split: str, part: Any, segments: Segments, cleaning: Mapping[str, Cleaning]
) -> None:
    if not isinstance(part, dict):
        raise Misuse(f"{where} is a {type(part).__name__}, where arrays by name belong")
    if absent := {*segments.arrays, _LABELS} - {*part}:
        raise Misuse(f"{where} lacks {', '.join(sorted(absent))}; it has: {_names(part)}")
    scores = _scores(part[_LABELS], where)
    ids = _ids(part.get("id"), key, len(scores), segments.warnings)
    for index, ((name, video), score) in enumerate(zip(ids, scores, strict=True)):
        segments.rows.append(Segment(name, f"{key} {index}", video, split, score))
    for modality, arrays in segments.arrays.items():
        rows = part.pop(modality)  # so that what is copied as float32 can go
        if not _listed(rows) or len(rows) != len(scores):
            raise Misuse(f"{where} has {len(scores)} labels, and not as many sequences of {modality}")
        clean = cleaning[modality]
        for index, row in enumerate(rows):
            arrays.append(clean.stripped(clean.finite(numbers(row, f"{where} {index}, {modality}"))))


def _listed(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _names(value: Mapping[Any, Any]) -> str:
    return ", ".join(str(name)[:40] for name in list(value)[:8]) or "nothing"


def _scores(labels: Any, where: str) -> list[float]:
    try:
        found = np.asarray(labels, dtype=np.float64)
        return found.reshape(len(found), 1)[:, 0].tolist()
    except (TypeError, ValueError):
        raise Misuse(f"{where}: {_LABELS} are not one score a segment: [N], [N, 1] or [N, 1, 1]") from None


def _ids(given: Any, key: str, number: int, warnings: Problems) -> list[tuple[str, str]]:
    """Of each segment its id and video. Given as one name, or as video, begin and end."""
    rows = list(given) if _listed(given) else []
    if len(rows) != number:
        warnings.add(key, "the segments have no ids", "their places stand for them, and each for a video of its own")
        return [(f"{key}_{index}",) * 2 for index in range(number)]
    found = []
    for row in rows:
        first, *rest = [_text(part) for part in np.ravel(np.asarray(row, dtype=object)).tolist()] or [""]
        named = _SEGMENT.fullmatch(first) if not rest else None
        if named:
            segment = named["bracket"] or named["dollar"] or named["line"]
            found.append((f"{named['video']}_{segment}", named["video"]))
        else:
            found.append(("_".join([first, *rest]), first))
    return found


def _text(part: Any) -> str:
    return part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part)
