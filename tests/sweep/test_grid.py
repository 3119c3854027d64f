"""Grids: how many cells axes make, which they are, that each is what `inforeg train` would train, and that none is twice."""

import time
from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import pytest

from inforeg_cli import studies
from inforeg_cli.commands.train import assemble
from inforeg_cli.data.store import Store
from inforeg_cli.engine.launch import folder_of
from inforeg_cli.errors import BadInput, Misuse
from inforeg_cli.methods import METHODS
from inforeg_cli.settings import dotted
from inforeg_cli.sweep import axes
from inforeg_cli.sweep.grid import Grid, grid, shard


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    return make_store()


@pytest.fixture
def make(store: Store, tmp_path: Path) -> Callable[..., Grid]:
    """`make("beta", "K", seeds="0-2", ...)`: the grid of these axes."""

    def made(*arguments: str, seeds: str | None = None, **options: Any) -> Grid:
        seed_axis = None if seeds is None else axes.of_seeds(seeds)
        return grid(store, tmp_path / "runs", [axes.parse(one) for one in arguments], seeds=seed_axis, **options)

    return made


def _values(made: Grid) -> list[tuple[str, ...]]:
    return [tuple(cell.values.values()) for cell in made.cells]


def _write(folder: Path, **texts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)


@pytest.mark.parametrize(
    ("arguments", "seeds"),
    [
        (["beta"], None),
        (["beta", "K"], None),
        (["K=.1,.2", "beta=.5", "lr=.1,.2,.3"], "0-2"),
        (["seed=3,1"], None),
        (["modalities=vector,picture", "batch_size=4:16:x3"], None),
    ],
)
def test_axes_multiply_in_the_order_given(make: Callable[..., Grid], arguments: list[str], seeds: str | None) -> None:
    parsed = [axes.parse(one) for one in arguments] + ([axes.of_seeds(seeds)] if seeds else [])
    made = make(*arguments, seeds=seeds)
    assert len(made.cells) == prod(map(len, parsed))
    assert made.merged == 0
    assert _values(made) == list(product(*(axis.values for axis in parsed)))
    assert all(list(cell.values) == [axis.name for axis in parsed] for cell in made.cells)
    assert len({cell.id for cell in made.cells}) == len({cell.name for cell in made.cells}) == len(made.cells)


def test_a_cell_has_the_settings_that_its_values_say(make: Callable[..., Grid]) -> None:
    for cell in make("beta=.5,1", "K=.1,.2", "lr=.3", "optimizer=sgd,adamw", "seed=0,4", "window=prime,0-3").cells:
        experiment = cell.experiment
        assert (experiment.method.name, experiment.optimizer.lr) == ("inforeg", 0.3)
        assert float(cell.values["beta"]) == experiment.method.beta
        assert float(cell.values["K"]) == experiment.window.K
        assert cell.values["optimizer"] == experiment.optimizer.name
        assert cell.values["seed"] == str(experiment.seed)
        assert cell.values["window"] == experiment.window.when


def test_pairs(make: Callable[..., Grid]) -> None:
    made = make("beta=.5,.7,.9", "K=.1,.2,.3", seeds="0-1", paired=True)
    pairs = [("0.5", "0.1"), ("0.7", "0.2"), ("0.9", "0.3")]
    assert _values(made) == [(*pair, seed) for pair in pairs for seed in "01"]
    with pytest.raises(Misuse, match="different numbers of values: beta 2, K 3"):
        make("beta=.5,.7", "K=.1,.2,.3", paired=True)


@pytest.mark.parametrize("method", [*METHODS, "uniform"])
def test_cells_are_what_train_trains(make: Callable[..., Grid], store: Store, tmp_path: Path, method: str) -> None:
    flags = {"seed": 3, "epochs": 4, "optimizer": {"lr": 0.2}}
    experiment, _, preset = assemble(str(store.path), method, None, ["record.fisher=true"], flags)
    cells = make(f"method={method}", "lr=.2", seeds="3", assigned={"epochs": 4, "record": {"fisher": True}}).cells
    assert [cell.id for cell in cells] == [experiment.id(store.digest)]
    assert cells[0].name == folder_of(experiment, store, tmp_path / "runs").path.name
    assert (cells[0].experiment, cells[0].preset) == (experiment, preset)


@pytest.mark.parametrize(
    "name",
    ["protocol", "inforeg", "ogm", "quick", "balanced", "ported", "starred", "joint", "pmr", "agm", "uniform-lr",
     "inforeg-own"],
)  # fmt: skip
def test_cells_are_what_train_trains_with_presets(
    make: Callable[..., Grid], store: Store, tmp_path: Path, name: str
) -> None:
    """Whatever a preset leaves out: methods bring windows, losses and fusions of their own."""
    _write(
        tmp_path / "presets" / "tiny",
        protocol="epochs = 3\nbatch_size = 8\n[optimizer]\nlr = 0.2",
        inforeg='extends = "protocol"\n[method]\nname = "inforeg"\nbeta = 0.5\n[window]\nK = 0.2',
        ogm='extends = "protocol"\nmethod = "ogm"\n[schedule]\nname = "cosine"',
        quick='extends = "inforeg"\nepochs = 1',
        balanced='extends = "protocol"\nmethod = "mmpareto"',
        ported='[method]\nname = "greedy"\nheads = "fused"',
        starred='extends = "protocol"\nmethod = "uniform"',
        # Named as methods and variants are: what they say counts, and where they name no method, their name does.
        pmr="epochs = 2",
        agm="[method]\nalpha = 0.5",
        **{"uniform-lr": 'method = "uniform"', "inforeg-own": 'method = "inforeg"'},
    )
    experiment, _, preset = assemble(str(store.path), name, None, [], {"seed": 1})
    for cells in (make(f"method={name}", seeds="1").cells, make(method=name, seeds="1").cells):
        assert [(cell.experiment, cell.id, cell.preset) for cell in cells] == [
            (experiment, experiment.id(store.digest), preset)
        ]


def test_an_experiments_preset(make: Callable[..., Grid], store: Store, tmp_path: Path) -> None:
    _write(tmp_path / "presets" / "mine", fast='epochs = 2\n[method]\nname = "ogm"\nalpha = 0.7')
    for method in (None, "pmr", "uniform"):
        experiment, _, _ = assemble(str(store.path), method, "mine/fast", [], {"seed": 1})
        cells = make(seeds="1", presets=["mine/fast"], method=method).cells
        assert [(cell.experiment, cell.preset) for cell in cells] == [(experiment, "mine/fast")]
    assert _values(make("method=ogm,ogm-ge", presets=["mine/fast"])) == [("ogm",), ("ogm-ge",)]
    assert make(presets=["mine/fast"], assigned={"epochs": 9}).cells[0].experiment.epochs == 9
    assert _values(make("method=uniform,inforeg", "beta=.5", presets=["mine/fast"])) == [
        ("uniform",),
        ("inforeg", "0.5"),
    ]
    _write(tmp_path / "presets" / "mine", slow="epochs = 20")
    made = make("seed=0,1", presets=["mine/fast", "mine/slow"])
    assert _values(made) == [(f"mine/{name}", seed) for name in ("fast", "slow") for seed in "01"]
    assert [cell.experiment.epochs for cell in made.cells] == [2, 2, 20, 20]


@pytest.mark.parametrize(
    ("arguments", "method"),
    [
        (["beta=.5"], "inforeg"),
        (["K=.1"], "inforeg"),
        (["method.score=sum_p"], "inforeg"),
        (["window=prime"], "inforeg"),
        (["lr=.1"], "joint"),
        (["fusion"], "joint"),
    ],
)
def test_the_method_where_none_is_named(make: Callable[..., Grid], arguments: list[str], method: str) -> None:
    assert {cell.experiment.method.name for cell in make(*arguments).cells} == {method}


def test_what_makes_one_experiment_is_one_cell(make: Callable[..., Grid]) -> None:
    made = make("method=joint,ogm", "window=whole,prime,other", "K=.1,.2")
    assert (len(made.cells), made.merged) == (1 + 6, 5)
    assert made.cells[0].values == {"method": "joint"}
    assert made.cells[1].values == {"method": "ogm", "window": "whole", "K": "0.1"}
    again = make("beta=.5,0.5,.9")
    assert (_values(again), again.merged) == ([("0.5",), ("0.9",)], 1)


def test_a_setting_of_another_method_is_passed_over(make: Callable[..., Grid]) -> None:
    made = make("method=joint,inforeg,ogm", "beta=.5,.9", "method.alpha=.1,.2")
    assert [dict(cell.values) for cell in made.cells] == [
        {"method": "joint"},
        {"method": "inforeg", "beta": "0.5"},
        {"method": "inforeg", "beta": "0.9"},
        {"method": "ogm", "method.alpha": "0.1"},
        {"method": "ogm", "method.alpha": "0.2"},
    ]
    assert made.merged == 12 - 5
    assert _values(make("method=joint,inforeg", "beta=.5")) == [("joint",), ("inforeg", "0.5")]
    made = make("method=joint,inforeg", "method.strength.vector=.5,1", "method.strength.picture=1")
    assert [list(cell.values.values()) for cell in made.cells] == [
        ["joint"],
        ["inforeg", "0.5", "1"],
        ["inforeg", "1", "1"],
    ]
    assert made.cells[1].experiment.method.strength == {"vector": 0.5, "picture": 1}
    made = make("optimizer=sgd,adamw", "optimizer.momentum=.5,.9", "lr=.1")
    assert [cell.experiment.optimizer.name for cell in made.cells] == ["sgd", "sgd", "adamw"]


def test_a_setting_that_no_cell_has_is_an_error_that_names_cells(make: Callable[..., Grid]) -> None:
    with pytest.raises(BadInput) as raised:
        make("method=joint,pmr", "beta=.5")
    assert "2 of 2 cells cannot be run, so none is" in str(raised.value)
    assert "method.beta: there is no such setting" in str(raised.value)
    assert "method=joint beta=0.5" in str(raised.value)
    with pytest.raises(BadInput, match=r"method\.alpha: there is no such setting.*\(method\.alpha=0\.1\)"):
        make("method.alpha=.1", method="joint")


def test_all_that_cannot_be_run_is_listed_by_reason(make: Callable[..., Grid]) -> None:
    with pytest.raises(BadInput) as raised:
        make("batch_size=1,8", "lr=-1,.1", "seed=0:4:1")
    summary, *reasons = str(raised.value).splitlines()
    assert summary.startswith("15 of 20 cells cannot be run")
    assert len(reasons) == 3
    assert "batch_size=1 lr=-1 seed=0" in reasons[0] and "2 more" in reasons[0]
    assert all("batch_size" in reason or "optimizer" in reason for reason in reasons)


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 60])
def test_shards_part_the_cells(make: Callable[..., Grid], parts: int) -> None:
    cells = make("beta", "K", seeds="0").cells
    shards = [shard(cells, f"{part}/{parts}") for part in range(1, parts + 1)]
    assert sorted(cell.id for part in shards for cell in part) == sorted(cell.id for cell in cells)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert list(shards[0]) == list(cells[::parts])


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "a/b", "-1/4", "1/4/2"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(Misuse, match=r"--shard .*: it takes the part and how many there are"):
        shard([], text)


STUDY = """
title = "Mine"
seeds = [3, 4]
[set]
epochs = 2
[[rows]]
name = "plain"
[[rows]]
name = "longer"
times_epochs = 2
set = { epochs = 4 }
[[rows]]
name = "pulled"
method = "inforeg"
set = { method = { beta = 0.5 } }
[[rows]]
name = "alone"
modalities = "each"
"""


def test_a_study(make: Callable[..., Grid], store: Store, tmp_path: Path) -> None:
    _write(tmp_path / "presets" / "paper", mine=STUDY)
    made = make(presets=["paper/mine"])
    rows = ["plain", "longer", "pulled", "vector alone", "picture alone"]
    assert _values(made) == [(row, seed) for row in rows for seed in "34"]
    study, modalities = studies.load("paper/mine"), dict(enumerate(store.modalities))
    expected = {row.name: row for row in studies.rows_on(study, modalities)}
    for cell in made.cells:
        raw, _ = studies.row_settings(study, expected[cell.values["row"]], store.name, modalities)
        resolved = dotted(cell.experiment.model_dump(mode="json"))
        assert {key: resolved[key] for key in dotted(raw) if key != "dataset"} == {
            key: value for key, value in dotted(raw).items() if key != "dataset"
        }
    assert {cell.experiment.seed for cell in make(presets=["paper/mine"], seeds="0-1").cells} == {0, 1}
    assert {cell.experiment.seed for cell in make("seed=7", presets=["paper/mine"]).cells} == {7}
    shorter = make(presets=["paper/mine"], seeds="0", assigned={"epochs": 5}).cells
    assert [cell.experiment.epochs for cell in shorter] == [5, 10, 5, 5, 5]
    with pytest.raises(Misuse, match="rows of different lengths: --epochs N in place of the axis epochs"):
        make("epochs=1,2", presets=["paper/mine"])


def test_studies_multiply_with_axes_and_share_cells(make: Callable[..., Grid], tmp_path: Path) -> None:
    folder = tmp_path / "presets" / "paper"
    _write(
        folder,
        one='title = "One"\nseeds = [0]\n[[rows]]\nname = "joint"\n[[rows]]\nname = "ogm"\nmethod = "ogm"',
        two='title = "Two"\nseeds = [0]\n[axes]\n"method.beta" = [0.1, 0.9]\n[[rows]]\nname = "J"\n'
        '[[rows]]\nname = "I"\nmethod = "inforeg"',
    )
    assert _values(make("lr=.1,.2", presets=["paper/one"])) == [
        (row, lr, "0") for row in ("joint", "ogm") for lr in ("0.1", "0.2")
    ]
    made = make(presets=["paper/one", str(folder / "two.toml")])
    assert [dict(cell.values) for cell in made.cells] == [
        {"study": "one", "row": "joint", "seed": "0"},
        {"study": "one", "row": "ogm", "seed": "0"},
        {"study": "two", "row": "I", "beta": "0.1", "seed": "0"},
        {"study": "two", "row": "I", "beta": "0.9", "seed": "0"},
    ]
    assert made.merged == 2
    assert len(make(presets=["paper/one", "paper/one"]).cells) == 2
    for arguments, options, said in (
        (["beta=.5"], {}, "two axes set method.beta"),
        (["method"], {}, "chooses the methods by its rows"),
        ([], {"method": "ogm"}, "chooses the methods by its rows"),
        ([], {"assigned": {"method": {"beta": 0.3}}}, "is set twice"),
    ):
        with pytest.raises(Misuse, match=said):
            make(*arguments, presets=["paper/two"], **options)


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (["beta", "method.beta=.1"], {}, "two axes set method.beta: beta and method.beta"),
        (["seed"], {"seeds": "0-4"}, "two axes set seed"),
        (["beta"], {"assigned": {"method": {"beta": 0.3}}}, "method.beta is set twice: by the axis beta and by --set"),
        (["epochs=1,2"], {"assigned": {"epochs": 3}}, "epochs is set twice"),
        (["method=ogmm"], {}, "there is no method or preset 'ogmm' on tiny; did you mean 'ogm'?"),
        ([], {"method": "infroeg"}, "did you mean 'inforeg'"),
        (["method"], {"method": "ogm"}, "both choose the methods"),
        (["seed"], {"assigned": {"method": "ogm"}}, "chosen with --method, or by the axis method=a,b"),
        (["seed"], {"assigned": {"method": {"name": "ogm"}}}, "chosen with --method, or by the axis method=a,b"),
        ([], {"presets": ["paper/tabel2"]}, "there is no preset 'paper/tabel2'; did you mean 'paper/table2'"),
        (["seed=0:9999:1", "lr=.01:.2:.01"], {}, "200,000 combinations; a sweep has 100,000 at most"),
    ],
)
def test_misuse_is_told_in_one_line(
    make: Callable[..., Grid], arguments: Sequence[str], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(Misuse) as raised:
        make(*arguments, **options)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_inputs_are_checked_for_every_cell(make: Callable[..., Grid]) -> None:
    """What one cell's inputs were found to be says nothing about another one's."""
    assert len(make("inputs.picture.kind=image", "seed=0,1").cells) == 2
    with pytest.raises(BadInput, match="2 of 4 cells cannot be run") as raised:
        make("inputs.picture.kind=image,features", "seed=0,1")
    assert "'features'" in str(raised.value)


def test_two_thousand_cells_take_less_than_two_seconds(make: Callable[..., Grid]) -> None:
    def seconds() -> float:
        begun = time.process_time()
        assert len(make("beta=0:1:0.1", "K=.01:.1:.01", "seed=0:17:1").cells) == 1980
        return time.process_time() - begun

    assert any(seconds() < 2 for _ in range(3))  # a busy machine is slow at times
