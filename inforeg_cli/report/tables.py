"""The comparison of runs as numbers: one table a protocol, one row a group of runs that differ in the seed alone."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from inforeg_cli.errors import InforegError
from inforeg_cli.measures import Measure
from inforeg_cli.report import statistics
from inforeg_cli.report.groups import Group, baseline_of, distinctions, grouped, sections
from inforeg_cli.report.runs import Run
from inforeg_cli.report.statistics import Difference, Summary

LEVEL = 0.05


@dataclass(frozen=True)
class Versus:
    """Accuracy less the baseline's, over the `seeds` both have. Intervals are None where none can be claimed.

    `adjusted` holds the two p-values after Holm over the table; `significant`: both are below `LEVEL`.
    """

    baseline: str
    seeds: tuple[int, ...]
    mean: float
    over_seeds: Difference | None
    over_clips: Difference | None
    adjusted: Mapping[str, float]
    significant: bool = False


@dataclass(frozen=True)
class Acted:
    """In how many runs a method did anything, and each modality's open epochs and regulated steps, means over runs."""

    runs: int
    open_epochs: Mapping[str, float]
    regulated_steps: Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """One group of runs. Scores are fractions; `auroc` is None unless there are two classes, `acted` where there is no
    method that could act."""

    label: str
    method: str
    modalities: tuple[str, ...]
    preset: str | None
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    accuracy: Summary
    macro_f1: Summary
    auroc: Summary | None
    head: Mapping[str, Summary]
    own_head: Mapping[str, Summary]
    best_epoch: tuple[int, ...]
    last: Summary | None
    chosen_on_test: Summary | None
    parameters: int | None
    seconds: Summary | None
    acted: Acted | None
    versus: Versus | None
    #: By the keys of the table's `measures`.
    measured: Mapping[str, Summary] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The label, and a warning beside it where a method's name would claim more than its runs did."""
        return name_of(self.label, self.acted, len(self.runs))


@dataclass(frozen=True)
class Table:
    """Rows of one protocol, and what a reader must know to compare them with anything else."""

    title: str
    dataset: str
    split: str
    epoch_rules: tuple[str, ...]
    scheme: str | None
    counts: Mapping[str, int]
    presets: tuple[str, ...]
    seeds: tuple[int, ...]
    modalities: tuple[str, ...]
    protocol: Mapping[str, Any]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    measures: Mapping[str, Measure] = field(default_factory=dict)


def comparison(runs: Sequence[Run], split: str = "test") -> list[Table]:
    """The tables of the finished runs among `runs`, scored on `split` (``test`` or ``val``) at their best epochs."""
    groups = grouped(runs)
    parts = sections(groups)
    leaders = [_leader(part) for part in parts]
    titles = [f"{leader.first.dataset}: {' + '.join(leader.first.modalities)}" for leader in leaders]
    titles = _told_apart(titles, [leader.protocol for leader in leaders])
    tables = [table_of(title, part, split) for title, part in zip(titles, parts, strict=True)]
    return sorted(tables, key=lambda table: (table.dataset, -len(table.modalities), _natural(table.title)))


def _leader(part: Sequence[Group]) -> Group:
    """A group on all of the section's modalities: it speaks for the section."""
    return max(part, key=lambda group: len(group.first.modalities))


def table_of(
    title: str,
    part: Sequence[Group],
    split: str,
    *,
    labels: Sequence[str] | None = None,
    baseline: Callable[[Group, Sequence[Group]], Group | None] = baseline_of,
) -> Table:
    """The groups as one table, which they are fit for; `labels` for theirs, `baseline` for what each is measured against."""
    first = _leader(part).first
    notes: list[str] = []
    labels = labels or _told_apart([group.label for group in part], [group.settings for group in part])
    rows = [_row(group, label, baseline(group, part), split, notes) for group, label in zip(part, labels, strict=True)]
    rows = sorted(_corrected(rows), key=_order)
    runs = [run for group in part for run in group.runs]
    for group, row_label in zip(part, labels, strict=True):
        if held_out := group.first.data.get("held_out"):
            train = group.first.data["counts"]["train"]
            notes.append(
                f"{row_label} trains on {train - held_out} of {train} clips: the rest is held out for its probes"
            )
        for run in group.repeats:
            notes.append(f"{run.name} repeats seed {run.seed} of another run of its experiment and is not counted")
    return Table(
        title=title,
        dataset=first.dataset,
        split=split,
        epoch_rules=_distinct(str(run.result.get("epoch_rule")) for run in runs),
        scheme=first.data.get("scheme"),
        counts=first.data.get("counts") or {},
        presets=_distinct(row.preset for row in rows if row.preset),
        seeds=tuple(sorted({run.seed for run in runs})),
        modalities=first.modalities,
        protocol=_leader(part).protocol,
        rows=tuple(rows),
        notes=_distinct(notes),
    )


def _told_apart(labels: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The labels; behind those that are not the only one of their kind, in brackets, the settings they differ in."""
    distinct = list(labels)
    for label in {label for label in labels if labels.count(label) > 1}:
        alike = [index for index, other in enumerate(labels) if other == label]
        for index, text in zip(alike, distinctions([settings[index] for index in alike]), strict=True):
            distinct[index] = f"{label} ({text})"
    return distinct


def _row(group: Group, label: str, baseline: Group | None, split: str, notes: list[str]) -> Row:
    results = [run.result for run in group.runs]
    scored = [result[split] for result in results]
    chosen = [result.get("test_if_chosen_on_test") or {} for result in results] if split == "test" else []
    return Row(
        label=label,
        method=group.first.label,
        modalities=group.first.modalities,
        preset=group.first.preset,
        runs=tuple(run.name for run in group.runs),
        seeds=group.seeds,
        accuracy=statistics.summarise(scores["accuracy"] for scores in scored),
        macro_f1=statistics.summarise(scores["macro_f1"] for scores in scored),
        auroc=_present(scores.get("auroc") for scores in scored),
        head=_by_modality(group, scored, "head"),
        own_head=_by_modality(group, scored, "own_head"),
        best_epoch=tuple(result["best_epoch"] for result in results if "best_epoch" in result),
        last=_present((result.get("last") or {}).get(split, {}).get("accuracy") for result in results),
        chosen_on_test=_present(scores.get("accuracy") for scores in chosen),
        parameters=results[0].get("parameters"),
        seconds=_present(result.get("seconds") for result in results),
        acted=acted_of(group, results),
        versus=_versus(group, baseline, split, notes),
    )


def _by_modality(group: Group, scored: Sequence[Mapping], kind: str) -> dict[str, Summary]:
    found = {
        modality: _present(((scores.get(kind) or {}).get(modality) or {}).get("accuracy") for scores in scored)
        for modality in group.first.modalities
    }
    return {modality: summary for modality, summary in found.items() if summary}


def name_of(label: str, acted: Acted | None, runs: int) -> str:
    """The label, and a warning beside it where the method acted in fewer than all of the `runs`."""
    if acted is None or acted.runs == runs:
        return label
    return f"{label}: acted in {acted.runs} of {runs} runs" if acted.runs else f"{label}: never acted"


def acted_of(group: Group, results: Sequence[Mapping]) -> Acted | None:
    """What the method did in the group's runs; None where there is none that could act."""
    if all(result.get("acted") is None for result in results):
        return None

    def means(key: str, count: Callable[[Any], int]) -> dict[str, float]:
        return {
            modality: float(np.mean([count((result.get(key) or {}).get(modality)) for result in results]))
            for modality in group.first.modalities
        }

    return Acted(
        runs=sum(bool(result.get("acted")) for result in results),
        open_epochs=means("open_epochs", lambda epochs: len(epochs or ())),
        regulated_steps=means("regulated_steps", lambda steps: steps or 0),
    )


def _versus(group: Group, baseline: Group | None, split: str, notes: list[str]) -> Versus | None:
    seeds = sorted({*group.seeds} & {*baseline.seeds}) if baseline else []
    if not seeds:
        return None
    ours, theirs = (
        {run.seed: float(run.result[split]["accuracy"]) for run in one.of_seeds(seeds)} for one in (group, baseline)
    )
    over_clips = None
    if len(seeds) >= statistics.FEWEST_SEEDS:
        try:
            pair = _correct([*group.of_seeds(seeds), *baseline.of_seeds(seeds)], split)
            over_clips = statistics.difference_over_clips(pair[: len(seeds)], pair[len(seeds) :])
        except InforegError as error:
            notes.append(f"no interval over clips for {group.label}: {error}")
    return Versus(
        baseline=baseline.label,
        seeds=tuple(seeds),
        mean=float(np.mean([ours[seed] - theirs[seed] for seed in seeds])),
        over_seeds=statistics.difference_over_seeds(ours, theirs),
        over_clips=over_clips,
        adjusted={},
    )


def _correct(runs: Sequence[Run], split: str) -> np.ndarray:
    """Which clips of `split` each run got right at its best epoch: boolean ``[runs, clips]``, in one order."""
    rows, order = [], None
    for run in runs:
        frame = run.predictions(split)
        classes = sorted((c for c in frame if re.fullmatch(r"fused\.\d+", str(c))), key=lambda c: int(c[6:]))
        if not classes or not {"id", "label"} <= {*frame}:
            raise InforegError(f"the predictions of {run.name} lack columns id, label or fused.0, ...")
        frame = frame.set_index(frame["id"].astype(str))
        order = frame.index if order is None else order
        if len(frame) != len(order) or not frame.index.is_unique or not frame.index.isin(order).all():
            raise InforegError(f"the predictions of {run.name} and {runs[0].name} are not of the same clips")
        frame = frame.loc[order]
        rows.append(frame[classes].to_numpy().argmax(axis=1) == frame["label"].to_numpy())
    return np.stack(rows)


def _corrected(rows: Sequence[Row]) -> list[Row]:
    """The rows with their p-values corrected over the table, and the mark of significance."""
    adjusted: dict[int, dict[str, float]] = {}
    for kind in ("over_seeds", "over_clips"):
        tested = {index: test for index, row in enumerate(rows) if row.versus and (test := getattr(row.versus, kind))}
        for index, p in zip(tested, statistics.holm([test.p for test in tested.values()]), strict=True):
            adjusted.setdefault(index, {})[kind] = p
    corrected = list(rows)
    for index, values in adjusted.items():
        row = rows[index]
        never = row.acted is not None and not row.acted.runs
        significant = len(values) == 2 and max(values.values()) < LEVEL and not never
        corrected[index] = replace(row, versus=replace(row.versus, adjusted=values, significant=significant))
    return corrected


def _order(row: Row) -> tuple:
    """Single modalities, then plain training, then the methods by name."""
    kind = 0 if len(row.modalities) == 1 else 1 if row.acted is None else 2
    return kind, _natural(row.label)


def _natural(text: str) -> list:
    """A key that sorts numbers in a text by value: 0.5 before 10."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return [float(part) if index % 2 else part for index, part in enumerate(parts)]


def _present(values: Any) -> Summary | None:
    return statistics.summarise(value for value in values if value is not None)


def _distinct(values: Any) -> tuple:
    return tuple(dict.fromkeys(values))
