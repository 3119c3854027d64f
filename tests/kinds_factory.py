"""Stores with clips of every kind, made in a moment: videos of differing frames and sizes, motion, text, sound."""

from pathlib import Path

import numpy as np

from inforeg_cli.data.media import jpeg
from inforeg_cli.data.sources import Clip
from inforeg_cli.data.store import RAW, Encoded, Modality, Store
from inforeg_cli.data.writer import write_store

VOCABULARY = 30
MODALITIES = {
    "sound": Modality("audio", np.dtype("<i2"), (800,), settings={"sample_rate": 8000}),
    "picture": Modality("image", np.dtype("u1"), (1, 8, 8)),
    "scene": Modality("video", np.dtype("u1"), None),
    "film": Modality("video", np.dtype("u1"), None, codec=jpeg.CODEC),
    "flow": Modality("motion", np.dtype("<f2"), None),
    "series": Modality("features", np.dtype("<f4"), (5, 4), sequence=True, length=5),
    "words": Modality("text", np.dtype("<i4"), (7,), sequence=True, length=7, settings={"vocabulary": VOCABULARY}),
}


def array_of(name: str, random: np.random.Generator, label: int, clip: int, varying: bool) -> np.ndarray | Encoded:
    """A clip's numbers, which tell its label; videos have 2 to 6 frames, and where they vary, sizes of their own."""
    frames, height, width = (2 + clip % 5, 10 + 2 * (clip % 3), 12 + clip % 4) if varying else (4, 10, 12)
    match name:
        case "sound":
            tone = np.sin(np.arange(800) * (0.2 + 0.3 * label)) + random.normal(size=800)
            return (tone * 3000).astype("<i2")
        case "picture":
            return (random.integers(0, 100, (1, 8, 8)) + 50 * label).astype("u1")
        case "scene" | "film":
            pixels = random.integers(0, 60, (frames, 3, height, width)) + 60 * label
            pixels = pixels.astype("u1") + np.arange(frames, dtype="u1")[:, None, None, None]
            if name == "scene":
                return pixels
            return Encoded(jpeg.encode(pixels, 95), jpeg.CODEC, pixels.shape, pixels.dtype)
        case "flow":
            return (random.normal(size=(frames, 2, 4, 5)) + label).astype("<f2")
        case "series":
            return (random.normal(size=(1 + clip % 5, 4)) + label).astype("<f4")
        case "words":
            return (random.integers(1, 12, 1 + clip % 7) + 6 * label).astype("<i4")
    raise ValueError(name)


def make_kinds(path: Path, *names: str, clips: int = 60, varying: bool = True) -> Store:
    """A store of three classes in the modalities named, split 60/20/20."""
    random, described = np.random.default_rng(0), {name: MODALITIES[name] for name in names}
    with write_store(path, described, name="kinds", source="manifest", recipe_digest="0" * 64) as writer:
        for clip in range(clips):
            label, split = clip % 3, ("train", "train", "train", "val", "test")[clip // 3 % 5]
            arrays = {name: array_of(name, random, label, clip, varying) for name in names}
            writer.add(Clip(f"clip-{clip:03}", {"label": f"class-{label}"}, {"split": split}), arrays)
    return Store.open(path)


def raw_frames(store: Store, name: str, clip: int) -> np.ndarray:
    """All frames of one clip, ``[T, C, H, W]``."""
    stored = store.clip(name, clip)
    return stored if store.codec(name, clip) == RAW else jpeg.decode(stored, range(jpeg.count(stored)))
