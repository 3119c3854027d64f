"""What the paper's figures are drawn from: the runs of a study's rows, their curves over epochs, and their open windows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from inforeg_cli import studies
from inforeg_cli.errors import InforegError, Misuse, first_line
from inforeg_cli.files import canonical_json
from inforeg_cli.naming import count, ranges
from inforeg_cli.report.groups import Group, grouped
from inforeg_cli.report.paper import groups_of
from inforeg_cli.report.runs import Run
from inforeg_cli.settings import dotted
from inforeg_cli.studies import Study
from inforeg_cli.window import Window

#: Settings of single modalities, which runs on one alone and on all together have not in common.
_BY_MODALITY = ("inputs.", "encoders.")


@dataclass(frozen=True)
class Curves:
    """One number an epoch from several runs: `epochs` ``[E]``, `values` ``[seeds, E]``, NaN where a run has none."""

    epochs: np.ndarray
    values: np.ndarray

    def minus(self, other: "Curves") -> "Curves":
        return Curves(self.epochs, self.values - other.values)


@dataclass(frozen=True)
class Recorded:
    """Runs of one experiment, one a seed, and what they recorded."""

    name: str
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.seed for run in self.runs)

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.runs[0].modalities

    @property
    def epochs(self) -> int:
        return self.runs[0].experiment["epochs"]

    def of_seeds(self, seeds: Collection[int]) -> "Recorded":
        return Recorded(self.name, tuple(run for run in self.runs if run.seed in seeds))

    def setting(self, key: str) -> Any:
        """Of the experiment, by dotted key; the same in all runs."""
        return dotted(self.runs[0].experiment)[key]

    @cached_property
    def _metrics(self) -> list[pd.DataFrame]:
        return [table_of(run, "metrics", ("split", "epoch")) for run in self.runs]

    def curves(self, column: str, split: str = "train") -> Curves:
        """Of `column` in the metrics of `split`. Raises InforegError where a run has it not, or no numbers in it."""
        epochs, values = np.arange(self.epochs), []
        for run, metrics in zip(self.runs, self._metrics, strict=True):
            path = run.path / "metrics.parquet"
            if column not in metrics:
                raise InforegError(f"{path} has no {column}; train again with --force")
            try:
                by_epoch = metrics[metrics["split"] == split].set_index("epoch")[column]
                values.append(by_epoch.reindex(epochs).to_numpy(float))
            except ValueError as error:  # no numbers, or an epoch twice
                raise InforegError(f"{path} is damaged: {column}: {first_line(error)}") from None
        return Curves(epochs, np.stack(values))

    def scores(self, *path: str, split: str = "test") -> np.ndarray:
        """One number of each run's results at its best epoch on val ``[seeds]``, e.g. of ``"head", "audio", "accuracy"``."""
        found = []
        for run in self.runs:
            value: Any = run.result[split]
            for key in path:
                value = (value or {}).get(key)
            found.append(np.nan if value is None else float(value))
        return np.array(found)

    def head_accuracy(self, modality: str, split: str = "test") -> np.ndarray:
        """``[seeds]``: the fused head's with the other features absent; alone, all there is."""
        return self.scores(*(("head", modality) if len(self.modalities) > 1 else ()), "accuracy", split=split)

    @property
    def by_lead(self) -> tuple[str, ...]:
        """The modalities, the leading one first: by mean head accuracy on val at the best epoch."""
        return tuple(sorted(self.modalities, key=lambda name: -np.nanmean(self.head_accuracy(name, "val"))))

    def open_epochs(self, rule: Window) -> dict[str, list[int]]:
        """The epochs in which each modality's window was open in at least half of the runs; in runs without windows, those
        in which `rule` would have opened it, by the same traces."""
        votes = {name: np.zeros(self.epochs) for name in self.modalities}
        for index, run in enumerate(self.runs):
            for name, opened in (run.result["open_epochs"] if self.windowed else self._by_rule(index, rule)).items():
                votes[name][list(opened)] += 1
        return {name: np.flatnonzero(2 * found >= len(self.runs)).tolist() for name, found in votes.items()}

    @property
    def windowed(self) -> bool:
        """Whether a method acted in windows of these runs; nothing acts in joint training or on one modality."""
        return self.runs[0].experiment["method"]["name"] != "joint" and len(self.modalities) > 1

    def _by_rule(self, index: int, rule: Window) -> dict[str, list[int]]:
        if rule.leader not in (None, *self.modalities):  # another modality decides, and is not here
            return {}
        traces = {name: self.curves(f"trace.{name}").values[index].tolist() for name in self.modalities}
        opened = [
            rule.open_modalities({name: past[:epoch] for name, past in traces.items()}, per_modality=True)
            for epoch in range(self.epochs)
        ]
        return {name: [epoch for epoch, names in enumerate(opened) if name in names] for name in traces}


@dataclass(frozen=True)
class Material:
    """The runs of a study on one dataset: `rows` by name or, for a study with an axis, `cells` by the axis' value.

    missing: the rows, or the values, without a run. unpaired: seeds that were left out, because not all have them.
    """

    dataset: str
    modalities: tuple[str, ...]
    rows: Mapping[str, Recorded]
    cells: Mapping[Any, Recorded]
    missing: tuple[str, ...]
    unpaired: tuple[int, ...]

    @property
    def enough(self) -> bool:
        """Whether there is something to draw: every row, or two values of an axis."""
        return len(self.cells) > 1 if self.cells else bool(self.rows) and not self.missing

    @property
    def seeds(self) -> str:
        """``3 seeds (0–2)``, with those that not all have; by row where they have none in common."""
        by_text: dict[str, list[str]] = {}
        for name, found in {**self.rows, **self.cells}.items():
            by_text.setdefault(seeds_of(found.seeds), []).append(str(name))
        if len(by_text) == 1:
            more = f"; not of all: {ranges(self.unpaired)}" if self.unpaired else ""
            return next(iter(by_text)) + more
        return "; ".join(f"{text} of {' and '.join(names)}" for text, names in by_text.items())

    @property
    def common_seed(self) -> int:
        """The first seed that every row has. Raises InforegError where there is none."""
        common = set.intersection(*({*found.seeds} for found in self.rows.values()))
        if not common:
            raise InforegError(f"no seed has been run with all of its experiments: {self.seeds}")
        return min(common)

    @property
    def rule(self) -> Window:
        """The window that InfoReg has on this data; the paper's rule where no preset says otherwise."""
        return Window.model_validate(studies.settings_of(self.dataset, "inforeg")[0]["window"])


def seeds_of(seeds: Sequence[int]) -> str:
    return f"{count(len(seeds), 'seed')} ({ranges(sorted(seeds))})"


def gather(study: Study, runs: Sequence[Run], dataset: str, needs: Sequence[str] = ()) -> Material:
    """The finished runs of `study` on `dataset` that recorded all of `needs` (settings of ``record``).

    All are under one protocol (data, optimiser, batches, ...), that with the most rows, then the most experiments, and on
    all modalities or on one alone. Of several experiments that fit a row it is the one with the most seeds, of which those
    are kept that all have in common; what else was recorded makes no difference. Raises Misuse for a study with an axis
    that is no figure's.
    """
    runs = [run for run in runs if run.dataset == dataset and run.finished]
    modalities = max((run.modalities for run in runs), key=len, default=())
    usable = [run for run in runs if all(run.experiment.get("record", {}).get(need) for need in needs)]
    groups = [group for group in grouped(usable) if len(group.first.modalities) in (1, len(modalities))]
    rows = studies.rows_on(study, dict(enumerate(modalities)))
    fitting = {row.name: groups_of(study, row, groups, dataset) for row in rows}
    free = {"modalities", *(["epochs"] if any(row.times_epochs for row in rows) else [])}
    states: dict[str, dict[str, list[Group]]] = {}
    for name, found in fitting.items():
        for group in found:
            protocol = {key: value for key, value in group.protocol.items() if key not in free}
            state = canonical_json({key: value for key, value in protocol.items() if not key.startswith(_BY_MODALITY)})
            states.setdefault(state, {}).setdefault(name, []).append(group)
    chosen = max(states.values(), key=lambda by_row: (len(by_row), sum(map(len, by_row.values()))), default={})
    if not study.axes:
        found = {row.name: _recorded(row.name, chosen.get(row.name, ())) for row in rows}
    else:
        if len(rows) != 1 or len(study.axes) != 1:
            raise Misuse(
                f"'{study.title}' has {count(len(rows), 'row')} and {len(study.axes)} axes; a figure has one of each"
            )
        (row,), ((key, values),) = rows, study.axes.items()
        found = {}
        for value in values:
            here = [group for group in chosen.get(row.name, ()) if group.settings[key] == value]
            found[value] = _recorded(f"{row.name}, {key}={value}", here)
    recorded = {name: one for name, one in found.items() if one}
    kept = _paired(recorded)
    left_out = {seed for one in recorded.values() for seed in one.seeds}
    left_out -= {seed for one in kept.values() for seed in one.seeds}
    return Material(
        dataset,
        modalities,
        rows={} if study.axes else kept,
        cells=kept if study.axes else {},
        missing=tuple(f"{key}={name}" if study.axes else name for name in found if name not in kept),
        unpaired=tuple(sorted(left_out)),
    )


def table_of(run: Run, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """The parquet file `name` of a run's folder. Raises InforegError where it is absent, damaged, or lacks one of
    `columns`."""
    path = run.path / f"{name}.parquet"
    try:
        table = pd.read_parquet(path)
    except FileNotFoundError:
        raise InforegError(f"{path} does not exist; train again with --force") from None
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise InforegError(f"{path} cannot be read: {first_line(error)}") from None
    if lost := [column for column in columns if column not in table]:
        raise InforegError(f"{path} is damaged: it has no {lost[0]}; train again with --force")
    return table


def _paired(found: Mapping[Any, Recorded]) -> dict[Any, Recorded]:
    """Of the seeds that all have: else a difference between two could be one between seeds. All seeds where none is."""
    common = set.intersection(*({*recorded.seeds} for recorded in found.values())) if found else set()
    return {name: recorded.of_seeds(common) if common else recorded for name, recorded in found.items()}


def _recorded(name: str, groups: Sequence[Group]) -> Recorded | None:
    best = max(groups, key=lambda group: len(group.runs), default=None)
    return best and Recorded(name, best.runs)
