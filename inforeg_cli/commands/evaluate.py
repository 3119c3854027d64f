"""`inforeg evaluate`: what a trained model knows, by which modality, and what happens when one fails."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inforeg_cli import paths
from inforeg_cli.commands import options
from inforeg_cli.console import err, warn
from inforeg_cli.errors import Misuse
from inforeg_cli.files import write_text
from inforeg_cli.measures import DEFINITIONS, MEASURES, chosen
from inforeg_cli.naming import nearest

if TYPE_CHECKING:
    from inforeg_cli.commands.evaluate_tables import Evaluated
    from inforeg_cli.evaluation.subject import Subject

_SPLITS = ("train", "val", "test")


class Checkpoint(StrEnum):
    best = "best"
    last = "last"


def evaluate(
    run: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="A run's folder, name, or unique start of its id.")
    ],
    split: Annotated[str, typer.Option(metavar="|".join(_SPLITS), help="Which clips are scored.")] = "test",
    checkpoint: Annotated[
        Checkpoint, typer.Option(help="best: of the best epoch on val; last: of the last one.")
    ] = Checkpoint.best,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar=",".join(MEASURES), show_default="all", help="Only these measures; tsne needs --out."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|STORE",
            show_default="the run's",
            help="Score another prepared set with the same classes and modalities; the run keeps nothing of it.",
        ),
    ] = None,
    allow_changed: Annotated[
        bool, typer.Option("--allow-changed", help="Go on though the data changed since training; nothing is kept.")
    ] = False,
    format: options.FormatOption = options.Format.rich,
    device: options.Device = "auto",
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out", show_default=False, help="Also write tables, per-clip predictions and pictures to this folder."
        ),
    ] = None,
    root: options.Root = None,
    runs: options.Runs = None,
) -> None:
    """Say what runs know, by which modality, and what happens when one is missing or damaged.

    Several runs stand side by side. What is measured is kept in each run's folder, for `inforeg compare runs --measure`,
    and so are the predictions of a split that has none there.
    """
    measures = chosen(only, pictures=out_dir is not None)
    if split not in _SPLITS:
        raise Misuse(f"--split: there is no split '{split}'; {nearest(split, _SPLITS)}")
    from inforeg_cli.commands.evaluate_output import show, text_of
    from inforeg_cli.engine import device as devices
    from inforeg_cli.evaluation.subject import open_subject
    from inforeg_cli.report.runs import find_run

    folder, where = paths.runs(runs), devices.choose(device)
    evaluated, written = [], []
    paths_of_runs = dict.fromkeys(find_run(name, folder) for name in run)
    if out_dir is not None:  # what cannot be written to is said before minutes of work
        out_dir.mkdir(parents=True, exist_ok=True)
    for path in paths_of_runs:
        subject = open_subject(path, split, checkpoint.value, where, dataset=dataset, allow_changed=allow_changed)
        if subject.note:
            warn(subject.note + "; nothing of it is kept in the run")
        if not subject.run.finished:
            warn(f"{subject.run.name} has not finished: this is where its training stands")
        one, files = _evaluated(subject, measures, out_dir, asked=bool(only))
        evaluated.append(one)
        written += files
    evaluated = _titled(evaluated)
    show(evaluated, format)
    if out_dir is not None:
        stem = f"evaluate-{split}-{checkpoint.value}"
        written += _pictures(evaluated, out_dir, stem)
        extension = "md" if format in (options.Format.rich, options.Format.markdown) else format.value
        table = out_dir / f"{stem}.{extension}"
        write_text(table, text_of(evaluated, format) + "\n")
        for path in (table, *written):
            err.print(f"wrote {path}", markup=False)


# Each number is defined in one place, and --help is where people look.
evaluate.__doc__ = "\n".join(
    [evaluate.__doc__, "    \b", *(f"    {name}: {meaning}." for name, meaning in DEFINITIONS.items())]
)


def _evaluated(
    subject: "Subject", measures: tuple[str, ...], out_dir: Path | None, asked: bool
) -> "tuple[Evaluated, list[Path]]":
    """The run's measures, which it keeps if they are of its own data, and the files written to `out_dir`."""
    from inforeg_cli.commands.evaluate_tables import Evaluated
    from inforeg_cli.evaluation import keep
    from inforeg_cli.evaluation.assess import Assessment
    from inforeg_cli.evaluation.subsets import MOST_MODALITIES
    from inforeg_cli.measures import PICTURES

    name = subject.run.name
    if len(subject.experiment.modalities) > MOST_MODALITIES and not asked:
        measures = tuple(measure for measure in measures if measure not in ("contribution", "missing"))
        warn(f"{name} has more than {MOST_MODALITIES} modalities: contribution and missing are left out")
    assessment, found = Assessment(subject, subject.run.path.parent), {}
    with err.status("") as status:
        for measure in measures:
            status.update(f"{name}: {measure}")
            if measure not in PICTURES:
                found[measure] = assessment.measure(measure)
        written = []
        try:
            keep.in_run(subject, found)
        except OSError as error:  # somebody else's run, say: the answer is worth more than its record
            warn(f"{name} cannot keep its evaluation ({error.strerror or error})")
        if out_dir is not None:
            status.update(f"{name}: pictures")
            written = keep.in_folder(assessment, measures, out_dir)
    facts = {
        "run": name,
        "label": subject.run.label,
        "seed": subject.run.seed,
        "finished": subject.run.finished,
        "dataset": subject.store.name,
        "data": subject.store.digest,
        "split": subject.split,
        "checkpoint": subject.which,
        "clips": len(subject.indices),
    }
    return Evaluated(name, facts, subject.classes, found, subject.note), written


def _pictures(evaluated: "list[Evaluated]", folder: Path, stem: str) -> list[Path]:
    """Those in which runs that were asked about the same clips stand side by side."""
    from inforeg_cli.commands.evaluate_output import blocks
    from inforeg_cli.evaluation import keep

    written, found = [], blocks(evaluated)
    for block in found:
        facts = block[0].facts
        name = stem if len(found) == 1 else f"{stem}-{facts['dataset']}-{facts['data'][:8]}"
        written += keep.side_by_side({one.title: one.measures for one in block}, folder, name)
    return written


def _titled(evaluated: "list[Evaluated]") -> "list[Evaluated]":
    """Each called by its label, as far as that tells it from the others; else with its seed, or by its name."""
    from dataclasses import replace

    for title in ("{label}", "{label} s{seed}", "{run}"):
        titles = [title.format(**one.facts) for one in evaluated]
        if len(set(titles)) == len(titles):
            break
    return [replace(one, title=name) for one, name in zip(evaluated, titles, strict=True)]
