"""What every part of the suite can use: small prepared datasets, made in a moment, and the command line."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import numpy as np
import pytest
from no_tracker import NoTracker

from inforeg_cli.app import main
from inforeg_cli.data.sources import Clip
from inforeg_cli.data.store import Modality, Store
from inforeg_cli.data.writer import write_store

#: By name: a vector, a small image and a sequence, each less telling than the one before.
KINDS = ("vector", "picture", "series")


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the checkout's own datasets and runs."""
    monkeypatch.setenv("INFOREG_ROOT", str(tmp_path))


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Store]:
    """`make_store(modalities=2, clips=60, classes=3)`: a store with learnable classes, split 60/20/20."""

    def make(modalities: int = 2, clips: int = 60, classes: int = 3, seed: int = 0, name: str = "tiny") -> Store:
        random = np.random.default_rng(seed)
        described = {}
        for index in range(modalities):
            kind = KINDS[index % 3]
            key = kind if index < 3 else f"{kind}{index // 3}"
            described[key] = {
                "vector": Modality("features", np.dtype("<f4"), (6,)),
                "picture": Modality("image", np.dtype("u1"), (1, 8, 8)),
                "series": Modality("features", np.dtype("<f4"), (5, 4), sequence=True, length=5),
            }[kind]
        path = tmp_path / "stores" / f"{name}-{modalities}-{clips}-{classes}-{seed}"
        with write_store(path, described, name=name, source="manifest", recipe_digest="0" * 64) as writer:
            for clip in range(clips):
                label = clip % classes
                split = ("train", "train", "train", "val", "test")[clip // classes % 5]
                arrays = {}
                for index, (key, modality) in enumerate(described.items()):
                    shape = modality.shape if not modality.sequence else (int(random.integers(1, 6)), 4)
                    values = random.normal(size=shape) + np.cos(label * 2 + np.arange(np.prod(shape))).reshape(
                        shape
                    ) / (1 + index)
                    arrays[key] = (
                        np.clip(values * 30 + 128, 0, 255).astype(np.uint8)
                        if modality.kind == "image"
                        else values.astype("<f4")
                    )
                writer.add(Clip(f"clip-{clip:04}", {"label": f"class-{label}"}, {"split": split}), arrays)
        return Store.open(path)

    return make


@pytest.fixture
def inforeg(capsys, monkeypatch) -> Callable[..., tuple[int, str, str]]:
    """`inforeg("train", ...)`: exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["inforeg", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return stopped.value.code or 0, printed.out, printed.err

    return run


@pytest.fixture
def no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    from inforeg_cli.engine import launch

    monkeypatch.setattr(launch, "Tracker", NoTracker)
