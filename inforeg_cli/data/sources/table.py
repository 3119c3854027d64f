"""The table of a dataset's clips, and reading one from CSV strictly: what is odd is reported, never guessed."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from inforeg_cli.data.media import is_lfs_pointer
from inforeg_cli.data.problems import Problems
from inforeg_cli.errors import Misuse


@dataclass(frozen=True)
class Row:
    """`index` counts the rows from 0, as an array's rows do; `where` says in messages which row it is."""

    index: int
    where: str
    cells: dict[str, str]


@dataclass(frozen=True)
class Table:
    """The sound rows of a manifest or of what stands for one, its columns' names, and the number of all its rows."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    count: int


def read_table(path: Path, problems: Problems) -> Table:
    """The manifest at `path`, cells without surrounding blanks. Rows of a wrong length become problems.

    Raises Misuse where it is no CSV file in UTF-8 with a header and rows.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Misuse(f"{path}: cannot read the manifest: {error.strerror}") from None
    if is_lfs_pointer(content):
        raise Misuse(f"{path} is a Git LFS pointer, not the manifest itself: fetch it with `git lfs pull`")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Misuse(f"{path}: line {line} is not UTF-8: save the manifest as UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = tuple(cell.strip() for cell in next(reader, []))
        _check_header(path, columns)
        rows, count = [], 0
        for cells in reader:
            if not cells:
                continue
            row = Row(count, f"line {reader.line_num}", dict(zip(columns, map(str.strip, cells), strict=False)))
            count += 1
            if len(cells) == len(columns):
                rows.append(row)
            else:
                problems.add(row.where, "the row and the header differ in length", f"{len(cells)} and {len(columns)}")
    except csv.Error as error:
        raise Misuse(f"{path}: line {reader.line_num} is not valid CSV: {error}") from None
    if not count:
        raise Misuse(f"{path}: the manifest has no rows")
    return Table(path.name, columns, tuple(rows), count)


def _check_header(path: Path, columns: tuple[str, ...]) -> None:
    if not any(columns):
        raise Misuse(f"{path}: the manifest has no header line")
    if len(columns) == 1 and (other := next((char for char in ";\t|" if char in columns[0]), None)):
        raise Misuse(f"{path}: the columns are separated by {other!r}: save the manifest with commas")
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise Misuse(f"{path}: the header names a column twice: {', '.join(map(repr, repeated))}")
