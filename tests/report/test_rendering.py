import csv
import io
import json
import re

import pytest
from report.run_factory import make_run
from rich.console import Console

from inforeg_cli.report.rendering import Format, as_text, render
from inforeg_cli.report.runs import all_runs
from inforeg_cli.report.tables import comparison


@pytest.fixture
def tables(tmp_path):
    for seed, accuracy in enumerate((0.70, 0.72, 0.71)):
        make_run(tmp_path, "joint", seed, accuracy)
        make_run(tmp_path, "uniform", seed, accuracy + 0.15 + 0.005 * seed)
        make_run(tmp_path, "inforeg", seed, accuracy, acted=False)
        make_run(tmp_path, "joint", seed, accuracy - 0.2, modalities=("image",))
    make_run(tmp_path, "joint", 0, dataset="z[red]_50%&", digest="e" * 64, modalities=("a|b", "[c]"))
    return comparison(all_runs(tmp_path).runs)


def printed(tables, width):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    render(tables, Format.rich, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_a_terminal_of_any_width_gets_every_number_in_lines_that_fit(tables, width):
    text = printed(tables, width)
    assert max(map(len, text.splitlines())) <= width
    for cell in (
        "71.0 ± 1.0",
        "86.5 ± 1.3",
        "51.0 ± 1.0",
        "+15.5* to joint",
        "[+14.3, +16.7]",
        "+0.0  to joint",
        "none",
    ):
        assert cell in text, cell
    assert "inforeg: never acted" in text
    assert "…" not in text


def test_parts_of_a_split_table_leave_out_rows_with_nothing_to_show(tables):
    narrow = printed(tables, 80)
    own_heads = narrow[narrow.index("own head") : narrow.index("test split")]
    assert "uniform" in own_heads
    assert "image alone" not in own_heads


def test_the_columns_of_a_block_stay_together_and_in_one_table_where_there_is_room(tables):
    assert printed(tables, 300).count("method ") == len(tables)
    assert printed(tables, 80).count("method ") > len(tables)


def test_more_modalities_than_a_line_can_hold(tmp_path):
    names = tuple(f"modality{index}" for index in range(9))
    make_run(tmp_path, "uniform", 0, 0.95, modalities=names)
    text = printed(comparison(all_runs(tmp_path).runs), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert all(text.count(name) >= 3 for name in names)


def test_names_are_never_markup(tables, tmp_path):
    make_run(tmp_path / "more", modalities=("[bold]",))
    text = printed([*tables, *comparison(all_runs(tmp_path / "more").runs)], 140)
    assert "z[red]_50%&: a|b + [c]" in text
    assert "[bold] alone" in text


def test_a_difference_that_rounds_to_zero_is_not_negative(tmp_path):
    make_run(tmp_path, "joint", 0, 0.7)
    make_run(tmp_path, "ogm", 0, 0.7 - 1e-6)
    text = printed(comparison(all_runs(tmp_path).runs), 140)
    assert "+0.0  to joint" in text


def test_the_footer_tells_the_protocol(tables):
    text = printed(tables, 250)
    assert (
        "test split; epoch: best on val of 30; split scheme: default; clips: 1000 train, 100 val, 200 test; "
        "presets: digits/joint, digits/uniform, digits/inforeg; seeds: 0–2"
    ) in text


def test_markdown_has_one_row_a_group_and_escapes_names(tables):
    text = as_text(tables, Format.markdown)
    assert "| uniform | 3 | 86.50 ± 1.32 | 85.50 ± 1.32 | 76.50 ± 1.32 | 66.50 ± 1.32 |" in text
    assert r"| +15.50\* to joint | \[+14.26, +16.74\] |" in text
    assert r"### z\[red\]\_50%&: a\|b + \[c\]" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    cells = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    assert cells == [13] * 6 + [7] * 3


def test_missing_cells_are_dashes(tables):
    row = next(line for line in as_text(tables, Format.markdown).splitlines() if line.startswith("| image alone"))
    assert row.split(" | ")[5:] == ["–"] * 6 + ["– |"]


def test_latex_is_escaped_and_balanced(tables):
    text = as_text(tables, Format.latex)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == len(tables)
    assert r"$+$15.50$^{*}$ to joint & [$+$14.26, $+$16.74]" in text
    assert r"86.50 $\pm$ 1.32" in text
    assert r"z[red]\_50\%\&: a$|$b" in text
    assert re.search(r"(?<!\\)[%#_](?!\{)", text) is None
    for block in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, flags=re.DOTALL):
        lines = [line for line in block[1].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {len(block[0])}


def test_json_carries_everything_unrounded(tables):
    digits, other = json.loads(as_text(tables, Format.json))
    assert other["title"] == "z[red]_50%&: a|b + [c]"
    uniform = next(row for row in digits["rows"] if row["method"] == "uniform")
    assert uniform["accuracy"]["mean"] == pytest.approx(0.865)
    assert uniform["chosen_on_test"]["mean"] == pytest.approx(0.88)
    assert uniform["versus"]["significant"] is True
    assert uniform["versus"]["over_clips"]["p"] > 0
    assert uniform["runs"] == sorted(uniform["runs"])
    assert digits["protocol"]["optimizer.lr"] == 0.01
    never = next(row for row in digits["rows"] if row["method"] == "inforeg")
    assert never["name"] == "inforeg: never acted"


def test_csv_is_one_line_a_row_with_every_number(tables):
    rows = list(csv.DictReader(io.StringIO(as_text(tables, Format.csv))))
    assert len(rows) == sum(len(table.rows) for table in tables)
    uniform = next(row for row in rows if row["method"] == "uniform")
    assert float(uniform["accuracy.mean"]) == pytest.approx(0.865)
    assert float(uniform["versus.over_seeds.low"]) < 0.155
    assert float(uniform["chosen_on_test.mean"]) == pytest.approx(0.88)
    assert uniform["seeds"] == "0 1 2"
    assert next(row for row in rows if row["method"] == "joint")["versus.mean"] == ""


@pytest.mark.parametrize("format", [format for format in Format if format != Format.rich])
def test_other_formats_do_not_mind_the_terminal(tables, format):
    console = Console(file=io.StringIO(), width=40, force_terminal=True, soft_wrap=True)
    render(tables, format, console)
    assert console.file.getvalue() == as_text(tables, format)


def test_a_file_for_people_has_no_colours(tables):
    assert "\x1b" not in as_text(tables, "rich")
