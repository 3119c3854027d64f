"""What can be said of one row's score beside another's: differences to baselines, and which score is the best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from inforeg_cli.report import statistics
from inforeg_cli.report.clips import ResampledScores, Wanted
from inforeg_cli.report.tables import LEVEL, Versus
from inforeg_cli.studies import Study

Key = tuple[str, str]  # a row's name and a measure


@dataclass(frozen=True)
class Measured:
    """A score of a row by seed: of the ``fused`` output, a modality's ``head`` or its ``own_head``, as `kind` says.

    wanted: the same scores as resamples of clips know them. acts: whether a method was there that acted, or none was.
    """

    kind: Literal["fused", "head", "own_head"]
    values: Mapping[int, float]
    wanted: Mapping[int, Wanted]
    acts: bool = True


def compared(
    study: Study, measured: Mapping[Key, Measured], measures: Sequence[str], resampled: ResampledScores
) -> dict[Key, Versus]:
    """The difference of each row's scores to its baseline's, with p-values corrected over the table (Holm)."""
    found: dict[Key, Versus] = {}
    for row in study.rows:
        for measure in measures:
            ours, theirs = measured.get((row.name, measure)), measured.get((row.baseline or "", measure))
            if ours and theirs and (versus := _versus(row.baseline, ours, theirs, resampled)):
                found[row.name, measure] = versus
    adjusted: dict[Key, dict[str, float]] = {key: {} for key in found}
    for kind in ("over_seeds", "over_clips"):
        tested = {key: test.p for key, versus in found.items() if (test := getattr(versus, kind))}
        for key, p in zip(tested, statistics.holm(list(tested.values())), strict=True):
            adjusted[key][kind] = p
    return {
        key: replace(
            versus,
            adjusted=adjusted[key],
            significant=len(adjusted[key]) == 2 and max(adjusted[key].values()) < LEVEL and measured[key].acts,
        )
        for key, versus in found.items()
    }


def marked(
    study: Study, measured: Mapping[Key, Measured], resampled: ResampledScores
) -> dict[Key, Literal["best", "second"]]:
    """Which scores can be told to be the best of their column, and the second.

    The best is marked where its difference to every other row has both intervals above zero, over seeds and over clips;
    the second where the best is, and the same holds for it and all rows below. In a table with columns for several
    experiments each of those is a column of its own.
    """
    marks: dict[Key, Literal["best", "second"]] = {}
    columns: dict[tuple[str, str | None], list[Key]] = {}
    cells = {row.name: row.cell and row.cell[1] for row in study.rows}
    for (name, measure), found in measured.items():
        if found.values:
            columns.setdefault((measure, cells[name]), []).append((name, measure))
    for keys in columns.values():
        ranked = sorted(keys, key=lambda key: -float(np.mean(list(measured[key].values.values()))))
        for place, mark in enumerate(("best", "second")):
            below = ranked[place + 1 :]
            above_all = all(_above(measured[ranked[place]], measured[key], resampled) for key in below)
            if not below or not above_all:
                break
            marks[ranked[place]] = mark
    return marks


def _versus(baseline: str, ours: Measured, theirs: Measured, resampled: ResampledScores) -> Versus | None:
    seeds = sorted(ours.values.keys() & theirs.values.keys())
    if not seeds:
        return None
    mean = float(np.mean([ours.values[seed] - theirs.values[seed] for seed in seeds]))
    over_clips = None
    if len(seeds) >= statistics.FEWEST_SEEDS:
        pairs = [[one.wanted[seed] for seed in seeds] for one in (ours, theirs)]
        over_clips = resampled.difference(*pairs, mean)
    return Versus(
        baseline=baseline,
        seeds=tuple(seeds),
        mean=mean,
        over_seeds=statistics.difference_over_seeds(ours.values, theirs.values),
        over_clips=over_clips,
        adjusted={},
    )


def _above(ours: Measured, theirs: Measured, resampled: ResampledScores) -> bool:
    versus = _versus("", ours, theirs, resampled)
    intervals = (versus.over_seeds, versus.over_clips) if versus else (None, None)
    return all(interval is not None and interval.low > 0 for interval in intervals)
