"""What `inforeg evaluate` found, as tables for people: a section a measure, with the runs side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inforeg_cli.commands.tabular import Table
from inforeg_cli.measures import NATS, SCORES, robustness
from inforeg_cli.naming import ranges

_NONE = "–"
#: With more classes than this the tables show those that need looking at; pictures and the other formats show all.
_MOST_CLASSES = 20
_MOST_CELLS = 12
_WORST = 10
_MOST_SUBSETS = 16
_KINDS = {"head": "head", "own_head": "own head", "probe": "probe"}


@dataclass(frozen=True)
class Evaluated:
    """One run's evaluation: `title` is what a reader calls it, `facts` tell what was scored, `measures` are as kept."""

    title: str
    facts: Mapping[str, Any]
    classes: tuple[str, ...]
    measures: Mapping[str, Any]
    note: str | None = None


#: Of some runs a table in which they stand side by side.
Section = Callable[[Sequence[Evaluated]], Table]


def tables_of(block: Sequence[Evaluated], width: int | None = None) -> list[Table]:
    """The sections of what was measured. Runs are columns: as many beside each other as fit into `width` cells."""
    sections: list[tuple[str, Section]] = [
        ("accuracy", _accuracy),
        ("accuracy", _classes if len(block) == 1 else _f1_by_class),
        ("modalities", _modalities),
        ("contribution", _contribution),
        ("missing", _missing),
        ("damage", _damage if len(block) == 1 else _areas),
        ("dynamics", _dynamics),
    ]
    tables = []
    for measure, section in sections:
        measured = [one for one in block if measure in one.measures]
        for at_once in range(len(measured), 0, -1):
            parts = [section(measured[first : first + at_once]) for first in range(0, len(measured), at_once)]
            if width is None or at_once == 1 or max(map(_width, parts)) <= width:
                tables += parts
                break
        if section in (_classes, _f1_by_class) and measured:
            tables += _confusions(measured, width)
    return tables


def _width(table: Table) -> int:
    """Of the table on a terminal, as long as no cell is broken into lines."""
    columns = zip(table.columns, *(map(str, row) for row in table.rows), strict=True)
    return 1 + sum(3 + max(map(len, column)) for column in columns)


def _beside(title: str, block: Sequence[Evaluated], rows: Sequence[Mapping[str, str]]) -> Table:
    """A table of what each run has under each name, in the order of the run that has most of them."""
    names = dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row)
    cells = [(name, *(row.get(name, _NONE) for row in rows)) for name in names]
    return Table(title, ("", *(one.title for one in block)), cells)


def _accuracy(block: Sequence[Evaluated]) -> Table:
    rows = [
        {SCORES[name]: _score(name, one) for name, one in run.measures["accuracy"]["scores"].items()} for run in block
    ]
    return _beside("Fused output, in percent [95 % over clips]; likelihood in nats", block, rows)


def _classes(block: Sequence[Evaluated]) -> Table:
    """One run's precision, recall and F1."""
    found = block[0].measures["accuracy"]["by_class"]
    names, which = _shown_classes(block)
    rows = [
        (name, found[name]["clips"], *(_percent(found[name][score]) for score in ("precision", "recall", "f1")))
        for name in names
    ]
    return Table(f"By class, in percent{which}", ("class", "clips", "precision", "recall", "F1"), rows)


def _f1_by_class(block: Sequence[Evaluated]) -> Table:
    found = [run.measures["accuracy"]["by_class"] for run in block]
    names, which = _shown_classes(block)
    rows = [(name, found[0][name]["clips"], *(_percent(of_run[name]["f1"]) for of_run in found)) for name in names]
    return Table(f"F1 by class, in percent{which}", ("class", "clips", *(run.title for run in block)), rows)


def _shown_classes(block: Sequence[Evaluated]) -> tuple[list[str], str]:
    """All classes or, of many, those with the lowest F1 in any of the runs; and what to say of these."""
    found = [run.measures["accuracy"]["by_class"] for run in block]
    names = list(found[0])
    if len(names) <= _MOST_CLASSES:
        return names, ""
    worst = sorted(names, key=lambda name: min(of_run[name]["f1"] or 0.0 for of_run in found))[:_WORST]
    return worst, f"; the {_WORST} of {len(names)} with the lowest F1"


def _confusions(block: Sequence[Evaluated], width: int | None) -> list[Table]:
    """One run's matrix, where it is small; else the pairs of classes that are confused most."""
    run = block[0]
    if len(block) == 1 and len(run.classes) <= _MOST_CELLS:
        cells = [(name, *row) for name, row in zip(run.classes, run.measures["accuracy"]["confusion"], strict=True)]
        matrix = Table("Confusions: clips by true class (row) and predicted (column)", ("", *run.classes), cells)
        if width is None or _width(matrix) <= width:
            return [matrix]
    rows = []
    for run in block:
        pairs = [
            (clips, run.classes[true], run.classes[chosen])
            for true, cells in enumerate(run.measures["accuracy"]["confusion"])
            for chosen, clips in enumerate(cells)
            if true != chosen and clips
        ]
        for clips, true, chosen in sorted(pairs, key=lambda pair: -pair[0])[:3]:
            rows.append((run.title, true, chosen, clips))
    return [Table("Most frequent confusions", ("run", "true class", "predicted", "clips"), rows)] if rows else []


def _modalities(block: Sequence[Evaluated]) -> Table:
    rows = []
    for run in block:
        measured, row = run.measures["modalities"], {}
        for modality, found in measured["by_modality"].items():
            gaps = found.get("minus_alone", {})
            for kind, name in _KINDS.items():
                if kind in found:
                    gap = f"  {_points(gaps[kind])}" if kind in gaps else ""
                    constant = "  constant" if found[kind].get("constant") else ""
                    row[f"{modality}: {name}"] = _score("accuracy", found[kind]["accuracy"]) + gap + constant
            if "alone" in found:
                seeds = ranges(sorted(found["alone"]["seeds"]))
                row[f"{modality}: alone"] = f"{_percent(found['alone']['accuracy'])} (seed {seeds})"
        if "fused_probe" in measured:
            row["fused: probe"] = _score("accuracy", measured["fused_probe"]["accuracy"])
        rows.append(row)
    title = "Each modality: accuracy in percent [95 % over clips]"
    if any(": alone" in name for row in rows for name in row):
        title += ", difference to it alone"
    return _beside(title, block, rows)


def _contribution(block: Sequence[Evaluated]) -> Table:
    rows = []
    for run in block:
        found = run.measures["contribution"]
        accuracy, likelihood = (found["shapley"][score] for score in ("accuracy", "log_likelihood"))
        row = {name: f"{_points(accuracy[name])}, {_nats(likelihood[name])}" for name in accuracy}
        gains = [found["full"][score] - found["empty"][score] for score in ("accuracy", "log_likelihood")]
        row["all less none"] = f"{_points(gains[0])}, {_nats(gains[1])}"
        indices = [found["imbalance"][score] for score in ("accuracy", "log_likelihood")]
        row["imbalance"] = ", ".join(_NONE if index is None else f"{index:.2f}" for index in indices)
        rows.append(row)
    return _beside("Shapley values: of accuracy in points, of log-likelihood in nats", block, rows)


def _missing(block: Sequence[Evaluated]) -> Table:
    """All subsets or, where there are many, those with all, all but one, one and none."""
    rows, title = [], "With only these modalities present: accuracy in percent"
    for run in block:
        found = run.measures["missing"]
        if len(found) > _MOST_SUBSETS:
            all_present = len(found[0]["present"])
            found = [row for row in found if len(row["present"]) in (0, 1, all_present - 1, all_present)]
            title = (
                f"With only these modalities present, of {len(run.measures['missing'])} subsets: accuracy in percent"
            )
        rows.append({subset(row["present"]): _percent(row["accuracy"]) for row in found})
    return _beside(title, block, rows)


def _damage(block: Sequence[Evaluated]) -> Table:
    """One run's curves, and the areas under them."""
    rows = [
        (
            f"{modality}: {name}",
            f"{curve['strengths'][1]:g} to {curve['strengths'][-1]:g} {curve['unit']}",
            " ".join(_percent(value) for value in curve["accuracy"]),
            _percent(curve["area"]),
        )
        for modality, name, curve in _curves(block[0])
    ]
    rows.append(("robustness", "", "", _percent(robustness(block[0].measures["damage"]))))
    columns = ("damage", "strength", "accuracy, none to most", "area")
    return Table("One modality damaged: accuracy in percent, and the area under it", columns, rows)


def _areas(block: Sequence[Evaluated]) -> Table:
    rows = [
        {f"{modality}: {name}": _percent(curve["area"]) for modality, name, curve in _curves(run)}
        | {"robustness": _percent(robustness(run.measures["damage"]))}
        for run in block
    ]
    return _beside("One modality damaged: area under the accuracy, in percent", block, rows)


def _curves(run: Evaluated) -> list[tuple[str, str, Mapping[str, Any]]]:
    return [
        (modality, name, curve) for modality, found in run.measures["damage"].items() for name, curve in found.items()
    ]


def _dynamics(block: Sequence[Evaluated]) -> Table:
    rows = []
    found = [run.measures["dynamics"] for run in block]
    for run in found:
        row = {
            "best epoch on val": f"{run['best_epoch']} of {run['epochs']} ({_percent(run['best_val_accuracy'])} %)",
            "val accuracy at the end": f"{_percent(run['final_val_accuracy'])} %",
        }
        for modality, learnt in run["by_modality"].items():
            if "prime_epochs" in learnt:
                row[f"{modality}: prime epochs"] = ranges(learnt["prime_epochs"]) or "none"
            if "open_epochs" in learnt:
                row[f"{modality}: open epochs"] = ranges(learnt["open_epochs"]) or "none"
                row[f"{modality}: regulated steps"] = f"{learnt['regulated_steps']:,}"
            if "peak_trace" in learnt:
                row[f"{modality}: peak trace"] = f"{learnt['peak_trace']:.3g} (epoch {learnt['peak_epoch']})"
                row[f"{modality}: final trace"] = f"{learnt['final_trace']:.3g}"
        rows.append(row)
    return _beside("Learning dynamics", block, rows)


def subset(present: Sequence[str]) -> str:
    return " + ".join(present) or "none"


def _score(name: str, found: Mapping[str, float]) -> str:
    """A value with its interval, in percent or nats."""
    write = _nats if name in NATS else _points if name == "overconfidence" else _percent
    return f"{write(found['value'])} [{write(found['low'])}, {write(found['high'])}]"


def _percent(fraction: float | None) -> str:
    return _NONE if fraction is None else f"{100 * fraction:.1f}"


def _points(fraction: float) -> str:
    return f"{round(100 * fraction, 1) + 0.0:+.1f}"  # + 0.0: no negative zero


def _nats(value: float) -> str:
    return f"{value:.3f}"
