"""Comparisons in every format: for a terminal, Markdown, LaTeX, and, with each number unrounded, CSV and JSON."""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from inforeg_cli.report.columns import MISSING, Column, columns, footer, legend
from inforeg_cli.settings import dotted

if TYPE_CHECKING:
    from inforeg_cli.report.tables import Table

_FILE_WIDTH = 120
#: Where the width of a name is limited to a third of the terminal's, it still has this many cells.
_NARROWEST_NAME = 28


class Format(StrEnum):
    rich = "rich"
    markdown = "markdown"
    csv = "csv"
    json = "json"
    latex = "latex"

    @property
    def extension(self) -> str:
        return {"rich": "txt", "markdown": "md", "latex": "tex"}.get(self.value, self.value)


@dataclass(frozen=True)
class Sheet:
    """What a reader sees of one table: its columns, perhaps as several grids one below the other, and lines below them."""

    title: str
    grids: tuple[Sequence[Column], ...]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Tables to be shown. sheets: with so many decimals. records: as plain values, scores as fractions, unrounded."""

    sheets: Callable[[int], Sequence[Sheet]]
    legend: Sequence[str]
    records: Callable[[], list[dict[str, Any]]]


def render(tables: "Sequence[Table]", format: Format | str, console: Console) -> None:
    """Print comparisons of runs; see `show`."""
    show(report_of(tables), format, console)


def as_text(tables: "Sequence[Table]", format: Format | str) -> str:
    """Comparisons of runs as a text; see `text_of`."""
    return text_of(report_of(tables), format)


def show(report: Report, format: Format | str, console: Console) -> None:
    """Print the tables on `console`. Only `rich` minds its width; the other formats are printed as they are."""
    if format != Format.rich:
        console.out(text_of(report, format), highlight=False, end="")
        return

    def dim(line: str) -> None:
        console.print(Text(line, style="dim"), soft_wrap=False)

    for sheet in report.sheets(1):
        console.print(Text(sheet.title, style="bold"), soft_wrap=False)
        for columns_of_grid in sheet.grids:
            for grid in _fitting(columns_of_grid, console):
                console.print(grid, soft_wrap=False)
                console.print()
        for line in sheet.lines:
            dim(line)
        console.print()
    for line in report.legend:
        dim(line)


def text_of(report: Report, format: Format | str) -> str:
    """What `show` prints, as a text that ends in a newline; `rich` at a width of 120 cells."""
    match Format(format):
        case Format.markdown:
            return _markdown(report)
        case Format.latex:
            return "\n".join(_latex(sheet, report.legend) for sheet in report.sheets(2))
        case Format.csv:
            return _csv(report.records())
        case Format.json:
            return json.dumps(report.records(), indent=2, ensure_ascii=False) + "\n"

    console = Console(file=io.StringIO(), width=_FILE_WIDTH, color_system=None)
    show(report, format, console)
    return console.file.getvalue()


def report_of(tables: "Sequence[Table]") -> Report:
    """Comparisons of runs as they are shown."""

    def sheets(decimals: int) -> list[Sheet]:
        return [Sheet(table.title, (columns(table, decimals),), (footer(table), *table.notes)) for table in tables]

    return Report(sheets, legend(tables), lambda: records(tables))


def records(tables: "Sequence[Table]") -> list[dict[str, Any]]:
    """The tables as plain values: scores and differences are fractions, unrounded."""
    return [asdict(table) | {"rows": [{"name": row.name, **asdict(row)} for row in table.rows]} for table in tables]


def _fitting(all_columns: Sequence[Column], console: Console) -> list[Grid]:
    """The columns as one grid or, where that would be too wide, as several, each led by the rows' names."""
    names, rest = all_columns[0], all_columns[1:]
    widest_name = max(_NARROWEST_NAME, console.width // 3)
    unlimited = console.options.update(max_width=100_000)

    def fits(some: Sequence[Column]) -> bool:
        return Measurement.get(console, unlimited, _grid([names, *some], widest_name)).maximum <= console.width

    grids: list[list[Column]] = []
    for block in dict.fromkeys(column.block for column in rest):
        whole = [column for column in rest if column.block == block]
        for part in [whole] if fits(whole) else [[column] for column in whole]:
            home = next((grid for grid in grids if fits([*grid, *part])), None)
            if home is None:
                grids.append(part)
            else:
                home.extend(part)
    return [_grid([names, *grid], widest_name) for grid in grids]


def _grid(some: Sequence[Column], widest_name: int) -> Grid:
    """The columns beside each other, without the rows that have nothing but a name to show in them."""
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(some):
        grid.add_column(
            Text(column.header),
            justify="right" if column.numeric else "left",
            overflow="fold",
            max_width=None if index else widest_name,
        )
    for name, *cells in zip(*map(_marked, some), strict=True):
        if {cell.plain for cell in cells} != {MISSING}:
            grid.add_row(name, *cells)
    return grid


def _marked(column: Column) -> list[Text]:
    """The column's cells; the best is bold, the second underlined, and both say so where there are no such letters."""
    if not column.marks:
        return [Text(cell) for cell in column.cells]
    cells = []
    for cell, mark in zip(column.cells, column.marks, strict=True):
        first, *rest = cell.split("\n")
        text = Text(first, style={"best": "bold", "second": "underline"}.get(mark or "", ""))
        text.append({"best": " 1st", "second": " 2nd"}.get(mark or "", "    "), style="not underline")
        cells.append(Text("\n").join([text, *(Text(f"{line}    ") for line in rest)]))
    return cells


def _markdown(report: Report) -> str:
    marks = {"best": "**{}**", "second": "<u>{}</u>"}
    parts = []
    for sheet in report.sheets(2):
        parts.append(f"### {_escaped_markdown(sheet.title)}")
        for shown in sheet.grids:
            headers = [_escaped_markdown(column.header.replace("\n", " ")) for column in shown]
            ruler = ["--:" if column.numeric else ":--" for column in shown]
            rows = [headers, ruler, *_cells(shown, _escaped_markdown, marks)]
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
        parts += map(_escaped_markdown, sheet.lines)
    return "\n\n".join([*parts, *map(_escaped_markdown, report.legend)]) + "\n"


def _escaped_markdown(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]#~])", r"\\\1", text)


def _latex(sheet: Sheet, legend_lines: Sequence[str]) -> str:
    """A `table` that needs the package booktabs."""
    marks = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}"}
    caption = " ".join(f"{sentence.removesuffix('.')}." for sentence in (sheet.title, *sheet.lines))
    lines = [r"\begin{table}", r"  \centering"]
    for number, shown in enumerate(sheet.grids):
        lines += [
            *([r"  \medskip", ""] if number else []),
            rf"  \begin{{tabular}}{{{''.join('r' if column.numeric else 'l' for column in shown)}}}",
            r"  \toprule",
            f"  {' & '.join(_escaped_latex(column.header) for column in shown)} \\\\",
            r"  \midrule",
            *(f"  {' & '.join(row)} \\\\" for row in _cells(shown, _escaped_latex, marks)),
            r"  \bottomrule",
            r"  \end{tabular}",
        ]
    lines += [rf"  \caption{{{_escaped_latex(' '.join([caption, *legend_lines]))}}}", r"\end{table}", ""]
    return "\n".join(lines)


_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "*": "$^{*}$",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "\n": " ",
}


def _escaped_latex(text: str) -> str:
    # A sign before a number is mathematics, a hyphen is not.
    pieces = re.split(r"((?<![\w–])[+-](?=\d))", text)
    return "".join(
        f"${piece}$" if index % 2 else "".join(_LATEX.get(character, character) for character in piece)
        for index, piece in enumerate(pieces)
    )


def _csv(tables: Sequence[dict[str, Any]]) -> str:
    """One line a row, nested values under dotted names; fractions, unrounded, and empty where there is nothing."""
    lines = []
    for table in tables:
        whole = {key: value for key, value in table.items() if key != "rows"}
        lines += [dotted({"table": whole, **row}) for row in table["rows"]]
    names = list(dict.fromkeys(name for line in lines for name, value in line.items() if value is not None))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for line in lines:
        values = (line.get(name) for name in names)
        writer.writerow(" ".join(map(str, value)) if isinstance(value, list | tuple) else value for value in values)
    return buffer.getvalue()


def _cells(shown: Sequence[Column], escaped: Callable[[str], str], marks: Mapping[str, str]) -> list[list[str]]:
    """The columns' cells row by row, each in one line, with what `marks` put around the best and the second."""

    def cell(column: Column, row: int) -> str:
        text = escaped(" ".join(column.cells[row].replace("\n", ", ").split()))
        return marks.get(column.marks[row] or "", "{}").format(text) if column.marks else text

    return [[cell(column, row) for column in shown] for row in range(len(shown[0].cells))]
