import json
import os
import subprocess
import sys

import pytest
from report.paper_factory import make_row_run, make_table
from typer.testing import CliRunner

from inforeg_cli import console, search_record
from inforeg_cli.commands.compare import compare_app
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.search_record import SearchRecord, TriedSettings, TunedMethod


@pytest.fixture
def runs_dir(tmp_path):
    folder = tmp_path / "runs"
    make_table(folder, 2, {"joint": 0.7, "ogm": 0.8})
    make_row_run(folder, 4, "inforeg, other")
    return folder


@pytest.fixture
def tables(monkeypatch):
    """Run ``inforeg compare tables`` with these arguments: its standard output and standard error."""

    def run(*arguments, width=120):
        for stream in (console.out, console.err):
            monkeypatch.setattr(stream, "width", width)
        result = CliRunner().invoke(compare_app, ["tables", *map(str, arguments)])
        if isinstance(result.exception, InforegError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout, result.stderr

    return run


def numbers(printed):
    return [(table["dataset"], table["number"]) for table in json.loads(printed)]


def test_without_a_number_all_tables_are_shown_of_which_anything_was_run(tables, runs_dir):
    printed, _ = tables("--format", "json")
    assert numbers(printed) == [("digits", number) for number in (1, 2, 3, 4, 5, 6)]


def test_tables_without_a_run_are_a_line_with_the_command_that_runs_them(tables, tmp_path):
    make_row_run(tmp_path / "runs", 2, "greedy")
    printed, said = tables("--format", "json")
    assert numbers(printed) == [("digits", 2)]
    assert len(said.splitlines()) == 5
    assert "table 6 on digits: nothing run. Run it with: inforeg sweep --preset paper/table6 --dataset digits" in said


def test_only_the_numbers_asked_for(tables, runs_dir):
    assert numbers(tables(4, 2, 2, "--format", "json")[0]) == [("digits", 2), ("digits", 4)]


def test_a_table_asked_for_on_data_without_runs_shows_what_the_paper_printed(tables):
    printed, _ = tables(2, "--dataset", "crema-d", "--format", "csv")
    assert "0.719" in printed


def test_without_a_dataset_every_one_that_has_runs(tables, runs_dir):
    make_row_run(runs_dir, 2, "joint", dataset="crema-d", modalities=("audio", "video"))
    make_row_run(runs_dir, 2, "joint", dataset="kinetics-sounds", modalities=("audio", "video"), finished=False)
    assert numbers(tables(2, "--format", "json")[0]) == [("crema-d", 2), ("digits", 2)]
    assert numbers(tables(2, "--format", "json", "--dataset", "digits")[0]) == [("digits", 2)]


def test_a_dataset_may_be_given_as_the_store_it_lies_in(tables, runs_dir):
    store = runs_dir.parent / "datasets" / "digits" / "prepared"
    printed, _ = tables(2, "--dataset", store, "--format", "json")
    (table,) = json.loads(printed)
    assert table["rows"][0]["seeds"] == [0, 1, 2]
    assert table["command"] == f"inforeg sweep --preset paper/table2 --dataset {store}"


def test_the_command_finds_the_same_runs(tables, runs_dir):
    elsewhere = runs_dir.rename(runs_dir.parent / "elsewhere")
    printed, _ = tables(2, "--runs", elsewhere, "--format", "json")
    assert json.loads(printed)[0]["command"].endswith(f"--dataset digits --runs {elsewhere}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((9,), "there is no table 9; the paper has tables 1 to 6"),
        ((2, "--dataset", "digts"), "did you mean 'digits'"),
        (("--dataset", "nothing-like-it"), "no run is on dataset 'nothing-like-it'"),
        (("--dataset", "violent-flows"), "nothing of the paper's tables has been run on violent-flows. Run one with:"),
    ],
)
def test_what_cannot_be_shown_is_one_line(tables, runs_dir, arguments, message):
    with pytest.raises(Misuse) as error:
        tables(*arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_without_any_run_a_first_command_is_given(tables, tmp_path):
    with pytest.raises(Misuse, match="inforeg sweep --preset paper/table2 --dataset digits"):
        tables()


def test_the_metric_and_the_epoch_rule_are_handed_on(tables, runs_dir):
    (table,) = json.loads(tables(2, "--metric", "macro_f1", "--epoch-rule", "test", "--format", "json")[0])
    assert (table["metric"], table["epoch_rule"]) == ("macro_f1", "test")
    assert table["rows"][0]["scores"]["macro_f1"]["measured"]["n"] == 3


@pytest.mark.parametrize(
    ("format", "name", "part"),
    [
        ("rich", "compare-tables.txt", "70.5 ± 0.5"),
        ("markdown", "compare-tables.md", "| 70.50 ± 0.50 |"),
        ("latex", "compare-tables.tex", r"70.50 $\pm$ 0.50"),
        ("csv", "compare-tables.csv", "scores.accuracy.measured.mean"),
        ("json", "compare-tables.json", '"study": "paper/table2"'),
    ],
)
def test_every_format_is_printed_and_written(tables, runs_dir, tmp_path, format, name, part):
    printed, said = tables(2, "--format", format, "--out", tmp_path / "out")
    assert part in printed
    assert part in (tmp_path / "out" / name).read_text()
    assert str(tmp_path / "out" / name) in said.replace("\n", "")


def test_a_damaged_run_is_named_and_the_others_go_on(tables, runs_dir):
    next(runs_dir.glob("digits-ogm-s0-*/result.json")).write_text("{")
    printed, said = tables(2, "--format", "json")
    assert "unreadable, so left out" in said
    assert json.loads(printed)[0]["rows"][1]["seeds"] == [1, 2]


def test_trials_of_a_search_stand_in_no_table(tables, tmp_path):
    runs_dir = tmp_path / "runs"
    trials = [
        make_row_run(runs_dir, 2, "joint", 1000, 0.7 + 0.01 * trial, method_version=trial + 1) for trial in range(2)
    ]
    ordinary = make_row_run(runs_dir, 2, "joint", 0, 0.7)
    ids = [json.loads((trial / "config.json").read_text())["id"] for trial in trials]
    tried = [TriedSettings(trial=index, settings={}, id=one, run=trials[index].name) for index, one in enumerate(ids)]
    methods = {"joint": TunedMethod(space={}, trials=tried)}
    record = SearchRecord(
        name="s", dataset="digits", data_digest="d" * 64, number=2, seed=0, assigned={}, methods=methods
    )
    search_record.write(record, runs_dir)
    (table,) = json.loads(tables(2, "--format", "json")[0])
    assert table["rows"][0]["runs"] == [ordinary.name]


def test_nothing_heavy_is_imported(runs_dir):
    code = (
        "import sys; from inforeg_cli.commands.compare import compare_app\n"
        "compare_app(['tables', '--format', 'csv'], standalone_mode=False)\n"
        "print([m for m in ('torch', 'mlflow', 'pandas', 'sklearn', 'matplotlib') if m in sys.modules], file=sys.stderr)"
    )
    environment = os.environ | {"INFOREG_ROOT": str(runs_dir.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
    assert done.stdout.startswith("table.number")
