"""Computational sequences as the CMU Multimodal SDK writes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def write_csd(path: Path, root: str, videos: Mapping[str, tuple[Any, Any]]) -> Path:
    """`videos`: of each the features ``[T, D]`` and the intervals ``[T, 2]``."""
    with h5py.File(path, "w") as file:
        group = file.create_group(root)
        for video, (features, intervals) in videos.items():
            group[f"data/{video}/features"] = np.asarray(features)
            group[f"data/{video}/intervals"] = np.asarray(intervals)
        group.create_group("metadata")["root name"] = np.array([root], dtype=h5py.string_dtype())
    return path


def every(step: float, count: int, begin: float = 0.0) -> np.ndarray:
    """Intervals ``[count, 2]`` of equal length, one after the other."""
    edges = begin + step * np.arange(count + 1)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def write_sequences(
    folder: Path, videos: Sequence[str], segments: int = 4, words: int = 3, seed: int = 0
) -> dict[str, np.ndarray]:
    """CMU-MOSI's four files: of each video segments of `words` words of half a second. Returns each video's scores."""
    random = np.random.default_rng(seed)
    count = segments * words
    times = every(0.5, count)
    scores = {video: random.choice([-2.2, -1.0, 0.6, 1.8], segments).astype("f4") for video in videos}

    def telling(video: str, steps: int, width: int) -> np.ndarray:
        values = random.normal(size=(steps, width))
        values[:, 0] += np.repeat(scores[video], steps // segments)
        return values.astype("f4")

    write_csd(
        folder / "CMU_MOSI_TimestampedWordVectors.csd",
        "glove_vectors",
        {video: (telling(video, count, 6), times) for video in videos},
    )
    for name, root, steps, width in (
        ("CMU_MOSI_COVAREP", "COVAREP", 10, 5),
        ("CMU_MOSI_Visual_Facet_42", "FACET_4.2", 4, 4),
    ):
        sequences = {
            video: (telling(video, count * steps, width), every(0.5 / steps, count * steps)) for video in videos
        }
        write_csd(folder / f"{name}.csd", root, sequences)
    opinions = {video: (scores[video][:, None], every(0.5 * words, segments)) for video in videos}
    write_csd(folder / "CMU_MOSI_Opinion_Labels.csd", "Opinion Segment Labels", opinions)
    return scores
