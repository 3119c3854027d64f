"""Experiments kept as files: found, layered, refused where they are broken, and every one that ships is sound."""

from pathlib import Path

import numpy as np
import pytest
import torch

from inforeg_cli import paths, presets, studies
from inforeg_cli.data.sources import Clip
from inforeg_cli.data.store import Modality, Store
from inforeg_cli.data.writer import write_store
from inforeg_cli.descriptions import descriptions
from inforeg_cli.engine.build import build_model
from inforeg_cli.errors import Misuse
from inforeg_cli.resolve import resolve

SHIPPED = sorted(file for file in paths.shipped("presets").glob("*/*.toml") if not studies.is_study(str(file)))
FOR_EVERY_METHOD = ("crema-d", "kinetics-sounds", "cmu-mosi", "digits")
#: What a preset's runs are called, where that is not its own name.
LABELS = {"protocol": "joint", "uniform-lr": "uniform", "inforeg-own": "inforeg+own", "official": "inforeg+slice"}


def _audio(rate: int, seconds: float) -> Modality:
    return Modality("audio", np.dtype("<i2"), (round(rate * seconds),), settings={"sample_rate": rate})


def _features(size: int) -> Modality:
    return Modality("features", np.dtype("<f4"), (50, size), sequence=True, length=50)


VIDEO = Modality("video", np.dtype("u1"), None)
#: Of one clip, where clips differ.
FRAMES = {"video": (6, 3, 24, 32), "motion": (6, 2, 15, 20)}
MODALITIES = {
    "crema-d": {"audio": _audio(22050, 3), "video": VIDEO},
    "kinetics-sounds": {"audio": _audio(16000, 10), "video": VIDEO},
    "cmu-mosi": {"text": _features(300), "audio": _features(74), "vision": _features(35)},
    "digits": {"sound": _audio(8000, 0.1), "image": Modality("image", np.dtype("u1"), (1, 8, 8))},
    "violent-flows": {"video": VIDEO, "motion": Modality("motion", np.dtype("<f2"), None)},
    "hateful-memes": {
        "image": Modality("image", np.dtype("u1"), (3, 256, 256)),
        "text": Modality("text", np.dtype("<i4"), (64,), sequence=True, length=64, settings={"vocabulary": 8000}),
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset's folder of presets under the root."""
    made = tmp_path / "presets" / "mine"
    made.mkdir(parents=True)
    return made


def test_a_preset_is_for_the_dataset_whose_folder_it_stands_in(folder: Path) -> None:
    (folder / "fast.toml").write_text('epochs = 3\n[method]\nname = "ogm"\n')
    (folder / "other.toml").write_text('dataset = "digits"\n')
    assert presets.find("mine/fast") == folder / "fast.toml"
    assert presets.load("mine/fast") == {"dataset": "mine", "epochs": 3, "method": {"name": "ogm"}}
    assert presets.load("mine/other")["dataset"] == "digits"
    assert presets.load(str(folder / "fast.toml")) == {"epochs": 3, "method": {"name": "ogm"}}


def test_the_users_own_comes_before_the_shipped(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "shipped"
    (shipped / "mine").mkdir(parents=True)
    monkeypatch.setattr(paths, "shipped", lambda what: shipped)
    (shipped / "mine" / "ogm.toml").write_text("epochs = 1")
    assert presets.load("mine/ogm")["epochs"] == 1
    (folder / "ogm.toml").write_text("epochs = 2")
    assert presets.load("mine/ogm")["epochs"] == 2
    assert presets.find("mine/joint") is None


def test_a_preset_may_extend_another(folder: Path) -> None:
    (folder / "base.toml").write_text(
        'epochs = 9\nseed = 1\n[method]\nname = "ogm"\nalpha = 0.8\n[optimizer]\nname = "sgd"\nlr = 0.1\n'
    )
    (folder / "middle.toml").write_text('extends = "base"\nseed = 2\n[optimizer]\nmomentum = 0.5\n')
    (folder / "top.toml").write_text('extends = "middle"\n[method]\nname = "inforeg"\nbeta = 0.5\n')
    assert presets.load("mine/top") == {
        "dataset": "mine", "epochs": 9, "seed": 2, "method": {"name": "inforeg", "beta": 0.5},
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.5},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"a": 'extends = "a"'}, "extends itself"),
        ({"a": 'extends = "b"', "b": 'extends = "a"'}, "extends itself"),
        ({"a": 'extends = "../mine/a"'}, "extends itself"),
        ({"a": 'extends = "gone"'}, r"gone\.toml, which .*a\.toml extends, does not exist"),
        ({"a": "epochs = "}, r"a\.toml is not valid TOML"),
        ({"a": "epochs = 3\nepochs = 4"}, r"a\.toml is not valid TOML"),
        ({"a": 'extends = "b"', "b": "[method"}, r"b\.toml is not valid TOML"),
    ],
)
def test_broken_presets(folder: Path, texts: dict[str, str], expected: str) -> None:
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)
    with pytest.raises(Misuse, match=expected):
        presets.load("mine/a")


def test_bytes_that_are_no_text(folder: Path) -> None:
    (folder / "a.toml").write_bytes(b"epochs = 3 # \xff\xfe")
    with pytest.raises(Misuse, match="not valid TOML"):
        presets.load("mine/a")


def test_an_unknown_preset_suggests_one(folder: Path) -> None:
    (folder / "inforeg.toml").touch()
    with pytest.raises(Misuse, match="there is no preset 'mine/infroeg'; did you mean 'mine/inforeg'"):
        presets.load("mine/infroeg")
    with pytest.raises(Misuse, match="there is no preset"):
        presets.load(str(folder / "gone.toml"))


def test_assignments_become_nested_tables_of_toml_values() -> None:
    found = presets.from_assignments(
        ["epochs=3", "optimizer.lr=1e-3", "window.when=prime", "method.noise=true", "modalities=a,b", " seed = 7",
         "encoders.a.channels=[3, 4]", "method.strength={a = 0.95, b = 0.1}", 'data.label="the label"',
         "window.leader="]
    )  # fmt: skip
    assert found == {
        "epochs": 3, "optimizer": {"lr": 0.001}, "window": {"when": "prime", "leader": ""}, "modalities": "a,b",
        "seed": 7,
        "method": {"noise": True, "strength": {"a": 0.95, "b": 0.1}}, "encoders": {"a": {"channels": [3, 4]}},
        "data": {"label": "the label"},
    }  # fmt: skip


def test_a_range_of_epochs_is_text() -> None:
    assert presets.from_assignments(["window.when=0-9"]) == {"window": {"when": "0-9"}}
    assert presets.from_assignments(["window.when=10-20"]) == {"window": {"when": "10-20"}}


def test_later_assignments_win() -> None:
    assert presets.from_assignments(["optimizer.lr=1", "optimizer.lr=2", "optimizer.momentum=0"]) == {
        "optimizer": {"lr": 2, "momentum": 0}
    }
    assert presets.from_assignments(["optimizer.momentum=0", "optimizer.name=sgd", "optimizer.name=adamw"]) == {
        "optimizer": {"name": "adamw"}
    }
    assert presets.from_assignments([]) == {}


@pytest.mark.parametrize("wrong", ["epochs", "=3", ".lr=3", "optimizer.=3", "optimizer..lr=3", ""])
def test_what_is_no_assignment(wrong: str) -> None:
    with pytest.raises(Misuse, match=r"--set takes key=value, for example --set optimizer\.lr=1e-3; got"):
        presets.from_assignments([wrong])


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """By dataset, a few clips of its modalities as its recipe prepares them (videos smaller)."""
    random, found = np.random.default_rng(0), {}
    for dataset, modalities in MODALITIES.items():
        path = tmp_path_factory.mktemp("stores") / dataset
        with write_store(path, modalities, name=dataset, source="manifest", recipe_digest="") as writer:
            for clip in range(10):
                arrays = {
                    name: random.integers(0, 9, modality.shape or FRAMES[modality.kind]).astype(modality.dtype)
                    for name, modality in modalities.items()
                }
                split = ("train", "train", "train", "val", "test")[clip % 5]
                writer.add(Clip(str(clip), {"label": str(clip % 2)}, {"split": split}), arrays)
        found[dataset] = Store.open(path)
    return found


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_preset_resolves_to_what_its_name_says(path: Path, stores: dict[str, Store]) -> None:
    experiment = resolve(presets.load(f"{path.parent.name}/{path.stem}"), stores[path.parent.name])
    assert experiment.label == LABELS.get(path.stem, path.stem)
    assert experiment.modalities == tuple(MODALITIES[path.parent.name])


@pytest.mark.parametrize("dataset", FOR_EVERY_METHOD)
def test_every_method_has_a_preset_under_one_protocol(dataset: str, stores: dict[str, Store]) -> None:
    """Presets of one dataset differ in the method and what belongs to it; uniform-lr in one learning rate besides."""
    names = {path.stem for path in SHIPPED if path.parent.name == dataset}
    assert {variant.name.replace("+", "-") for variant in descriptions()} | {"uniform-lr", "protocol"} <= names
    protocols = {}
    for name in names:
        settings = resolve(presets.load(f"{dataset}/{name}"), stores[dataset]).model_dump()
        for key in ("method", "window", "trace", "unimodal_losses"):
            del settings[key]
        if name == "uniform-lr":
            assert settings["optimizer"].pop("encoder_lr_factor") == 1.5
            settings["optimizer"]["encoder_lr_factor"] = 1.0
        if name == "greedy":
            assert settings.pop("fusion") == {"name": "branches"}
            settings["fusion"] = {"name": "concat"}
        protocols[name] = settings
    assert all(settings == protocols["protocol"] for settings in protocols.values())


@pytest.mark.parametrize("dataset", MODALITIES)
def test_the_encoders_of_a_protocol_take_what_its_inputs_give(dataset: str, stores: dict[str, Store]) -> None:
    for name in ("joint", "greedy")[: 1 + (dataset in FOR_EVERY_METHOD)]:
        experiment = resolve(presets.load(f"{dataset}/{name}"), stores[dataset])
        _, model = build_model(experiment, stores[dataset], torch.device("cpu"))
        assert model.modalities == experiment.modalities
