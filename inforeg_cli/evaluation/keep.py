"""Where an evaluation goes: into the run's own folder, and into one that a person names, with pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inforeg_cli import evaluation_record as record
from inforeg_cli.evaluation.assess import Assessment
from inforeg_cli.evaluation.modalities import with_fused
from inforeg_cli.evaluation.scores import confusion
from inforeg_cli.evaluation.subject import Subject
from inforeg_cli.files import write_atomically
from inforeg_cli.run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def in_run(subject: Subject, measured: Mapping[str, Any]) -> None:
    """Keep what was measured on the run's own data, and the predictions where the run has none of this checkpoint."""
    if subject.note is not None:
        return
    folder, path = RunFolder(subject.run.path), subject.run.path
    if "accuracy" in measured:
        predictions = path / f"predictions-{subject.split}-{subject.which}.parquet"
        if not predictions.is_file() or predictions.stat().st_mtime_ns < subject.checkpoint.stat().st_mtime_ns:
            folder.write_predictions(subject.split, subject.which, subject.predictions.table(subject.store.ids))
    if measured:
        record.write(path, subject.split, subject.which, subject.about, measured)


def in_folder(assessment: Assessment, asked: Sequence[str], folder: Path) -> list[Path]:
    """Write one run's predictions and the pictures of it alone, as far as they were `asked` for; the files."""
    from inforeg_cli.report.figures.confusion import confusion_figure
    from inforeg_cli.report.figures.style import save

    subject = assessment.subject
    stem = f"{subject.run.name}-{subject.split}-{subject.which}"
    if subject.other:
        stem += f"-on-{subject.store.name}"
    written = []
    if "accuracy" in asked:
        path = folder / f"{stem}-predictions.parquet"
        table = subject.predictions.table(subject.store.ids)
        write_atomically(path, lambda temporary: table.to_parquet(temporary, index=False))
        fused = subject.predictions.log_probabilities["fused"]
        counts = confusion(fused, subject.predictions.target)
        title = f"{subject.run.label} on {subject.store.name}, {subject.split}"
        written += [path, *save(confusion_figure(counts, subject.classes, title), folder, f"{stem}-confusion")]
    if "tsne" in asked:
        written += save(_embedding(assessment), folder, f"{stem}-tsne")
    return written


def side_by_side(runs: Mapping[str, Mapping[str, Any]], folder: Path, stem: str) -> list[Path]:
    """Write the pictures in which runs stand side by side, of their measures by title; the files."""
    from inforeg_cli.report.figures.robustness import damage_figure, missing_figure
    from inforeg_cli.report.figures.style import save

    damaged, missing = (
        {title: measured[measure] for title, measured in runs.items() if measure in measured}
        for measure in ("damage", "missing")
    )
    written = []
    if damaged:
        written += save(damage_figure(damaged, missing), folder, f"{stem}-damage")
    if missing:
        written += save(missing_figure(missing), folder, f"{stem}-missing")
    return written


def _embedding(assessment: Assessment) -> "Figure":
    """t-SNE of each encoder's features and of all side by side, with the accuracy of the probe on the same features."""
    from inforeg_cli.report.figures.embedding import tsne_figure

    subject, found = assessment.subject, assessment.probes
    features = with_fused(subject.asked_features.by_modality)
    target = subject.predictions.target
    accuracies = {name: float((one.log_probabilities.argmax(axis=1) == target).mean()) for name, one in found.items()}
    titles = {name: f"{name}: probe {value:.1%}" for name, value in accuracies.items()}
    return tsne_figure(features, target, subject.classes, titles, subject.experiment.seed)
