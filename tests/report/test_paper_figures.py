"""The paper's figures: drawn of the right runs, with the right numbers, the same bytes twice, or not, with the reason."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from report.study_factory import EPOCHS, fisher, make_study, write_presets

from inforeg_cli import studies
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.report.figures import features, paper, style
from inforeg_cli.report.figures.features import Extracted
from inforeg_cli.report.figures.material import gather
from inforeg_cli.report.runs import all_runs

ALL = [f"paper/figure{number}" for number in paper.NUMBERS]


@pytest.fixture(autouse=True)
def _quick_embedding(monkeypatch):
    """t-SNE has tests of its own, and takes seconds."""
    monkeypatch.setattr(features, "embed", lambda values, seed: values[:, :2])


@pytest.fixture
def store(make_store, tmp_path):
    write_presets(tmp_path, "tiny")
    return make_store(modalities=2)


@pytest.fixture
def runs_dir(tmp_path):
    return tmp_path / "runs"


def extract(run) -> Extracted:
    random = np.random.default_rng(run.seed)
    target = np.arange(30) % 3
    return Extracted(target, {name: target[:, None] + random.normal(size=(30, 4)) for name in run.modalities})


def picture(number, runs_dir):
    return paper.picture(number, all_runs(runs_dir).runs, "tiny", extract)


def material(name, runs_dir, *needs):
    return gather(studies.load(name), all_runs(runs_dir).runs, "tiny", needs)


def words(figure) -> str:
    """All that is written in a figure outside its panels."""
    return " ".join(text.get_text().replace("\n", " ") for text in figure.texts)


def lines(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_ydata() for line in axes.lines if not line.get_label().startswith("_")}


@pytest.mark.parametrize("number", paper.NUMBERS)
def test_is_drawn_the_same_twice_and_says_what_it_is_of(number, store, runs_dir):
    make_study(runs_dir, store, f"paper/figure{number}")
    first, second = picture(number, runs_dir), picture(number, runs_dir)
    images = [style.image(one.figure, "svg") for one in (first, second)]
    assert images[0] == images[1]
    assert b"<image" not in images[0]  # shapes, sharp at every size
    assert not first.missing
    seeds = "seed 0" if number == 6 else "3 seeds (0–2)"
    assert first.of.endswith(seeds)
    assert seeds in words(first.figure)
    assert "tiny" in words(first.figure)


@pytest.mark.parametrize("number", [1, 4, 5, 6])
def test_three_modalities_are_drawn_without_a_warning(number, make_store, tmp_path, runs_dir):
    write_presets(tmp_path, "tiny")
    make_study(runs_dir, make_store(modalities=3), f"paper/figure{number}", seeds=[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert style.image(picture(number, runs_dir).figure, "png").startswith(b"\x89PNG")


def test_figure_1_shows_each_trace_jointly_and_alone(store, runs_dir):
    make_study(runs_dir, store, "paper/figure1")
    joint, alone = picture(1, runs_dir).figure.axes
    mean = {name: [fisher(name, epoch, 1) for epoch in range(EPOCHS)] for name in ("vector", "picture", "all")}
    assert list(lines(joint)) == ["whole model", "vector", "picture"]
    assert list(lines(alone)) == ["vector", "picture"]
    assert lines(joint)["whole model"] == pytest.approx(mean["all"])
    for axes in (joint, alone):
        for name in ("vector", "picture"):
            assert lines(axes)[name] == pytest.approx(mean[name])
    assert joint.get_yscale() == "log"  # six epochs of a falling exponential


def test_figure_3_shows_the_leading_modality_less_each_other_one(make_store, tmp_path, runs_dir):
    write_presets(tmp_path, "tiny")
    make_study(runs_dir, make_store(modalities=3), "paper/figure3")
    norms, traces = picture(3, runs_dir).figure.axes  # vector's head is the most accurate one
    assert list(lines(traces)) == ["vector − picture", "vector − series"]
    of = [
        np.mean([fisher("v", epoch, seed) - fisher("s", epoch, seed) for seed in range(3)]) for epoch in range(EPOCHS)
    ]
    assert lines(traces)["vector − series"] == pytest.approx(of)
    of = [
        np.mean([fisher("v", epoch, seed) ** 0.5 - fisher("s", epoch, seed) ** 0.5 for seed in range(3)])
        for epoch in range(EPOCHS)
    ]
    assert lines(norms)["vector − series"] == pytest.approx(of)


def test_figure_4_is_of_the_epochs_inside_each_window(store, runs_dir):
    make_study(runs_dir, store, "paper/figure4", opened=lambda seed, name: [1, 2, 4] if name == "vector" else [])
    figure = picture(4, runs_dir).figure
    assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == [
        "(a) vector, epoch 2", "(b) picture, epoch 3", "(c) all pairs",
    ]  # fmt: skip
    assert "vector: epochs 1, 2, 4" in words(figure)
    assert "picture: its window never opened, so all epochs are shown" in words(figure)
    assert "0.016" in words(figure)


def test_windows_are_shaded_where_half_of_the_seeds_are_open(store, runs_dir):
    make_study(runs_dir, store, "paper/figure5", opened=lambda seed, name: [[2, 3], [3, 4], [3, 5]][seed])
    found = material("paper/figure5", runs_dir).rows["inforeg"]
    assert found.open_epochs(None) == {"vector": [3], "picture": [3]}
    make_study(
        runs_dir, store, "paper/figure5", seeds=(3,), opened=lambda seed, name: [2, 3] if name == "vector" else [3]
    )
    found = material("paper/figure5", runs_dir).rows["inforeg"]
    assert found.open_epochs(None) == {"vector": [2, 3], "picture": [3]}
    text = words(picture(5, runs_dir).figure)
    assert "as trained" in text
    assert "vector 2, 3, picture 3" in text


def test_without_windows_the_rule_of_the_datas_own_preset_says_where_they_would_be(store, runs_dir, tmp_path):
    make_study(runs_dir, store, "paper/figure3")
    joint = material("paper/figure3", runs_dir)
    assert joint.rule.K == 0.04
    assert joint.rows["joint"].open_epochs(joint.rule) == {"vector": [], "picture": []}  # the traces fall
    assert "never open" in words(picture(3, runs_dir).figure)
    preset = tmp_path / "presets" / "tiny" / "inforeg.toml"
    preset.write_text(preset.read_text().replace("K = 0.04", 'K = 0.04\nwarmup = "open"'))
    joint = material("paper/figure3", runs_dir)
    assert joint.rows["joint"].open_epochs(joint.rule) == {"vector": [0, 1], "picture": [0, 1]}
    text = words(picture(3, runs_dir).figure)
    assert "eq. 11, K = 0.04, epochs 0 and 1 open" in text
    assert "in epochs 0, 1" in text


@pytest.mark.parametrize(("number", "key"), [(7, "method.beta"), (8, "window.K")])
def test_values_that_were_not_run_are_named_and_the_others_drawn(number, key, store, runs_dir):
    study = studies.load(f"paper/figure{number}")
    first, second, *others = study.axes[key]
    make_study(runs_dir, store, study, only=lambda row, values: values[0] == first)
    drawn = picture(number, runs_dir)
    assert drawn.figure is None  # a point is no curve
    make_study(runs_dir, store, study, seeds=[0], only=lambda row, values: values[0] == second)
    drawn = picture(number, runs_dir)
    assert drawn.missing == tuple(f"{key}={value}" for value in others)
    text = words(drawn.figure)
    assert f"{key}={others[0]}" in text
    assert "1 seed (0); not of all: 1, 2" in text  # the others would stand for one of the two values alone
    assert any(line.get_label().startswith("paper's best") for line in drawn.figure.axes[0].lines)


@pytest.mark.parametrize(("number", "without"), [(1, "vector alone"), (5, "inforeg"), (6, "joint, twice as long")])
def test_without_runs_of_a_row_there_is_no_picture_but_the_command_that_makes_them(number, without, store, runs_dir):
    make_study(runs_dir, store, f"paper/figure{number}", only=lambda row, values: row != without)
    found = picture(number, runs_dir)
    assert found.figure is None
    assert found.missing == (without,)
    line = found.lacking(found.command)
    assert f"of {without}. Run them with: inforeg sweep --preset paper/figure{number} --dataset tiny" in line
    assert ("record.fisher" in line) == (number != 6)


def test_runs_that_did_not_record_what_is_drawn_are_none(store, runs_dir):
    make_study(runs_dir, store, "paper/figure5", settings={"record": {"fisher": False}})
    assert picture(5, runs_dir).missing == ("joint", "inforeg")
    assert picture(4, runs_dir).figure  # which needs other records


def test_what_else_was_recorded_keeps_no_runs_apart(store, runs_dir):
    for seeds, record in (((0, 1), {}), ((1, 2), {"fisher": True})):
        make_study(runs_dir, store, "paper/figure7", seeds=seeds, settings={"record": record})
    assert all(cell.seeds == (0, 1, 2) for cell in material("paper/figure7", runs_dir).cells.values())


def test_runs_under_another_protocol_are_not_mixed_in(store, runs_dir, tmp_path):
    make_study(runs_dir, store, "paper/figure5")
    protocol = tmp_path / "presets" / "tiny" / "protocol.toml"
    # With nothing said of the learning rate, both fit every row: that with more rows is taken.
    make_study(runs_dir, store, "paper/figure3", seeds=range(9), settings={"optimizer": {"lr": 0.5}})
    assert "lr" not in protocol.read_text()
    found = material("paper/figure5", runs_dir)
    assert {name: row.seeds for name, row in found.rows.items()} == {"joint": (0, 1, 2), "inforeg": (0, 1, 2)}


def test_runs_on_some_of_the_modalities_are_not_joint_training(make_store, tmp_path, runs_dir):
    write_presets(tmp_path, "tiny")
    store = make_store(modalities=3)
    make_study(runs_dir, store, "paper/figure3", seeds=[0])
    make_study(runs_dir, store, "paper/figure3", settings={"modalities": ["vector", "picture"]})
    joint = material("paper/figure3", runs_dir).rows["joint"]
    assert (joint.seeds, joint.modalities) == ((0,), ("vector", "picture", "series"))


def test_figure_6_takes_one_seed_that_all_have(store, runs_dir):
    for seeds, rows in (((1, 2), ("joint", "inforeg")), ((2,), ("joint, twice as long",))):
        make_study(runs_dir, store, "paper/figure6", seeds=seeds, only=lambda row, values, rows=rows: row in rows)
    assert picture(6, runs_dir).of.endswith("seed 2")


def test_figure_6_without_a_common_seed_says_which_there_are(store, runs_dir):
    for seed, rows in ((1, ("joint", "inforeg")), (2, ("joint, twice as long",))):
        make_study(runs_dir, store, "paper/figure6", seeds=[seed], only=lambda row, values, rows=rows: row in rows)
    with pytest.raises(
        InforegError, match=r"no seed .* 1 seed \(1\) of joint and inforeg; 1 seed \(2\) of joint, twice"
    ):
        picture(6, runs_dir)


def test_damaged_files_are_named(store, runs_dir):
    folder, *_ = make_study(runs_dir, store, "paper/figure4")
    (folder / "gradient_cosines.parquet").write_bytes(b"nonsense")
    with pytest.raises(InforegError, match=r"gradient_cosines\.parquet cannot be read"):
        picture(4, runs_dir)
    (folder / "gradient_cosines.parquet").unlink()
    with pytest.raises(InforegError, match=r"gradient_cosines\.parquet does not exist"):
        picture(4, runs_dir)


@pytest.mark.parametrize(
    ("number", "file", "change"),
    [
        (1, "metrics", lambda table: table.drop(columns="split")),
        (1, "metrics", lambda table: table.drop(columns="fisher.all")),
        (1, "metrics", lambda table: table.assign(**{"fisher.all": "high"})),
        (1, "metrics", lambda table: pd.concat([table, table])),
        (4, "gradient_cosines", lambda table: table.drop(columns="open")),
    ],
)
def test_tables_that_lack_what_is_drawn_are_named(number, file, change, store, runs_dir):
    folder, *_ = make_study(runs_dir, store, f"paper/figure{number}")
    path = folder / f"{file}.parquet"
    change(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(InforegError, match=rf"{file}\.parquet (is damaged|has no)"):
        picture(number, runs_dir)


def test_no_such_figure():
    with pytest.raises(Misuse, match="there is no figure 2 to draw; there is: 1, 3, 4, 5, 6, 7, 8"):
        paper.picture(2, [], "tiny", extract)


def test_names_are_drawn_as_they_are_written(make_store, tmp_path, runs_dir):
    write_presets(tmp_path, "tiny")
    make_study(runs_dir, make_store(modalities=2), "paper/figure6", seeds=[0])
    for config in runs_dir.glob("*/config.json"):
        content = json.loads(config.read_text())
        content["data"]["classes"] = ["$\\frac{$", "a_b^c", "高兴"]
        config.write_text(json.dumps(content))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert style.image(picture(6, runs_dir).figure, "png")


def test_modalities_differ_without_their_colours():
    looks = [style.look(index) for index in range(6)]
    for key in ("marker", "linestyle"):
        assert len({str(look[key]) for look in looks}) == len(looks)


def test_the_studies_of_curves_share_their_runs(store, runs_dir):
    counts = [len(set(make_study(runs_dir, store, f"paper/figure{number}"))) for number in (1, 3, 4, 5)]
    assert counts == [9, 3, 3, 6]
    assert len(list(runs_dir.iterdir())) == 12


def test_no_figure_but_the_one_of_features_needs_torch():
    code = "import sys; from inforeg_cli.report.figures import paper; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
