"""`inforeg compare figures`: what it writes and says, and figure 6 from models that were trained."""

import pytest
import torch
from report.study_factory import make_study, write_presets
from typer.testing import CliRunner

from inforeg_cli.commands.compare import compare_app
from inforeg_cli.engine.launch import folder_of, train
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.report.figures import features
from inforeg_cli.resolve import resolve
from inforeg_cli.studies import load, row_settings


@pytest.fixture
def store(make_store, tmp_path):
    write_presets(tmp_path, "tiny")
    return make_store()


@pytest.fixture
def runs_dir(tmp_path):
    return tmp_path / "runs"


def figures(*arguments):
    """Run the command: what it said on each stream."""
    result = CliRunner().invoke(compare_app, ["figures", *map(str, arguments)])
    if isinstance(result.exception, InforegError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_writes_both_kinds_and_says_of_what(store, runs_dir, tmp_path):
    make_study(runs_dir, store, "paper/figure7")
    said, complaints = figures("7")
    folder = tmp_path / "figures" / "tiny"
    assert sorted(file.name for file in folder.iterdir()) == ["figure7.png", "figure7.svg"]
    assert said.strip() == (
        f"figure 7: {folder / 'figure7.png'} and .svg: test and val split, best epoch on val; 3 seeds (0–2)"
    )
    assert complaints == ""


def test_called_again_the_files_are_the_same(store, runs_dir, tmp_path):
    make_study(runs_dir, store, "paper/figure3", seeds=[0])
    for name in ("one", "two"):
        figures("3", "--out", tmp_path / name)
    for file in ("figure3.png", "figure3.svg"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_what_is_not_there_is_said_and_how_to_run_it(store, runs_dir):
    make_study(runs_dir, store, "paper/figure7", only=lambda row, values: values[0] < 0.4)
    said, complaints = figures("7", "5", "--runs", runs_dir)
    assert said.count("\n") == 1
    assert "figure 7 lacks 4 values: no finished runs of method.beta=0.5; " in complaints
    assert "figure 5 is not drawn: no finished runs with record.fisher and record.trace of joint; inforeg" in complaints
    assert f"inforeg sweep --preset paper/figure5 --dataset tiny --runs {runs_dir}" in complaints


def test_with_nothing_to_draw_it_fails(store, runs_dir):
    make_study(runs_dir, store, "paper/figure3", seeds=[0])
    with pytest.raises(InforegError, match="nothing to draw on tiny yet") as found:
        figures("4")
    assert found.value.exit_code == 1


def test_one_damaged_figure_keeps_no_other_from_being_drawn(store, runs_dir, tmp_path):
    folder, *_ = make_study(runs_dir, store, "paper/figure4", seeds=[0])
    make_study(runs_dir, store, "paper/figure3", seeds=[0])
    (folder / "gradient_cosines.parquet").write_bytes(b"nonsense")
    with pytest.raises(InforegError, match=r"^figure 4: .*gradient_cosines.parquet cannot be read"):
        figures("4", "3")
    assert (tmp_path / "figures" / "tiny" / "figure3.svg").exists()


@pytest.mark.parametrize("number", ["2", "9", "-1", "five", "1.0"])
def test_an_unknown_number_is_misuse(number, store, runs_dir):
    make_study(runs_dir, store, "paper/figure3", seeds=[0])
    with pytest.raises(Misuse, match=r"there is no figure .* there is: 1, 3, 4, 5, 6, 7, 8") as found:
        figures("3", "--", number)
    assert "\n" not in str(found.value)


def test_which_data_must_be_clear(store, make_store, runs_dir, tmp_path):
    with pytest.raises(Misuse, match="there are no finished runs"):
        figures()
    make_study(runs_dir, store, "paper/figure3", seeds=[0])
    write_presets(tmp_path, "other")
    make_study(runs_dir, make_store(name="other"), "paper/figure3", seeds=[0])
    with pytest.raises(Misuse, match="the runs are on other, tiny: choose one with --dataset"):
        figures("3")
    with pytest.raises(Misuse, match="did you mean 'other'"):
        figures("3", "--dataset", "othr")
    assert "figures/other/figure3.png" in figures("3", "--dataset", "other")[0]
    assert "figures/tiny/figure3.png" in figures("3", "--dataset", store.path)[0]


def test_features_are_those_of_the_trained_models(store, runs_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "embed", lambda values, seed: values[:, :2])  # t-SNE takes seconds
    preset = tmp_path / "presets" / "tiny" / "protocol.toml"
    preset.write_text(preset.read_text().replace("epochs = 6", "epochs = 1"))
    study = load("paper/figure6")
    for row in study.rows:
        raw, name = row_settings(study, row, "tiny", dict(enumerate(store.modalities)))
        experiment = resolve({**raw, "seed": 4}, store)
        train(experiment, store, folder_of(experiment, store, runs_dir), torch.device("cpu"), preset=name)
    said, complaints = figures("6")
    assert "test split, best epoch on val; seed 4" in said
    assert complaints == ""
    next(runs_dir.glob("tiny-inforeg-*/best.pt")).unlink()
    with pytest.raises(InforegError, match=r"figure 6: .*best\.pt does not exist"):
        figures("6")
