"""`inforeg evaluate`: how good a trained model is, all together and by each modality."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inforeg_cli import paths
from inforeg_cli.commands import options
from inforeg_cli.commands.tabular import Table, as_text, print_table
from inforeg_cli.console import err
from inforeg_cli.files import write_text

if TYPE_CHECKING:
    import torch


class Split(StrEnum):
    train = "train"
    val = "val"
    test = "test"


#: What is scored, and what people call it; the last one has a column only where a run has it.
_METRICS = {"accuracy": "accuracy", "macro_f1": "macro-F1", "auroc": "AUROC"}


class Checkpoint(StrEnum):
    best = "best"
    last = "last"


def evaluate(
    run: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="A run's folder, name, or unique start of its id.")
    ],
    split: Annotated[Split, typer.Option(help="Which clips are scored.")] = Split.test,
    checkpoint: Annotated[
        Checkpoint, typer.Option(help="best: of the best epoch on val; last: of the last one.")
    ] = Checkpoint.best,
    format: options.FormatOption = options.Format.rich,
    device: options.Device = "auto",
    out_dir: Annotated[
        Path | None, typer.Option("--out", show_default=False, help="Also write the table to this folder.")
    ] = None,
    root: options.Root = None,
    runs: options.Runs = None,
) -> None:
    """Score runs on a split: accuracy, macro-F1 and, of two classes, AUROC of the fused output and of each modality.

    "head" is the fused head with the other modalities' features absent; "own head" is the modality's own head, where
    the run has trained one. Macro-F1 is the plain mean over classes of each one's F1.
    """
    from inforeg_cli.engine import device as devices
    from inforeg_cli.report.runs import find_run

    chosen, folder = devices.choose(device), paths.runs(runs)
    rows = [
        row for name in run for row in _scored(find_run(name, folder), split.value, checkpoint.value, chosen, format)
    ]
    title = f"{split.value} split, {checkpoint.value} checkpoint"
    columns = ("run", "clips", "output", *_METRICS.values())
    if all(area is None for *_, area in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    table = Table(title, columns, rows)
    print_table(table, format)
    if out_dir is not None:
        extension = {"rich": "md", "markdown": "md"}.get(format.value, format.value)
        path = out_dir / f"evaluate-{split.value}-{checkpoint.value}.{extension}"
        write_text(path, as_text(table, format) + "\n")
        err.print(f"wrote {path}", markup=False)


def _scored(path: Path, split: str, which: str, device: "torch.device", format: options.Format) -> list[tuple]:
    """One row an output: the fused one, then each modality's. Percent for people, plain fractions for programs."""
    from inforeg_cli.data.batches import Clips
    from inforeg_cli.data.catalogue import store_of_run
    from inforeg_cli.engine.build import restore
    from inforeg_cli.engine.evaluate import predict
    from inforeg_cli.run_folder import RunFolder

    folder = RunFolder(path)
    store = store_of_run(folder.read_config())
    experiment, transforms, model = restore(folder, store, which, device)
    clips = Clips(store, transforms, experiment.data.label, device)
    indices = store.split(experiment.data.scheme, split)
    predictions = predict(model, clips, indices, experiment.batch_size, precision=experiment.precision)
    scores = predictions.scores()
    exact = format in (options.Format.csv, options.Format.json)
    rows = []
    for output in predictions.log_probabilities:
        kind, _, modality = output.partition(".")
        name = f"{modality}, {kind.replace('_', ' ')}" if modality else "fused"
        prefix = f"{output}." if modality else ""
        numbers = [scores.get(prefix + metric) for metric in _METRICS]
        shown = numbers if exact else [None if number is None else f"{number:.2%}" for number in numbers]
        rows.append((path.name, len(indices), name, *shown))
    return rows
