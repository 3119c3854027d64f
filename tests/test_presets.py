"""Experiments kept as files: found, layered, refused where they are broken, and every one that ships is sound."""

import tomllib
from pathlib import Path
from types import UnionType
from typing import Any, get_origin

import pytest
from pydantic import TypeAdapter

from inforeg_cli import paths, presets
from inforeg_cli.config import Experiment
from inforeg_cli.data.transforms import InputConfig
from inforeg_cli.errors import Misuse
from inforeg_cli.methods import METHODS
from inforeg_cli.models.encoders import Encoder

SHIPPED = sorted(paths.shipped("presets").glob("*/*.toml"))


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


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_preset_is_sound(path: Path) -> None:
    """As far as can be told without its data: each key is a setting and each value fits it."""
    settings = presets.load(f"{path.parent.name}/{path.stem}")
    assert tomllib.loads(path.read_text(encoding="utf-8"))
    fields = Experiment.model_fields
    assert set(settings) <= set(fields)
    method = settings.pop("method", {"name": "joint"})
    method = {"name": method} if isinstance(method, str) else method
    assert method["name"] in (*METHODS, "uniform")
    if method["name"] == "uniform":
        assert method == {"name": "uniform"}
        assert settings.get("unimodal_losses", "own") == "own"
    else:
        METHODS[method["name"]].Config.model_validate(method)
    for name, config in settings.pop("inputs", {}).items():
        assert any(
            _fits(InputConfig, {"kind": kind, **config}) for kind in ("audio", "image", "features", "video", "text")
        ), name
    for name, config in settings.pop("encoders", {}).items():
        kinds = [config["name"]] if "name" in config else ["resnet18", "cnn", "mlp", "transformer"]
        assert any(_fits(Encoder, {**config, "name": kind}) for kind in kinds), name
    settings.pop("data", None)
    for key, value in settings.items():
        kind: Any = fields[key].annotation
        if fields[key].metadata and (get_origin(kind) is UnionType or fields[key].discriminator):
            kind = fields[key]
        TypeAdapter(kind if key != "modalities" else tuple[str, ...]).validate_python(value)


def _fits(kind: Any, value: Any) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValueError:
        return False
    return True
