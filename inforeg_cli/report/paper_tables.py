"""The paper's tables as numbers: what was measured for each printed row, beside what was printed for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from inforeg_cli import studies
from inforeg_cli.report import paper, statistics
from inforeg_cli.report.clips import ResampledScores, Wanted
from inforeg_cli.report.comparing import Measured, compared, marked
from inforeg_cli.report.epochs import RULES, Scores
from inforeg_cli.report.groups import Group
from inforeg_cli.report.statistics import Summary
from inforeg_cli.report.tables import Acted, Versus, acted_of, name_of
from inforeg_cli.studies import Study, StudyRow

FUSED = ("accuracy", "macro_f1", "auroc")


@dataclass(frozen=True)
class Score:
    """One score of a row. Fractions; `printed` is the paper's, and None where it has none.

    output: whose score it is, ``fused``, ``head`` or ``own_head``; None where nothing was run.
    mark: whether it can be told to be the best of its column, or the second.
    """

    output: Literal["fused", "head", "own_head"] | None
    measured: Summary | None
    printed: float | None
    versus: Versus | None = None
    mark: Literal["best", "second"] | None = None

    @property
    def gap(self) -> float | None:
        """Measured less printed."""
        return None if self.measured is None or self.printed is None else self.measured.mean - self.printed


@dataclass(frozen=True)
class Row:
    """A row of the paper's table, or one of ours. `scores` by measure: of the fused output, or of a modality by its name."""

    label: str
    ours: bool
    cell: tuple[str, str] | None
    method: str | None
    preset: str | None
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int | None
    scores: Mapping[str, Score]
    acted: Acted | None

    @property
    def name(self) -> str:
        """The label, whether the paper has such a row, and a warning where the method's name would claim too much."""
        return name_of(f"{self.label} (ours)" if self.ours else self.label, self.acted, len(self.runs))

    @property
    def n(self) -> int:
        """Of how many seeds its scores are."""
        return max((score.measured.n for score in self.scores.values() if score.measured), default=0)


@dataclass(frozen=True)
class Table:
    """A table of the paper on one dataset, whose rows share one protocol.

    measures: what its rows have scores of. metric: the one asked for, None for the table's own. missing: by row the seeds
    of the study that have not been run. in_paper: whether the paper's table has numbers for the dataset.
    """

    number: int
    study: str
    title: str
    dataset: str
    split: str
    epoch_rule: str
    metric: str | None
    scheme: str | None
    counts: Mapping[str, int]
    presets: tuple[str, ...]
    seeds: tuple[int, ...]
    modalities: tuple[str, ...]
    measures: tuple[str, ...]
    rows: tuple[Row, ...]
    missing: Mapping[str, tuple[int, ...]]
    in_paper: bool
    notes: tuple[str, ...] = ()

    @property
    def started(self) -> bool:
        """Whether anything of it has been run."""
        return any(row.runs for row in self.rows)


class PaperTables:
    """The tables that `groups` of runs make. Each run's files are read once.

    metric: instead of each table's own. epoch_rule: one of `epochs.RULES`.
    """

    def __init__(self, groups: Sequence[Group], metric: str | None = None, epoch_rule: str = "val"):
        self._groups, self._metric, self._rule = groups, metric, RULES[epoch_rule]
        self._scores = Scores(self._rule)
        self._resampled = ResampledScores(self._rule.predictions)

    def table(self, number: int, dataset: str) -> Table:
        """Table `number` on `dataset` from the runs that fit its rows."""
        study = studies.load(paper.study_of(number))
        chosen = paper.choose(study, self._groups, dataset)
        return self.table_of(number, study, dataset, chosen.groups, chosen.notes)

    def table_of(
        self, number: int, study: Study, dataset: str, chosen: Mapping[str, Group], notes: Sequence[str] = ()
    ) -> Table:
        """The table with each row's runs given, by the row's name; they share a protocol."""
        groups = list(chosen.values())
        modalities = groups[0].first.modalities if groups else _printed_modalities(study, dataset)
        measures = self._measures(study, modalities)
        measured = {
            (row.name, measure): self._measured(chosen[row.name], measure)
            for row in study.rows
            if row.name in chosen
            for measure in measures
        }
        problems = self._resampled.make(
            one
            for found in measured.values()
            if len(found.values) >= statistics.FEWEST_SEEDS
            for one in found.wanted.values()
        )
        fused = [measure for measure in measures if measure in FUSED]
        versus = compared(study, measured, fused or measures, self._resampled)
        marks = marked(study, measured, self._resampled)
        rows = []
        for row in study.rows:
            scores = {
                measure: Score(
                    output=found and found.kind,
                    measured=found and statistics.summarise(found.values.values()),
                    printed=self._printed(row, dataset, measure),
                    versus=versus.get((row.name, measure)),
                    mark=marks.get((row.name, measure)),
                )
                for measure in measures
                for found in [measured.get((row.name, measure))]
            }
            rows.append(_row(row, chosen.get(row.name), scores))
        done = {row.label: row.seeds for row in rows}
        unrun = {row.name: tuple(sorted({*study.seeds} - {*done[row.name]})) for row in study.rows}
        return Table(
            number=number,
            study=paper.study_of(number),
            title=study.title,
            dataset=dataset,
            split="test",
            epoch_rule=self._rule.name,
            metric=self._metric,
            scheme=groups[0].first.data.get("scheme") if groups else None,
            counts=(groups[0].first.data.get("counts") or {}) if groups else {},
            presets=tuple(dict.fromkeys(row.preset for row in rows if row.preset)),
            seeds=tuple(sorted({seed for row in rows for seed in row.seeds})),
            modalities=modalities,
            measures=measures,
            rows=tuple(rows),
            missing={name: seeds for name, seeds in unrun.items() if seeds},
            in_paper=any(row.printed.get(dataset) for row in study.rows),
            notes=tuple(dict.fromkeys([*_notes(study, chosen), *notes, *self._problems(measures, rows), *problems])),
        )

    def _measures(self, study: Study, modalities: Sequence[str]) -> tuple[str, ...]:
        found: list[str] = []
        for measure in study.measures:
            found += modalities if measure == "modalities" else [self._metric or measure]
        return tuple(dict.fromkeys(found))

    def _problems(self, measures: Sequence[str], rows: Sequence[Row]) -> list[str]:
        """What of the rows' runs could not be shown."""
        names = {name for row in rows for name in row.runs}
        problems = [problem for run, problem in self._scores.problems.items() if run in names]
        if "auroc" in measures and names and not any(row.scores["auroc"].measured for row in rows):
            problems.append("AUROC is of two classes: these runs have none")
        return problems

    def _measured(self, group: Group, measure: str) -> Measured:
        """The group's score by seed; of a modality its own head's where the experiment trains own heads."""
        kind, output, metric = "fused", "fused", measure
        if measure not in FUSED:
            kind = "own_head" if group.first.experiment.get("unimodal_losses") == "own" else "head"
            output, metric = f"{kind}.{measure}", self._metric or "accuracy"
        values = {run.seed: self._scores.of(run, output, metric) for run in group.runs}
        known = {seed: value for seed, value in values.items() if value is not None}
        wanted = {run.seed: Wanted(run, output, metric) for run in group.runs if run.seed in known}
        acted = acted_of(group, [run.result for run in group.runs])
        return Measured(kind, known, wanted, acts=acted is None or acted.runs > 0)

    def _printed(self, row: StudyRow, dataset: str, measure: str) -> float | None:
        """The paper prints modalities' accuracies only."""
        if measure not in FUSED and self._metric not in (None, "accuracy"):
            return None
        value = row.printed.get(dataset, {}).get(measure)
        return None if value is None else value / 100


def _row(row: StudyRow, group: Group | None, scores: Mapping[str, Score]) -> Row:
    return Row(
        label=row.name,
        ours=row.ours,
        cell=row.cell,
        method=group and group.first.label,
        preset=group and group.first.preset,
        runs=tuple(run.name for run in group.runs) if group else (),
        seeds=group.seeds if group else (),
        epochs=group and group.first.experiment.get("epochs"),
        scores=scores,
        acted=group and acted_of(group, [run.result for run in group.runs]),
    )


def _printed_modalities(study: Study, dataset: str) -> tuple[str, ...]:
    """The modalities that the paper has scores of, where no run tells which there are."""
    return tuple(dict.fromkeys(key for row in study.rows for key in row.printed.get(dataset, {}) if key not in FUSED))


def _notes(study: Study, chosen: Mapping[str, Group]) -> list[str]:
    """What a reader must know of rows that have been run."""
    notes = []
    for row in study.rows:
        if (group := chosen.get(row.name)) is None:
            continue
        if row.note:
            notes.append(f"{row.name}: {row.note}")
        if held_out := group.first.data.get("held_out"):
            train = group.first.data["counts"]["train"]
            notes.append(
                f"{row.name} trains on {train - held_out} of {train} clips: the rest is held out for its probes"
            )
    return notes
