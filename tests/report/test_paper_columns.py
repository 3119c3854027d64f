import csv
import io
import json
import re

import pytest
from report.paper_factory import make_row_run, make_table
from rich.console import Console

from inforeg_cli import studies
from inforeg_cli.report.groups import grouped
from inforeg_cli.report.paper_columns import report_of, sweep_command
from inforeg_cli.report.paper_tables import PaperTables
from inforeg_cli.report.rendering import Format, show, text_of
from inforeg_cli.report.runs import all_runs

CREMA = {"dataset": "crema-d", "modalities": ("audio", "video")}


@pytest.fixture
def table(tmp_path):
    def made(number, dataset="digits", **options):
        return PaperTables(grouped(all_runs(tmp_path).runs), **options).table(number, dataset)

    return made


def printed(table, width=160, color=None):
    console = Console(file=io.StringIO(), width=width, color_system=color, force_terminal=color is not None)
    show(report_of([table]), Format.rich, console)
    return console.file.getvalue()


def line_of(text, start):
    return next(line for line in text.splitlines() if line.startswith(start))


def test_the_printed_number_and_the_gap_stand_beside_each_score(tmp_path, table):
    make_table(tmp_path, 2, {"ogm": 0.7}, **CREMA)
    text = printed(table(2, "crema-d"))
    line = line_of(text, "ogm")
    assert re.search(r"70\.5 ± 0\.5 +68\.70 +\+1\.8", line), line
    assert "39.52" in line
    assert "paper: what the InfoReg paper printed" in text


def test_other_data_have_no_printed_columns_and_the_footer_says_so(tmp_path, table):
    make_table(tmp_path, 2, {"ogm": 0.7})
    text = printed(table(2))
    assert "the paper's table has no numbers for digits" in text
    assert not re.search(r"\bpaper {2,}|\bgap\b", text)


def test_what_has_not_been_run_is_a_dash_and_below_stands_the_one_command_that_runs_it(tmp_path, table):
    make_table(tmp_path, 2, {"joint": 0.7})
    make_row_run(tmp_path, 2, "ogm", 1)
    text = printed(table(2), width=300)
    assert re.match(r"pmr +0 +– +– +–", line_of(text, "pmr"))
    assert text.count("inforeg sweep") == 1
    assert (
        "not run: ogm with seeds 0, 2; greedy; pmr; agm; inforeg. "
        "Run it with: inforeg sweep --preset paper/table2 --dataset digits\n"
    ) in text


def test_where_only_seeds_are_missing_the_command_asks_for_those(tmp_path, table):
    for row in studies.load("paper/table1").rows:
        for seed in (0, 1) if row.name == "inforeg" else (0, 2):
            make_row_run(tmp_path, 1, row.name, seed)
    command = sweep_command(table(1), options=["--runs", "my runs"])
    assert command == "inforeg sweep --preset paper/table1 --dataset digits --seeds 1,2 --runs 'my runs'"
    for row in studies.load("paper/table1").rows:
        make_row_run(tmp_path, 1, row.name, 2 if row.name == "inforeg" else 1)
    assert sweep_command(table(1)) is None
    assert "Run it with" not in printed(table(1))


def test_a_table_of_which_nothing_was_run_has_the_printed_numbers_and_the_command(table):
    text = printed(table(4, "crema-d"))
    assert "paper 68.76" in text
    assert "nothing of it has been run. Run it with: inforeg sweep --preset paper/table4 --dataset crema-d" in text


def test_tables_4_and_5_are_laid_out_as_in_the_paper(tmp_path, table):
    make_table(tmp_path, 4, {"joint": 0.6, "ogm, prime": 0.7}, **CREMA)
    text = printed(table(4, "crema-d"))
    assert re.match(r"method +whole +prime +other", text.splitlines()[1])
    lines = text.splitlines()
    at = lines.index(line_of(text, "ogm "))
    assert re.match(r"ogm +– +70\.5 ± 0\.5 +–", lines[at]), lines[at]
    assert re.match(r" +paper 68\.70 +paper 68\.76 \(\+1\.7\) +paper 67\.13", lines[at + 1]), lines[at + 1]
    assert re.match(r"ogm, prime +3 +\+10\.0\S? +to joint|ogm, prime +3 +\+10\.0", line_of(text, "ogm, prime"))
    make_table(tmp_path, 5, {"joint, sum": 0.6})
    assert re.match(r"method +gated +sum +film +concat", printed(table(5)).splitlines()[1])


def test_the_best_and_the_second_are_seen_in_every_format_for_reading(tmp_path, table):
    make_table(tmp_path, 2, {"joint": 0.6, "ogm": 0.9, "pmr": 0.75})
    made = table(2)
    plain = printed(made)
    assert "90.5 ± 0.5 1st" in line_of(plain, "ogm")
    assert "75.5 ± 0.5 2nd" in line_of(plain, "pmr")
    assert "60.5 ± 0.5  " in line_of(plain, "joint")
    colored = printed(made, color="standard")
    assert "\x1b[1m90.5 ± 0.5\x1b[0m" in colored
    assert "\x1b[4m75.5 ± 0.5\x1b[0m" in colored
    markdown = text_of(report_of([made]), "markdown")
    assert "| **90.50 ± 0.50** |" in markdown
    assert "| <u>75.50 ± 0.50</u> |" in markdown
    latex = text_of(report_of([made]), "latex")
    assert r"\textbf{90.50 $\pm$ 0.50}" in latex
    assert r"\underline{75.50 $\pm$ 0.50}" in latex
    assert "Rows that cannot be told apart have no mark" in plain


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6])
def test_a_terminal_of_any_width_gets_lines_that_fit_and_no_cell_is_cut(tmp_path, table, number):
    rows = studies.load(f"paper/table{number}").rows
    make_table(tmp_path, number, {row.name: 0.6 + 0.01 * i for i, row in enumerate(rows)}, seeds=1, **CREMA)
    made = table(number, "crema-d")
    for width in (60, 80, 100, 160):
        text = printed(made, width)
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text


@pytest.mark.parametrize("rule", ["val", "last", "test"])
def test_the_footer_states_the_protocol_and_where_it_differs_from_the_papers(tmp_path, table, rule):
    make_table(tmp_path, 2, {"joint": 0.6, "ogm": 0.7}, **CREMA)
    text = " ".join(printed(table(2, "crema-d", epoch_rule=rule), width=400).split())
    for part in (
        "test split; epoch (of 50): ",
        "split scheme: default; clips: 1000 train, 100 val, 200 test; seeds: 0–2; "
        "preset: paper/table2, of crema-d/joint, crema-d/ogm",
        "differences to the paper's protocol: ",
        "it trained on 6,698 clips and had no val",
    ):
        assert part in text, part
    assert ("chosen on test, as the paper's code did" in text) == (rule == "test")
    assert ("best on val" in text) == (rule == "val")
    assert ("the last" in text) == (rule == "last")


def test_whose_the_modalities_scores_are_is_said(tmp_path, table):
    make_table(tmp_path, 3, {"joint": 0.6, "joint*": 0.7})
    text = printed(table(3), width=400)
    assert "head (joint): the fused head with the other features absent" in text
    assert "own head (joint*): the modality's own trained head, of rows with unimodal losses" in text
    make_table(tmp_path, 2, {"ogm": 0.7})
    single = printed(table(2), width=400)
    assert "head: the fused head" in single
    assert "own head" not in single
    assert re.search(r"head +head", single)


def test_rows_of_ours_and_their_meaning_are_marked(tmp_path, table):
    make_table(tmp_path, 3, {"joint + slice losses": 0.7})
    text = printed(table(3), width=300)
    assert "joint + slice losses (ours)" in text
    assert "(ours): a row that the paper does not print." in text
    assert "inforeg* (ours)" not in text


def test_csv_and_json_have_fractions_unrounded(tmp_path, table):
    for seed, accuracy in enumerate((0.60, 0.65, 0.655)):
        make_row_run(tmp_path, 2, "ogm", seed, accuracy, **CREMA)
        make_row_run(tmp_path, 2, "joint", seed, 0.5, **CREMA)
    report = report_of([table(2, "crema-d")])
    (made,) = json.loads(text_of(report, "json"))
    ogm = made["rows"][1]["scores"]["accuracy"]
    assert ogm["measured"]["mean"] == pytest.approx(1.905 / 3, abs=1e-12)
    assert ogm["printed"] == pytest.approx(0.687)
    assert ogm["gap"] == pytest.approx(1.905 / 3 - 0.687, abs=1e-12)
    assert ogm["versus"]["over_clips"]["low"] > 0
    assert made["command"] == "inforeg sweep --preset paper/table2 --dataset crema-d"
    lines = list(csv.DictReader(io.StringIO(text_of(report, "csv"))))
    assert [line["name"] for line in lines] == ["joint", "ogm", "greedy", "pmr", "agm", "inforeg"]
    assert float(lines[1]["scores.accuracy.measured.mean"]) == ogm["measured"]["mean"]
    assert lines[2]["scores.accuracy.measured.mean"] == ""
    assert float(lines[2]["scores.accuracy.printed"]) == pytest.approx(0.6782)


def test_markdown_and_latex_have_as_many_cells_in_each_line(tmp_path, table):
    make_table(tmp_path, 4, {"joint": 0.6, "ogm, prime": 0.7, "ogm, whole": 0.9}, **CREMA)
    report = report_of([table(4, "crema-d")])
    for grid in re.findall(r"(?:^\|.*\n)+", text_of(report, "markdown"), re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in grid.splitlines()}) == 1
    for grid in re.findall(r"\\toprule(.*?)\\bottomrule", text_of(report, "latex"), re.DOTALL):
        lines = [line for line in grid.splitlines() if line.endswith(r"\\")]
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1
