"""`inforeg compare figures`: the paper's measured figures, drawn from what has been run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inforeg_cli import paths
from inforeg_cli.commands import options
from inforeg_cli.commands.run_choice import on_one_dataset
from inforeg_cli.console import err, out
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.naming import count

if TYPE_CHECKING:
    from inforeg_cli.report.figures.features import Extracted
    from inforeg_cli.report.figures.paper import Extract, Picture
    from inforeg_cli.report.runs import Run


def compare_figures(
    number: Annotated[
        list[str] | None,
        typer.Argument(metavar="NUMBER", show_default="all", help="1, 3, 4, 5, 6, 7 or 8, as in the paper."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME|STORE", show_default="that of the runs", help="Which runs are drawn."),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", show_default="figures/<dataset>/ under the root", help="The folder for the pictures."),
    ] = None,
    device: options.Device = "auto",
    root: options.Root = None,
    runs: options.Runs = None,
) -> None:
    """Draw the paper's figures from what has been run, as PNG and SVG.

    \b
    1  Fisher traces of joint training, and of each modality alone
    3  gaps of gradient norms and traces between the leading modality and others
    4  cosine similarities between the gradients of batches
    5  accuracies and traces of InfoReg and of joint training
    6  t-SNE of features: joint training, twice as long a one, InfoReg
    7  accuracy of InfoReg over beta
    8  accuracy of InfoReg over K

    What has not been run is named, with the command that runs it. Nothing is computed but the features of figure 6.
    """
    from inforeg_cli.report.figures import paper, style
    from inforeg_cli.report.searches import all_searches

    wanted = [_number(text, paper.NUMBERS) for text in dict.fromkeys(number or map(str, paper.NUMBERS))]
    runs_dir = paths.runs(runs)
    name, everything = on_one_dataset(runs_dir, dataset, "paper/figure5")
    found = [run for run in all_searches(runs_dir).untuned(everything) if run.finished]
    folder = out_dir or paths.root() / "figures" / name
    drawn, failures = 0, []
    for one in wanted:
        try:
            picture = paper.picture(one, found, name, extractor(device))
            if picture.figure:
                drawn += 1
                image, drawing = style.save(picture.figure, folder, picture.name)
                out.print(f"figure {one}: {image} and {drawing.suffix}: {picture.of}", markup=False)
            _say_missing(picture, runs)
        except Misuse:
            raise
        except InforegError as error:  # the other figures are none the worse
            failures.append(f"figure {one}: {error}")
    if failures:
        raise InforegError("\n".join(failures))
    if not drawn:
        raise InforegError(f"nothing to draw on {name} yet")


def _number(text: str, known: Sequence[int]) -> int:
    if not text.isdecimal() or int(text) not in known:
        hint = "; figure 2 shows the method, and nothing measured" if text == "2" else ""
        raise Misuse(f"there is no figure '{text}' to draw; there is: {', '.join(map(str, known))}{hint}")
    return int(text)


def _say_missing(picture: "Picture", runs: Path | None) -> None:
    if picture.missing:
        command = picture.command + ([] if runs is None else ["--runs", str(runs)])
        fate = f"lacks {count(len(picture.missing), 'value')}" if picture.figure else "is not drawn"
        err.print(f"figure {picture.number} {fate}: {picture.lacking(command)}", markup=False)


def extractor(device: str) -> "Extract":
    """What computes the features of a run's encoders on the test split, at its best epoch on val, on `device`."""

    def extract(run: "Run") -> "Extracted":
        from inforeg_cli.engine import device as devices
        from inforeg_cli.evaluation.subject import open_subject
        from inforeg_cli.report.figures.features import Extracted

        subject = open_subject(run.path, "test", "best", devices.choose(device))
        features = subject.features(subject.indices)
        return Extracted(features.target, features.by_modality)

    return extract
