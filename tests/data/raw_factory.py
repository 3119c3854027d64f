"""Raw recordings, images and arrays for tests: small, made from numbers, encoded in the test itself."""

import csv
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

RATE = 8000

RECIPE = """
name = "tiny"

[modalities.sound]
kind = "audio"
column = "audio"
sample_rate = 8000
seconds = 0.1

[modalities.picture]
kind = "image"
mode = "L"

[modalities.face]
kind = "features"
"""


def tone(frequency: float = 440, seconds: float = 0.1, rate: int = RATE, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    """`samples` in [-1, 1], ``[n]`` or ``[n, channels]``, or int16 as they are."""
    data = samples if samples.dtype == np.int16 else np.rint(samples * 32767).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if data.ndim == 1 else data.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(data.astype("<i2").tobytes())
    return path


def encode_audio(path: Path, codec: str, samples: np.ndarray, rate: int) -> Path:
    """Two equal channels of `samples` in [-1, 1], through one of PyAV's encoders; the name decides the container."""
    with av.open(str(path), "w") as container:
        # FFmpeg's own Vorbis encoder counts as experimental.
        stream = container.add_stream(codec, rate=rate, layout="stereo", options={"strict": "experimental"})
        context = stream.codec_context
        context.open()
        frame = av.AudioFrame.from_ndarray(np.stack([samples] * 2).astype(np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(context.format, context.layout, rate, context.frame_size or None)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (6, 5), mode: str = "L") -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def write_manifest(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path = folder / "manifest.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def rows_of(clips: int = 20, classes: int = 2) -> list[dict[str, str]]:
    """Rows with a split: of each ten clips six in train, two in val, two in test."""
    splits = ("train", "train", "train", "val", "test")
    return [
        {
            "id": f"clip-{i:03}",
            "label": f"class-{i % classes}",
            "split": splits[i // classes % 5],
            "speaker": f"speaker-{i % 7}",
            "audio": f"wav/{i}.wav",
            "picture": f"png/{i}.png",
            "face": f"npy/{i}.npy",
        }
        for i in range(clips)
    ]


def make_raw(folder: Path, clips: int = 20, classes: int = 2, recipe: str = RECIPE) -> list[dict[str, str]]:
    """A dataset with its recipe in `folder`: sound, picture and face (sequences of 1 to 5 steps). Returns its rows."""
    for name in ("wav", "png", "npy"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    rows = rows_of(clips, classes)
    for i, row in enumerate(rows):
        write_wav(folder / row["audio"], tone(300 + 10 * i, seconds=0.03 + 0.01 * i))
        write_image(folder / row["picture"], seed=i)
        np.save(folder / row["face"], random.normal(size=(1 + i % 5, 3)))
    write_manifest(folder, rows)
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
    return rows
