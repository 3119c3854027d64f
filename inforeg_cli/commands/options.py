"""Options that several commands share, so that each means the same everywhere."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    rich = "rich"
    markdown = "markdown"
    csv = "csv"
    json = "json"


def _set_root(value: Path | None) -> Path | None:
    if value is not None:
        os.environ["INFOREG_ROOT"] = str(value.resolve())
    return value


Root = Annotated[
    Path | None,
    typer.Option(
        "--root", callback=_set_root, is_eager=True, show_default="$INFOREG_ROOT, else the current folder",
        help="The folder that holds datasets/ and runs/.",
    ),
]  # fmt: skip
Runs = Annotated[Path | None, typer.Option("--runs", show_default="runs/ under the root", help="The folder of runs.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:<index> or mps.")]
FormatOption = Annotated[Format, typer.Option("--format", help="How tables are printed.")]
