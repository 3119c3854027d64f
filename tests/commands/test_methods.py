"""`inforeg methods`: that what it says of each method is there, is so, and comes from where the method stands."""

import csv
import io
import json
import subprocess
import sys

import pytest

from inforeg_cli import console, presets
from inforeg_cli.descriptions import GROUPS, REQUIREMENTS, descriptions
from inforeg_cli.methods import METHODS
from inforeg_cli.methods.base import Options

ONE, UNIMODAL = GROUPS[False], GROUPS[True]
#: Name, group and baseline, in the order of the list.
LISTED = [
    ("joint", ONE, None),
    ("uniform", UNIMODAL, "joint"),
    ("ogm", ONE, "joint"),
    ("ogm-ge", ONE, "joint"),
    ("greedy", UNIMODAL, "mmtm"),
    ("greedy-fused", ONE, "mmtm-fused"),
    ("pmr", ONE, "joint"),
    ("agm", ONE, "joint"),
    ("g-blending", UNIMODAL, "joint"),
    ("mmpareto", UNIMODAL, "uniform"),
    ("inforeg", ONE, "joint"),
    ("inforeg+own", UNIMODAL, "uniform"),
]


def test_the_list_has_every_method_with_its_group_and_baseline(inforeg):
    code, out, _ = inforeg("methods", "--format", "json")
    found = json.loads(out)
    assert code == 0
    assert [(one["name"], one["group"], one["baseline"]) for one in found] == LISTED
    assert {one.partition("+")[0].removesuffix("-ge").removesuffix("-fused") for one, _, _ in LISTED} == {
        *METHODS,
        "uniform",
    }


@pytest.mark.parametrize("format", ["rich", "markdown", "csv"])
def test_every_format_names_all_of_them(inforeg, monkeypatch, format):
    monkeypatch.setattr(console.out, "width", 200)  # the terminal's was read when the first test began
    code, out, _ = inforeg("methods", "--format", format)
    assert code == 0 and all(name in out for name, _, _ in LISTED)


def test_every_method_says_all_there_is_to_say():
    for one in descriptions():
        assert one.title and one.summary and one.changes and one.cost and one.presets and one.example, one.name
        assert all(option.type and option.meaning and option.source for option in one.options), one.name
        if one.name not in ("joint", "uniform"):
            assert one.paper.startswith("https://") and one.options and one.equations, one.name
            assert one.changes.split(":")[0] in ("loss", "gradient", "forward", "schedule")
            assert all(one.equations.values())


def test_options_are_those_of_the_method_with_the_variants_own_values():
    found = {one.name: one for one in descriptions()}
    assert {option.name: option.default for option in found["ogm-ge"].options} == {"alpha": "0.3", "noise": "true"}
    assert {option.name: option.type for option in found["pmr"].options} == {
        "alpha": "number >= 0", "momentum": "number >= 0, < 1", "weights": "hard or clip", "entropy": "number >= 0",
        "share": "number > 0, <= 1",
    }  # fmt: skip
    for one in found.values():
        names = {"name", *(option.name for option in one.options)}
        assert any(names == set(method.Config.model_fields) for method in METHODS.values())


def test_every_requirement_has_words():
    required = {word for method in METHODS.values() for word in method.Config().requires}
    required |= METHODS["agm"].Config(clip=1.0).requires
    assert required == set(REQUIREMENTS) and Options().requires == frozenset()


@pytest.mark.parametrize(
    ("name", "meant"),
    [("OGM_GE", "ogm-ge"), ("InfoReg own", "inforeg+own"), ("GBlending", "g-blending"), ("greedy", "greedy")],
)
def test_a_page_tells_everything_of_one_and_is_tolerant_of_spelling(inforeg, name, meant):
    code, out, _ = inforeg("methods", name, "--format", "markdown")
    (one,) = (found for found in descriptions() if found.name == meant)
    assert code == 0 and out.lstrip().startswith(f"# {meant}\n")
    for told in (one.title, one.paper, one.cost, one.example, *one.summary, *one.equations.values(), *one.presets):
        assert told in out
    for option in one.options:
        assert option.source in out and option.meaning in out
    assert one.deviations is None or one.deviations in out


def test_a_page_on_a_terminal_breaks_no_words(inforeg, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = inforeg("methods", "greedy")
    (one,) = (found for found in descriptions() if found.name == "greedy")
    assert code == 0 and "#" not in out
    for paragraph in one.summary:
        assert paragraph in " ".join(out.split())


def test_a_page_for_programs(inforeg):
    _, out, _ = inforeg("methods", "mmpareto", "--format", "json")
    assert json.loads(out)["options"][0]["default"] == "1.5"
    _, out, _ = inforeg("methods", "pmr", "--format", "csv")
    assert [row["option"] for row in csv.DictReader(io.StringIO(out))] == list(METHODS["pmr"].Config.model_fields)[1:]


def test_a_wrong_name_is_misuse_with_the_nearest_one(inforeg):
    code, out, err = inforeg("methods", "gready")
    assert (code, out) == (2, "") and "there is no method 'gready'; did you mean 'greedy'?" in err


def test_every_example_is_a_preset_of_the_method():
    for one in descriptions():
        *_, dataset, option, name = one.example.split(" ")
        preset = name if option == "--preset" else f"{dataset}/{name}"
        assert presets.find(preset) and preset in one.presets
        assert preset.split("/")[1] == one.name.replace("+", "-")


def test_help_answers_without_anything_heavy():
    heavy = "torch", "pandas", "mlflow", "sklearn"
    code = f"import sys, inforeg_cli.app; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
