"""How long a sweep will take, from what finished runs on the same data took: an estimate, and what it rests on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from inforeg_cli.files import canonical_json
from inforeg_cli.report.runs import Run
from inforeg_cli.sweep.cells import Cell

#: What makes steps of one method cost the same.
_MODEL = ("modalities", "inputs", "encoders", "fusion", "batch_size", "precision")


@dataclass(frozen=True)
class Estimate:
    """seconds: until all `cells` are trained, None where nothing was measured. runs: how many finished ones say so.

    borrowed: of the cells, those whose own method and model nothing has measured; they count as the slowest of their
    like, or else of the data.
    """

    seconds: float | None
    cells: int
    runs: int
    borrowed: int


def estimate(cells: Sequence[Cell], finished: Iterable[Run], dataset: str, device: str, jobs: int) -> Estimate:
    """Of training `cells` on `dataset`, `jobs` at a time, on this kind of device (``cpu``, ``cuda``)."""
    by_method: dict[str, list[float]] = {}
    by_model: dict[str, list[float]] = {}
    everything: list[float] = []
    for run in finished:
        measured = _seconds_per_epoch(run, device) if run.dataset == dataset else None
        if measured is not None:
            model = _model(run.experiment)
            by_method.setdefault(run.label + model, []).append(measured)
            by_model.setdefault(model, []).append(measured)
            everything.append(measured)
    if not everything or not cells:
        return Estimate(0.0 if not cells else None, len(cells), len(everything), 0)
    total, borrowed = 0.0, 0
    for cell in cells:
        model = _model(cell.experiment.model_dump(mode="json", include=set(_MODEL)))
        if own := by_method.get(cell.experiment.label + model):
            total += median(own) * cell.experiment.epochs
        else:
            total += max(by_model.get(model, everything)) * cell.experiment.epochs
            borrowed += 1
    # The last cells of a sweep do not fill all its jobs: never shorter than the jobs there are cells for.
    return Estimate(total / min(jobs, len(cells)), len(cells), len(everything), borrowed)


def _seconds_per_epoch(run: Run, device: str) -> float | None:
    result, epochs = run.result or {}, run.experiment.get("epochs")
    seconds, kind = result.get("seconds"), str(result.get("device", "")).partition(":")[0]
    if kind != device or not isinstance(seconds, int | float) or not isinstance(epochs, int) or epochs < 1:
        return None
    return seconds / epochs


def _model(experiment: Mapping[str, Any]) -> str:
    return canonical_json({key: experiment.get(key) for key in _MODEL})
