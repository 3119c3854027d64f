"""Studies: tables and figures as files, whose rows say in raw settings which experiments they are."""

from pathlib import Path

import pytest

from inforeg_cli import paths, presets, studies
from inforeg_cli.config import Experiment
from inforeg_cli.errors import BadInput, Misuse
from inforeg_cli.methods import METHODS
from inforeg_cli.settings import dotted
from inforeg_cli.studies import VARIANTS, Study, StudyRow
from inforeg_cli.window import Window

SHIPPED = sorted(file.stem for file in (paths.shipped("presets") / "paper").glob("*.toml"))
MODALITIES = {0: "a", 1: "b", 2: "c"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The user's own studies under the root."""
    made = tmp_path / "presets" / "paper"
    made.mkdir(parents=True)
    return made


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("dataset", ["digits", "cmu-mosi", "of my own"])
def test_every_shipped_study_has_settings_for_each_row(name: str, dataset: str) -> None:
    study = studies.load(f"paper/{name}")
    for row in studies.rows_on(study, MODALITIES):
        raw, preset = studies.row_settings(study, row, dataset, MODALITIES)
        assert raw["method"]["name"] in METHODS
        assert preset is None or presets.find(preset)


def test_defaults_are_those_of_the_experiment() -> None:
    """They are spelt out so that tables can be made without what trains; nothing else keeps them equal."""
    assert {name for name in METHODS if name != "joint"} == studies.DEFAULTS.keys()
    for name, defaults in studies.DEFAULTS.items():
        assert {"name": name, **defaults} == METHODS[name].Config().model_dump()
    assert Experiment.model_fields["epochs"].default == studies.EPOCHS
    plain = studies.settings_of("of my own", "joint")[0]
    assert plain["window"] == Window().model_dump()
    assert plain["trace"] == Experiment.model_fields["trace"].default.model_dump()
    assert plain["unimodal_losses"] == Experiment.model_fields["unimodal_losses"].default


def test_a_study_is_told_from_an_experiment(folder: Path, tmp_path: Path) -> None:
    (folder / "mine.toml").write_text('title = "Mine"\n[[rows]]\nname = "a"')
    (folder / "one.toml").write_text("epochs = 3")
    assert studies.is_study("paper/mine") and studies.is_study(str(folder / "mine.toml"))
    assert not studies.is_study("paper/one") and not studies.is_study(str(folder / "one.toml"))
    assert not studies.is_study("paper/gone") and not studies.is_study(str(tmp_path / "gone.toml"))
    for name in ("paper/mine", str(folder / "mine.toml")):
        assert [row.name for row in studies.load(name).rows] == ["a"]
        with pytest.raises(Misuse, match="is a study of several experiments: inforeg sweep --preset"):
            presets.load(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('title = "T"\nrows = []', "rows"),
        ('title = "T"\n[[rows]]\nname = "a"\nmetod = "ogm"', r"rows\.0\.metod"),
        ('title = "T"\n[[rows]]\nname = "a"\n[[rows]]\nname = "a"', "two rows are called 'a'"),
        ('title = "T"\nseeds = []\n[[rows]]\nname = "a"', "seeds"),
    ],
)
def test_a_study_that_cannot_be_understood(folder: Path, text: str, said: str) -> None:
    (folder / "mine.toml").write_text(text)
    with pytest.raises(BadInput, match=said):
        studies.load("paper/mine")


def test_an_unknown_study_suggests_one(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="there is no study 'paper/tabel2'; did you mean 'paper/table2'"):
        studies.load("paper/tabel2")
    with pytest.raises(Misuse, match="there is no study"):
        studies.load(str(tmp_path / "gone.toml"))


def test_names_are_presets_and_methods(tmp_path: Path) -> None:
    folder = tmp_path / "presets" / "mine"
    folder.mkdir(parents=True)
    (folder / "fast.toml").write_text("epochs = 2")
    (folder / "table.toml").write_text('title = "T"\n[[rows]]\nname = "a"')
    names = studies.names_on("mine")
    assert {"fast", *METHODS, *VARIANTS} <= set(names)
    assert "table" not in names and "fast" not in studies.names_on("yours")
    assert {file.stem for file in (paths.shipped("presets") / "digits").glob("*.toml")} <= set(
        studies.names_on("digits")
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs = 2", {"method.name": "joint", "window.when": "whole", "unimodal_losses": "none"}),
        ('method = "inforeg"', {"method.name": "inforeg", "window.when": "prime", "unimodal_losses": "none"}),
        ('method = "uniform"', {"method.name": "joint", "unimodal_losses": "own"}),
        ('method = "g-blending"', {"method.name": "g-blending", "unimodal_losses": "own"}),
        ('method = "greedy"', {"fusion.name": "branches", "unimodal_losses": "own"}),
        ('[method]\nname = "greedy"\nheads = "fused"', {"fusion.name": "concat", "unimodal_losses": "none"}),
        ('method = "inforeg"\n[window]\nwhen = "whole"\nK = 0.5', {"window.when": "whole", "window.K": 0.5}),
    ],
)
def test_a_preset_of_any_name_has_what_its_method_brings(tmp_path: Path, text: str, expected: dict) -> None:
    folder = tmp_path / "presets" / "mine"
    folder.mkdir(parents=True)
    (folder / "fast.toml").write_text(text)
    raw, preset = studies.settings_of("mine", "fast")
    assert preset == "mine/fast"
    found = dotted(raw)
    assert {key: found[key] for key in expected} == expected


def test_uniform_with_other_losses_is_left_for_the_experiment_to_refuse(tmp_path: Path) -> None:
    folder = tmp_path / "presets" / "mine"
    folder.mkdir(parents=True)
    (folder / "fast.toml").write_text('method = "uniform"\nunimodal_losses = "slice"')
    raw, _ = studies.settings_of("mine", "fast")
    assert (raw["method"]["name"], raw["unimodal_losses"]) == ("uniform", "slice")


def test_layers_of_a_row() -> None:
    row = StudyRow(name="r", method="ogm", set={"method": {"alpha": 0.7}, "epochs": 9}, modalities=[2, 0])
    study = Study(title="T", set={"epochs": 5, "batch_size": 7}, rows=[row])
    raw, preset = studies.row_settings(study, row, "digits", MODALITIES)
    assert preset == "digits/ogm"
    assert (raw["epochs"], raw["batch_size"], raw["method"]["alpha"]) == (9, 7, 0.7)
    assert raw["modalities"] == ["c", "a"]
    with pytest.raises(Misuse, match="r: digits has 2 modalities, none of number 2"):
        studies.row_settings(study, row, "digits", {0: "a", 1: "b"})


def test_a_row_for_each_modality() -> None:
    study = Study(title="T", rows=[StudyRow(name="all"), StudyRow(name="alone", modalities="each")])
    rows = studies.rows_on(study, MODALITIES)
    assert [(row.name, row.modalities) for row in rows] == [
        ("all", None), ("a alone", [0]), ("b alone", [1]), ("c alone", [2]),
    ]  # fmt: skip
