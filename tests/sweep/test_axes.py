"""Axes as people write them: default grids, lists, ranges that are exact, and one clear line for what is none."""

import math
from itertools import pairwise

import pytest

from inforeg_cli.errors import Misuse
from inforeg_cli.sweep import axes
from inforeg_cli.sweep.axes import parse


@pytest.mark.parametrize(
    ("argument", "key", "values"),
    [
        ("beta", "method.beta", ("0.1", "0.3", "0.5", "0.7", "0.9", "1.0")),
        ("K", "window.K", ("0.01", "0.02", "0.04", "0.06", "0.08", "0.1")),
        ("fusion", "fusion.name", ("concat", "sum", "gated", "film")),
        ("window", "window.when", ("whole", "prime", "other")),
        ("seed", "seed", ("0", "1", "2")),
    ],
)
def test_a_name_alone_has_the_papers_grid(argument: str, key: str, values: tuple[str, ...]) -> None:
    axis = parse(argument)
    assert (axis.name, axis.key, axis.values) == (argument, key, values)


def test_all_methods_are_the_nine_with_their_variants() -> None:
    axis = parse("method")
    assert axis.values == (
        "joint", "uniform", "ogm", "ogm-ge", "greedy", "pmr", "agm", "g-blending", "mmpareto", "inforeg", "inforeg-own",
    )  # fmt: skip
    assert axis.settings[3] == {"method": {"name": "ogm-ge"}}


@pytest.mark.parametrize(
    ("argument", "settings"),
    [
        ("beta=.5, 1", [{"method": {"beta": 0.5}}, {"method": {"beta": 1}}]),
        ("lr=1e-3,.1", [{"optimizer": {"lr": 0.001}}, {"optimizer": {"lr": 0.1}}]),
        ("optimizer=sgd,adamw", [{"optimizer": {"name": "sgd"}}, {"optimizer": {"name": "adamw"}}]),
        ("optimizer={name='adamw',lr=0.01}", [{"optimizer": {"name": "adamw", "lr": 0.01}}]),
        ("window=0-9,prime", [{"window": {"when": "0-9"}}, {"window": {"when": "prime"}}]),
        ("method.noise=true,false", [{"method": {"noise": True}}, {"method": {"noise": False}}]),
        ("encoders.a.hidden=[8, 8],[]", [{"encoders": {"a": {"hidden": value}}} for value in ([8, 8], [])]),
        ("modalities=a,a+b,'b,a'", [{"modalities": value} for value in (["a"], ["a", "b"], ["b", "a"])]),
        ("unimodal_losses=own", [{"unimodal_losses": "own"}]),
        ("schedule=step,{name='cosine'}", [{"schedule": {"name": "step"}}, {"schedule": {"name": "cosine"}}]),
        ("method.name=joint", [{"method": {"name": "joint"}}]),
    ],
)  # fmt: skip
def test_values_are_toml_or_plain_text(argument: str, settings: list) -> None:
    assert list(parse(argument).settings) == settings


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("beta=0:1:0.1", ("0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0")),
        ("beta=1:0:-0.5", ("1.0", "0.5", "0.0")),
        ("seed=3:5:1", ("3", "4", "5")),
        ("seed=7:7:1", ("7",)),
        ("lr=1e-4:5e-4:2e-4", ("0.0001", "0.0003", "0.0005")),
        ("beta=.1,0.5:1:.25,2", ("0.1", "0.50", "0.75", "1.00", "2")),
        ("lr=1e-4:1e-1:x4", ("0.0001", "0.001", "0.01", "0.1")),
        ("epochs=10:1000:x3", ("10", "100", "1000")),
        ("batch_size=16:128:x4", ("16", "32", "64", "128")),
    ],
)
def test_ranges_have_both_ends_and_are_exact(argument: str, values: tuple[str, ...]) -> None:
    assert parse(argument).values == values


def test_numbers_of_a_range_are_what_one_would_type() -> None:
    found = [settings["method"]["beta"] for settings in parse("beta=0:1:0.1").settings]
    assert found == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert all(isinstance(settings["seed"], int) for settings in parse("seed=0:4:2").settings)


@pytest.mark.parametrize(
    ("low", "high", "points"), [("0.003", "0.7", 7), ("1", "3", 2), ("-8", "-1", 4), ("10", "0.1", 5)]
)
def test_xn_points_are_a_geometric_row(low: str, high: str, points: int) -> None:
    values = [float(value) for value in parse(f"method.alpha={low}:{high}:x{points}").values]
    assert (len(values), values[0], values[-1]) == (points, float(low), float(high))
    ratios = [after / before for before, after in pairwise(values)]
    assert all(math.isclose(ratio, ratios[0], rel_tol=1e-5) for ratio in ratios)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("bta", "there is no setting 'bta' to make an axis of; did you mean 'beta'?"),
        ("method.btea=1", "did you mean 'method.beta'?"),
        ("alpha=1,2", "did you mean 'method.alpha'?"),
        ("momentum=.9", "did you mean 'optimizer.momentum'?"),
        ("dataset=a,b", "the dataset is chosen with --dataset; a sweep has one"),
        ("lr", "the axis lr has no values of its own: give some, lr=a,b,c"),
        ("inputs=1", "there is no setting 'inputs'"),
        ("beta=", "the axis beta has an empty value"),
        ("beta=.1,,.2", "the axis beta has an empty value"),
        ("=1", "an axis is a setting's name"),
        ("beta=0:1", "'0:1' is no range; lo:hi:step and lo:hi:xN are"),
        ("beta=0:1e999999999:1e999999998", "has numbers that are no setting's"),
        ("beta=0:1:1e-999999999", "has numbers that are no setting's"),
        ("beta=0:1:a", "'0:1:a' is no range"),
        ("beta=0:1:0.3", "steps of 0.3 miss 1; the last one before it is 0.9"),
        ("beta=0:1:0", "steps of 0 do not lead from 0 to 1"),
        ("beta=0:1:-0.1", "steps of -0.1 do not lead from 0 to 1"),
        ("seed=0:1e9:1", "more than 10,000 values"),
        ("lr=0:1:x3", "both ends are above zero"),
        ("lr=.1:1:x1", "a range has from 2 to 10,000 values"),
    ],
)
def test_what_is_no_axis_is_told_in_one_line(argument: str, said: str) -> None:
    with pytest.raises(Misuse) as raised:
        parse(argument)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "values"), [("0-4", "01234"), ("0,1,2", "012"), ("3", "3"), ("5-6, 1", "561")]
)  # fmt: skip
def test_seeds(text: str, values: str) -> None:
    axis = axes.of_seeds(text)
    assert (axis.key, "".join(axis.values)) == ("seed", values)
    assert axis.settings[0] == {"seed": int(values[0])}


@pytest.mark.parametrize("text", ["", "a", "4-0", "-1", "0..3", "0-99999", "1,"])
def test_what_are_no_seeds(text: str) -> None:
    with pytest.raises(Misuse, match="--seeds takes whole numbers and ranges of them"):
        axes.of_seeds(text)


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ("beta", "method.beta=.1", True),
        ("beta", "beta", True),
        ("method", "method.name=ogm", True),
        ("window", "window.when=prime", True),
        ("optimizer={name='sgd'}", "optimizer.lr=.1", False),
        ("optimizer=sgd,{name='sgd',lr=0.2}", "optimizer.lr=.1", True),
        ("method", "beta", False),
        ("lr=.1", "optimizer.momentum=.9", False),
        ("encoders.a={dim=4}", "encoders.a.dim=4", True),
        ("method.strength=1", "method.strength.a=1", True),
        ("method.strength.a=1", "method.strength.b=1", False),
    ],
)
def test_two_axes_never_set_one_key(first: str, second: str, clash: bool) -> None:
    pair = [parse(first), parse(second)]
    for order in (pair, pair[::-1]):
        if not clash:
            axes.check_distinct(order)
            continue
        with pytest.raises(Misuse, match="two axes set"):
            axes.check_distinct(order)


@pytest.mark.parametrize(
    ("axis", "assigned"),
    [
        ("beta", "method.beta"),
        ("method", "method.name"),
        ("window", "window.when"),
        ("fusion", "fusion"),
        ("method", "method"),
        ("seed", "seed"),
    ],
)
def test_an_axis_never_sets_what_set_does(axis: str, assigned: str) -> None:
    with pytest.raises(Misuse, match="is set twice: by the axis"):
        axes.check_distinct([parse(axis)], [assigned])
    axes.check_distinct([parse(axis)], ["epochs"])


def test_a_things_name_may_be_set_beside_an_axis_of_its_settings() -> None:
    axes.check_distinct([parse("lr=.1"), parse("method.alpha=.1")], ["optimizer", "optimizer.momentum", "method.name"])


def test_a_studys_axis_keeps_its_values() -> None:
    axis = axes.of_values("method.beta", [0.1, 1])
    assert (axis.name, axis.values) == ("beta", ("0.1", "1"))
    assert axis.settings == ({"method": {"beta": 0.1}}, {"method": {"beta": 1}})
    assert axes.of_values("method.noise", [True]).values == ("true",)
    with pytest.raises(Misuse, match=r"there is no setting 'method\.btea'"):
        axes.of_values("method.btea", [1])
