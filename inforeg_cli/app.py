"""The command line: `inforeg`. Imports nothing heavy, so that --help answers at once."""

import sys
from typing import Annotated

import typer

from inforeg_cli import __version__
from inforeg_cli.commands.bench import bench
from inforeg_cli.commands.compare import compare_app
from inforeg_cli.commands.demo import demo
from inforeg_cli.commands.evaluate import evaluate
from inforeg_cli.commands.methods import methods
from inforeg_cli.commands.options import help_of
from inforeg_cli.commands.predict import predict
from inforeg_cli.commands.prepare import prepare
from inforeg_cli.commands.sweep import sweep
from inforeg_cli.commands.train import train
from inforeg_cli.console import err, out
from inforeg_cli.errors import InforegError

app = typer.Typer(
    name="inforeg",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (prepare, methods, train, sweep, evaluate, predict):
    app.command(help=help_of(command))(command)
app.add_typer(compare_app, name="compare")
for command in (demo, bench):
    app.command(help=help_of(command))(command)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"inforeg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train multimodal classifiers whose modalities learn at different speeds, and compare the methods that balance them.

    \b
    inforeg prepare digits                 raw recordings to training-ready data
    inforeg methods                        what there is to train with, and what it costs
    inforeg train --method inforeg         one model, one loop, every method
    inforeg sweep --preset paper/table2    many: a grid of settings, or a paper's table
    inforeg evaluate RUN                   what a model knows, by which modality
    inforeg predict RUN FILES              what it says of recordings without labels
    inforeg compare runs                   side by side, over seeds and over clips
    """


def main() -> None:
    """Run the command line; what the user can mend is one clear message and exit code 2 (misuse) or 1 (failure)."""
    try:
        app()
    except InforegError as error:
        err.print(f"{error.kind}: {error}", markup=False, style="red")
        sys.exit(error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        err.print(f"error: {where}{error.strerror or error}", markup=False, style="red")
        sys.exit(1)
