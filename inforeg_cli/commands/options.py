"""Options that several commands share, so that each means the same everywhere."""

import inspect
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    rich = "rich"
    markdown = "markdown"
    csv = "csv"
    json = "json"


def help_of(command: Callable[..., None]) -> str:
    """A command's docstring for the terminal: paragraphs flow with its width, except those marked with a backslash b."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(text if text.startswith("\b") else text.replace("\n", " ") for text in paragraphs)


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
