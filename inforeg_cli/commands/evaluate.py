"""`inforeg evaluate`: how good a trained model is, all together and by each modality."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from inforeg_cli import paths
from inforeg_cli.commands import options
from inforeg_cli.console import err, out
from inforeg_cli.files import write_text


class Split(StrEnum):
    train = "train"
    val = "val"
    test = "test"


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
    """Score runs on a split: accuracy and macro-F1 of the fused output, and of each modality by itself.

    "head" is the fused head with the other modalities' features absent; "own head" is the modality's own head, where
    the run has trained one. Macro-F1 is the plain mean over classes of each one's F1.
    """
    from inforeg_cli.engine import device as devices
    from inforeg_cli.report.runs import find_run

    chosen = devices.choose(device)
    folder = paths.runs(runs)
    rows = [_scored(find_run(name, folder), split.value, checkpoint.value, chosen) for name in run]
    text = _rendered(rows, format)
    out.print(text, markup=False) if isinstance(text, str) else out.print(text)
    if out_dir is not None:
        suffix = {"rich": "md", "markdown": "md", "csv": "csv", "json": "json"}[format.value]
        path = out_dir / f"evaluate-{split.value}-{checkpoint.value}.{suffix}"
        write_text(path, _rendered(rows, options.Format.markdown) if format == options.Format.rich else text)
        err.print(f"wrote {path}", markup=False)


def _scored(path: Path, split: str, which: str, device: Any) -> list[dict[str, Any]]:
    """One row an output: the fused one, then each modality's."""
    from inforeg_cli.data.batches import Clips
    from inforeg_cli.data.store import Store
    from inforeg_cli.engine.build import restore
    from inforeg_cli.engine.evaluate import predict
    from inforeg_cli.run_folder import RunFolder

    folder = RunFolder(path)
    store = Store.open(Path(folder.read_config()["data"]["path"]))
    experiment, transforms, model = restore(folder, store, which, device)
    clips = Clips(store, transforms, experiment.data.label, device)
    indices = store.split(experiment.data.scheme, split)
    scores = predict(model, clips, indices, experiment.batch_size, precision=experiment.precision).scores()
    outputs = sorted({name.rpartition(".")[0] for name in scores}, key=lambda name: (name.partition(".")[0], name))
    return [
        {
            "run": path.name,
            "split": split,
            "checkpoint": which,
            "clips": len(indices),
            "output": _spelt_out(output),
            "accuracy": scores[f"{output}.accuracy" if output else "accuracy"],
            "macro_f1": scores[f"{output}.macro_f1" if output else "macro_f1"],
        }
        for output in outputs
    ]


def _spelt_out(output: str) -> str:
    kind, _, modality = output.partition(".")
    return f"{modality} ({kind.replace('_', ' ')})" if modality else "fused"


def _rendered(rows: list[list[dict[str, Any]]], format: options.Format) -> Any:
    import json

    import pandas as pd
    from rich.table import Table

    flat = [row for group in rows for row in group]
    if format == options.Format.json:
        return json.dumps(flat, indent=2)
    if format == options.Format.csv:
        return pd.DataFrame(flat).to_csv(index=False).rstrip()
    shown = [{**row, "accuracy": f"{row['accuracy']:.2%}", "macro_f1": f"{row['macro_f1']:.2%}"} for row in flat]
    if format == options.Format.markdown:
        lines = ["| " + " | ".join(shown[0]) + " |", "|" + " --- |" * len(shown[0])]
        return "\n".join([*lines, *("| " + " | ".join(str(value) for value in row.values()) + " |" for row in shown)])
    head = shown[0]
    table = Table(
        title=f"{head['split']} split, {head['clips']} clips, {head['checkpoint']} checkpoint", title_justify="left"
    )
    for heading in ("run", "output", "accuracy", "macro-F1"):
        table.add_column(heading, justify="left" if heading in ("run", "output") else "right")
    for group in rows:
        for index, row in enumerate(group):
            shown_row = shown.pop(0)
            table.add_row(row["run"] if index == 0 else "", row["output"], shown_row["accuracy"], shown_row["macro_f1"])
        table.add_section()
    return table
