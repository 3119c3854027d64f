"""A tree of recordings like CREMA-D's, encoded on the spot: what preparing and reading are timed on."""

import shutil
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

#: As CREMA-D ships them: Sorenson video of 480 x 360 with MP3 sound, about 270 kB for 2.5 s, and a WAV file of the sound.
HEIGHT, WIDTH, FPS = 360, 480, 30
#: Of different lengths, 2.5 s in the mean, so that a store cannot treat the clips as one array.
SECONDS = (2.2, 2.4, 2.6, 2.8)
VIDEO_BITS, SOUND_BITS = 800_000, 64_000
SOUND_RATE, WAV_RATE = 44_100, 16_000
#: Encoding takes longer than all that is timed: so many clips differ, the others are copies under names of their own.
DIFFERENT = 12

EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")

RECIPE = """\
name = "bench"

[modalities.audio]
kind = "audio"
sample_rate = 22050
seconds = 3.0

[modalities.video]
kind = "video"
fps = 3.0
size = 256
"""


@dataclass(frozen=True)
class Pair:
    """A clip's two files, and the number of the clip that they are copies of, or its own."""

    video: Path
    audio: Path
    original: int


def make_tree(folder: Path, clips: int, different: int = DIFFERENT) -> list[Pair]:
    """`clips` pairs of files, recipe.toml and manifest.csv in `folder`; from 16 on every split has what it needs."""
    for name in ("VideoFlash", "AudioWAV"):
        (folder / name).mkdir(parents=True)
    pairs, rows = [], ["id,label,split,audio,video"]
    for number in range(clips):
        emotion = EMOTIONS[number % len(EMOTIONS)]
        name = f"{1001 + number // 80}_{number % 80:03}_{emotion}_XX"
        pair = Pair(folder / "VideoFlash" / f"{name}.flv", folder / "AudioWAV" / f"{name}.wav", number % different)
        if number < different:
            _write_video(pair.video, number)
            _write_sound(pair.audio, number)
        else:
            shutil.copyfile(pairs[pair.original].video, pair.video)
            shutil.copyfile(pairs[pair.original].audio, pair.audio)
        pairs.append(pair)
        split = ("train", "train", "train", "val", "test")[number % 5]
        rows.append(f"{name},{emotion},{split},AudioWAV/{pair.audio.name},VideoFlash/{pair.video.name}")
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    (folder / "manifest.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    return pairs


def _write_video(path: Path, seed: int) -> None:
    packets: list[av.Packet] = []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flv", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = VIDEO_BITS
        for number, picture in enumerate(_pictures(seed)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        sound = container.add_stream("libmp3lame", rate=SOUND_RATE, layout="mono")
        sound.bit_rate = SOUND_BITS
        frame = av.AudioFrame.from_ndarray(_sound(seed, SOUND_RATE)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SOUND_RATE, 0
        packets += [*sound.encode(frame), *sound.encode(None)]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)


def _write_sound(path: Path, seed: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(WAV_RATE)
        file.writeframes(np.rint(_sound(seed, WAV_RATE) * 32767).astype("<i2").tobytes())


def _pictures(seed: int) -> Iterator[np.ndarray]:
    """Soft shapes that drift before a still background, and a camera's grain: uint8 ``[H, W, 3]`` each."""
    random = np.random.default_rng(seed)
    still, moving = 128 + 40 * _shapes(random, 24), 60 * _shapes(random, 6)
    grains = random.normal(scale=3, size=(8, HEIGHT, WIDTH, 1)).astype(np.float32)
    for number in range(round(_seconds(seed) * FPS)):
        drift = np.roll(moving, (round(12 * np.sin(number / 9)), 2 * number), axis=(0, 1))
        yield (still + drift + grains[number % len(grains)]).clip(0, 255).astype(np.uint8)


def _shapes(random: np.random.Generator, cells: int) -> np.ndarray:
    """Random numbers from -1 to 1 at `cells` x `cells` points, smooth between them: float32 ``[H, W, 3]``."""
    points = random.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
    for axis, length in enumerate((HEIGHT, WIDTH)):
        where = np.linspace(0, cells - 1, length, dtype=np.float32)
        low = np.minimum(where.astype(int), cells - 2)
        share = (where - low).reshape([-1 if axis == each else 1 for each in range(3)])
        points = points.take(low, axis) * (1 - share) + points.take(low + 1, axis) * share
    return points


def _sound(seed: int, rate: int) -> np.ndarray:
    """A voice-like tone with overtones: float32."""
    time = np.arange(round(_seconds(seed) * rate)) / rate
    pitch = 120 + 15 * seed + 10 * np.sin(2 * np.pi * 2 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    return (0.2 * sum(np.sin(order * phase) / order for order in range(1, 9))).astype(np.float32)


def _seconds(seed: int) -> float:
    return SECONDS[seed % len(SECONDS)]
