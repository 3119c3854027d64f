"""`inforeg predict`: what a trained model says of recordings without labels."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inforeg_cli import paths
from inforeg_cli.commands import options
from inforeg_cli.commands.evaluate import Checkpoint
from inforeg_cli.commands.prepare_output import Progress, warn_plainly
from inforeg_cli.commands.tabular import Table, print_table
from inforeg_cli.console import err
from inforeg_cli.errors import Misuse

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from inforeg_cli.data.sources import Failure
    from inforeg_cli.data.unlabelled.listing import Listed
    from inforeg_cli.evaluation.prediction import Predicted, Predictor

#: A table for people shows at most as many clips.
_MOST_SHOWN = 20


def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, name, or unique start of its id.")],
    recordings: Annotated[
        list[Path],
        typer.Argument(metavar="MANIFEST|FILES...", help="A CSV manifest, or the recordings themselves."),
    ],
    checkpoint: Annotated[
        Checkpoint, typer.Option(help="best: of the best epoch on val; last: of the last one.")
    ] = Checkpoint.best,
    format: options.FormatOption = options.Format.rich,
    out_path: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE|DIR",
            show_default=False,
            help="Write all clips to this .csv or .parquet file, or folder.",
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Exit with 0 though files were absent or unreadable; they are still named."
        ),
    ] = False,
    batch_size: Annotated[int | None, typer.Option(min=1, show_default="the run's", help="Clips a batch.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, show_default="one a core, up to 8", help="Decoding processes.")
    ] = None,
    device: options.Device = "auto",
    root: options.Root = None,
    runs: options.Runs = None,
) -> None:
    """Score recordings without labels: class and probabilities of each clip, of the fused output and by each modality.

    The recordings are decoded as the run's dataset was. A manifest is a CSV file with a column for each modality, under
    its name, that holds files relative to the manifest, or texts; an empty cell means that the clip lacks the modality,
    and it is scored without. A column "id" names the clips. Files alone go to the modality of their kind, and files
    that differ in their endings alone are one clip.

    "by sound" is the fused head with the other modalities' features absent. Files that cannot be decoded are named, the
    other clips are scored, and the command exits with 1.

    \b
      inforeg predict digits-inforeg-s0-1a2b3c4d new/manifest.csv --out scores.csv
      inforeg predict my-run talk.wav talk.png
    """
    from inforeg_cli.engine import device as devices
    from inforeg_cli.evaluation.prediction import Predictor
    from inforeg_cli.report.runs import find_run
    from inforeg_cli.run_folder import RunFolder

    folder = RunFolder(find_run(run, paths.runs(runs)))
    # Found out before the work rather than after it.
    target = out_path and _target(out_path, f"predict-{folder.path.name}-{checkpoint}.csv", recordings)
    predictor = Predictor.of(folder, checkpoint.value, devices.choose(device))
    listed = _listed(recordings, predictor)
    for note in listed.notes:
        err.print(note, markup=False)
    progress = Progress()

    def advanced(done: int, failed: int) -> None:
        if len(listed.clips) > _MOST_SHOWN:
            progress.advanced(done, len(listed.clips), failed + len(listed.failures))

    try:
        found = predictor.predict(listed.clips, batch_size, workers or min(8, os.cpu_count() or 1), advanced)
    finally:
        progress.stop()
    failures = [*listed.failures, *found.failures]
    if target:
        _write(target, found, failures)
    if found.clips:
        _show(found, f"{folder.path.name}, {checkpoint} checkpoint", format, written=target is not None)
    if failures:
        _report(failures, len(found.clips), allow_missing)


def _target(path: Path, name: str, recordings: list[Path]) -> Path:
    """The file that --out means, its folder made: a name with an ending, or `name` in a folder. Raises Misuse for another
    format, and where it would write over what is to be read."""
    if path.is_dir() or not path.suffix:
        path = path / name
    elif path.suffix not in (".csv", ".parquet"):
        raise Misuse(f"--out {path}: name a .csv or .parquet file, or a folder")
    read = {recording.resolve() for recording in recordings}
    for written in (path, _failed_beside(path)):
        if written.resolve() in read:
            raise Misuse(f"--out would write over {written}, which is to be read: name another file")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _listed(recordings: list[Path], predictor: "Predictor") -> "Listed":
    from inforeg_cli.data.unlabelled.listing import of_files, of_manifest

    manifests = [path for path in recordings if path.suffix.lower() == ".csv"]
    if not manifests:
        return of_files(recordings, predictor.preparation, predictor.modalities)
    if len(recordings) > 1:
        raise Misuse(f"{manifests[0]} is a manifest: give it alone, or recordings alone")
    return of_manifest(manifests[0], predictor.preparation, predictor.modalities, predictor.spare_columns)


def _show(found: "Predicted", title: str, format: options.Format, *, written: bool) -> None:
    """All clips for programs, the first ones for people."""
    if format in (options.Format.csv, options.Format.json):
        print_table(Table("", found.columns(), list(found.rows())), format)
        return
    clips = found.clips[:_MOST_SHOWN]
    present = [name for name in found.modalities if any(name in clip.alone for clip in clips)]
    rows = [
        (clip.id, _said(found, clip.fused), *(_said(found, clip.alone.get(name)) for name in present)) for clip in clips
    ]
    print_table(Table(title, ("clip", "class", *(f"by {name}" for name in present)), rows), format)
    if left := len(found.clips) - len(clips):
        hint = "" if written else "; all of them: --out FILE.csv, or --format csv"
        err.print(f"and {left:,} more{hint}", markup=False)


def _said(found: "Predicted", probabilities: "np.ndarray | None") -> str | None:
    """``happy (93.1%)``; None for a modality that the clip lacks."""
    name, chance = found.best(probabilities)
    return None if name is None else f"{name} ({chance:.1%})"


def _write(path: Path, found: "Predicted", failures: list["Failure"]) -> None:
    """The clips, and beside them those that could not be scored, if any, as <name>-failed.csv."""
    import pandas as pd

    _write_table(path, pd.DataFrame(found.rows(), columns=found.columns()))
    err.print(f"wrote {path}", markup=False)
    failed = _failed_beside(path)
    if not failures:
        failed.unlink(missing_ok=True)  # of an earlier call
        return
    rows = [
        (each.clip.id, each.modality, each.clip.named.get(each.modality, ""), each.what, each.detail)
        for each in failures
    ]
    _write_table(failed, pd.DataFrame(rows, columns=["id", "modality", "file", "reason", "detail"]))
    err.print(f"wrote {failed}", markup=False)


def _failed_beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}-failed.csv")


def _write_table(path: Path, table: "pd.DataFrame") -> None:
    from inforeg_cli.files import write_atomically

    if path.suffix == ".parquet":
        write_atomically(path, lambda temporary: table.to_parquet(temporary, index=False))
    else:
        # A file's name may hold bytes that are no UTF-8, which Python keeps as lone surrogates.
        write_atomically(path, lambda temporary: table.to_csv(temporary, index=False, errors="backslashreplace"))


def _report(failures: list["Failure"], scored: int, allow_missing: bool) -> None:
    """Raises Unusable with all that is wrong, unless it is only absent or unreadable files and these may be."""
    from inforeg_cli.data.preparing.report import Unusable
    from inforeg_cli.data.problems import Problems
    from inforeg_cli.naming import count

    problems = Problems()
    for failure in failures:
        problems.add(failure.clip.place(failure.modality), failure.what, failure.detail)
    clips = len({failure.clip.id for failure in failures})
    summary = f"{count(clips, 'clip')} could not be scored; {scored:,} {'was' if scored == 1 else 'were'}"
    if not (allow_missing and scored and all(failure.missing for failure in failures)):
        raise Unusable(summary, problems.lines())
    warn_plainly(summary)
    for line in problems.lines():
        err.print(f"  {line}", markup=False)
