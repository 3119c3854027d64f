"""Plans made by hand over real files, for tests of what carries them out."""

from pathlib import Path
from typing import Any

import numpy as np
from raw_factory import make_raw

from inforeg_cli.data.kinds import AudioSettings, FeatureSettings, ImageSettings
from inforeg_cli.data.preparing.execute import Listener, execute
from inforeg_cli.data.sources import Clip, Plan
from inforeg_cli.data.store import Modality, Store, work_folder

DECODING = {
    "sound": AudioSettings(column="audio", sample_rate=8000, seconds=0.1),
    "picture": ImageSettings(column="picture", mode="L"),
    "face": FeatureSettings(column="face"),
    "path": FeatureSettings(column="face"),
}
MODALITIES = {
    "sound": Modality("audio", np.dtype("<i2"), (800,), settings={"sample_rate": 8000}),
    "picture": Modality("image", np.dtype("u1"), (1, 6, 5)),
    "face": Modality("features", np.dtype("<f4"), (5, 3), sequence=True, length=5),
    # Of 12 to 60 bytes each, so that most begin after some padding.
    "path": Modality("motion", np.dtype("<f4"), None),
}


#: A program that prepares a recipe slowly, and says what it reads and hears.
SLOW = """
import sys, time
from pathlib import Path
from inforeg_cli.data import media
from inforeg_cli.data.preparing.plan import Job
from inforeg_cli.data.preparing.prepare import Listener, prepare

class Spoken(Listener):
    def said(self, message):
        print(message, flush=True)

read = media.read
def slow(settings, source):
    print("reading", flush=True)
    time.sleep(0.02)
    return read(settings, source)
media.read = slow
prepare(Job(Path(sys.argv[1]), Path(sys.argv[2])), listener=Spoken())
"""


class Heard(Listener):
    def __init__(self) -> None:
        self.words: list[str] = []
        self.progress: list[tuple[int, int, int]] = []
        self.plan: Plan | None = None

    def said(self, message: str) -> None:
        self.words.append(message)

    def looked(self, plan: Plan) -> None:
        self.plan = plan

    def advanced(self, done: int, total: int, failed: int) -> None:
        self.progress.append((done, total, failed))


class Impatient(Heard):
    """Interrupts each call when it has done so many clips."""

    def __init__(self, clips: int) -> None:
        super().__init__()
        self.left = clips

    def advanced(self, done: int, total: int, failed: int) -> None:
        super().advanced(done, total, failed)
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def make_plan(folder: Path, clips: int = 8, **more: Any) -> Plan:
    """Sound, picture, a sequence and clips of varying shape; the raw files are made where they are not there."""
    if not folder.exists():
        make_raw(folder, clips)
    rows = [{"sound": f"wav/{i}.wav", "picture": f"png/{i}.png", "face": f"npy/{i}.npy"} for i in range(clips)]
    return Plan(
        **{
            "clips": [
                Clip(
                    f"clip-{i:03}",
                    {"label": f"class-{i % 2}"},
                    {"split": ("train", "val", "test", "train")[i // 2 % 4]},
                    media={name: folder / row.get(name, row["face"]) for name in MODALITIES},
                    where=f"line {i + 2}",
                    named={**row, "path": row["face"]},
                )
                for i, row in enumerate(rows)
            ],
            "modalities": MODALITIES,
            "decoding": DECODING,
            "inputs": "i" * 64,
            "decoders": {"numpy": "2"},
            "attachments": {"face.vocabulary.json": b"[]"},
            **more,
        }
    )


def carry_out(plan: Plan, out: Path, **more: Any) -> Store:
    return execute("tiny", "manifest", "r" * 64, plan, out, **more)


def same_bytes(one: Path, other: Path) -> bool:
    files = sorted(path.name for path in one.iterdir())
    return files == sorted(path.name for path in other.iterdir()) and all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in files
    )


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


__all__ = [
    "DECODING",
    "MODALITIES",
    "Heard",
    "Impatient",
    "carry_out",
    "left_in",
    "make_plan",
    "same_bytes",
    "work_folder",
]
