"""Plain tables of what commands find, in the formats that every command prints."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inforeg_cli import naming
from inforeg_cli.commands.options import Format
from inforeg_cli.console import out


@dataclass(frozen=True)
class Table:
    """Rows of numbers, text and None, which is shown as nothing."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


def print_table(table: Table, format: Format) -> None:
    """On standard output. CSV and JSON have no place for the title."""
    if format == Format.rich:
        _print_rich(table)
    else:
        out.out(as_text(table, format), highlight=False)


def as_text(table: Table, format: Format) -> str:
    """The table as JSON, CSV or Markdown; what a terminal shows as a grid is Markdown in a file."""
    if format == Format.json:
        return _json([dict(zip(table.columns, row, strict=True)) for row in table.rows])
    if format == Format.csv:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([table.columns, *table.rows])
        return text.getvalue().rstrip("\n")
    cells = [table.columns, ("---",) * len(table.columns), *map(_texts, table.rows)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    return "\n".join([f"**{table.title}**", "", *lines, ""])


def print_json(value: Any) -> None:
    out.out(_json(value), highlight=False)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def number(value: int | None) -> str:
    """With separators; nothing for None."""
    return "" if value is None else f"{value:,}"


def size(value: int | None) -> str:
    """Bytes as people read them; nothing for None."""
    return "" if value is None else naming.size(value)


def _print_rich(table: Table) -> None:
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(title=Text(table.title), title_justify="left")
    for index, name in enumerate(table.columns):
        justify = "right" if all(isinstance(row[index], int) for row in table.rows) else "left"
        grid.add_column(Text(name), justify=justify, overflow="fold")  # an address that is cut leads nowhere
    for row in table.rows:
        grid.add_row(*map(Text, _texts(row)))
    out.print(grid)


def _texts(row: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple("" if cell is None else str(cell) for cell in row)
