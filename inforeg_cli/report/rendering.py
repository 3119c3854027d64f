"""Comparisons in every format: for a terminal, Markdown, LaTeX, and, with each number unrounded, CSV and JSON."""

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
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


def render(tables: "Sequence[Table]", format: Format | str, console: Console) -> None:
    """Print the tables on `console`. Only `rich` minds its width; the other formats are printed as they are."""
    if format != Format.rich:
        console.out(as_text(tables, format), highlight=False, end="")
        return

    def dim(line: str) -> None:
        console.print(Text(line, style="dim"), soft_wrap=False)

    for table in tables:
        console.print(Text(table.title, style="bold"), soft_wrap=False)
        for grid in _fitting(columns(table, decimals=1), console):
            console.print(grid, soft_wrap=False)
            console.print()
        for line in (footer(table), *table.notes):
            dim(line)
        console.print()
    for line in legend(tables):
        dim(line)


def as_text(tables: "Sequence[Table]", format: Format | str) -> str:
    """What `render` prints, as a text that ends in a newline; `rich` at a width of 120 cells."""
    match Format(format):
        case Format.markdown:
            return _markdown(tables)
        case Format.latex:
            return "\n".join(map(_latex, tables))
        case Format.csv:
            return _csv(tables)
        case Format.json:
            return json.dumps(records(tables), indent=2, ensure_ascii=False) + "\n"

    console = Console(file=io.StringIO(), width=_FILE_WIDTH, color_system=None)
    render(tables, format, console)
    return console.file.getvalue()


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
    for name, *cells in zip(*(column.cells for column in some), strict=True):
        if {*cells} != {MISSING}:
            grid.add_row(*map(Text, (name, *cells)))
    return grid


def _markdown(tables: "Sequence[Table]") -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(map(_escaped_markdown, cells))} |"

    parts = []
    for table in tables:
        shown = columns(table, decimals=2)
        grid = [
            line([column.header.replace("\n", " ") for column in shown]),
            f"| {' | '.join('--:' if column.numeric else ':--' for column in shown)} |",
            *map(line, _cells(shown)),
        ]
        lines = map(_escaped_markdown, (footer(table), *table.notes))
        parts += [f"### {_escaped_markdown(table.title)}", "\n".join(grid), *lines]
    return "\n\n".join([*parts, *map(_escaped_markdown, legend(tables))]) + "\n"


def _escaped_markdown(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]#~])", r"\\\1", text)


def _latex(table: "Table") -> str:
    """A `table` that needs the package booktabs."""

    def line(cells: Sequence[str]) -> str:
        return f"  {' & '.join(map(_escaped_latex, cells))} \\\\"

    shown = columns(table, decimals=2)
    caption = " ".join(f"{sentence.removesuffix('.')}." for sentence in (table.title, footer(table), *table.notes))
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \begin{{tabular}}{{{''.join('r' if column.numeric else 'l' for column in shown)}}}",
            r"  \toprule",
            line([column.header for column in shown]),
            r"  \midrule",
            *map(line, _cells(shown)),
            r"  \bottomrule",
            r"  \end{tabular}",
            rf"  \caption{{{_escaped_latex(' '.join([caption, *legend([table])]))}}}",
            r"\end{table}",
            "",
        ]
    )


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


def _csv(tables: "Sequence[Table]") -> str:
    """One line a row, nested values under dotted names; fractions, unrounded, and empty where there is nothing."""
    lines = []
    for table in records(tables):
        rows = table.pop("rows")
        lines += [dotted({"table": table, **row}) for row in rows]
    names = list(dict.fromkeys(name for line in lines for name, value in line.items() if value is not None))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for line in lines:
        values = (line.get(name) for name in names)
        writer.writerow(" ".join(map(str, value)) if isinstance(value, list | tuple) else value for value in values)
    return buffer.getvalue()


def _cells(shown: Sequence[Column]) -> list[tuple[str, ...]]:
    """The columns' cells row by row, each in one line."""
    rows = zip(*(column.cells for column in shown), strict=True)
    return [tuple(" ".join(cell.replace("\n", ", ").split()) for cell in row) for row in rows]
