"""Searches among the runs: each one's winners as a table of their own, and everything else without the trials."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inforeg_cli import search_record
from inforeg_cli.errors import InforegError
from inforeg_cli.naming import count
from inforeg_cli.report.columns import MISSING, Column
from inforeg_cli.report.groups import Group, grouped
from inforeg_cli.report.rendering import Sheet
from inforeg_cli.report.runs import Run
from inforeg_cli.report.tables import Table, table_of
from inforeg_cli.search_record import SearchRecord, TunedMethod


@dataclass(frozen=True)
class Searches:
    """The searches of a folder of runs, by name; `unreadable` tells of each record that is damaged."""

    records: tuple[SearchRecord, ...]
    unreadable: tuple[str, ...] = ()

    def trials_among(self, runs: Sequence[Run]) -> list[Run]:
        """The runs that are trials: they chose settings, and stand in no table."""
        ids = {trial.id for record in self.records for trial in record.trials}
        return [run for run in runs if run.id in ids]

    def untuned(self, runs: Sequence[Run]) -> list[Run]:
        """The runs that are neither trials nor, whatever their seed, of settings that only a trial has.

        A method's trial 0 is its preset, so runs of the same settings are ordinary ones.
        """
        drawn = {run.id for run in self.trials_among(runs)}
        numbers = {trial.id: trial.trial for record in self.records for trial in record.trials}
        for group in grouped(runs) if drawn else ():
            members = (*group.runs, *group.repeats)
            if any(numbers.get(run.id) for run in members):
                drawn |= {run.id for run in members}
        return [run for run in runs if run.id not in drawn]


def all_searches(runs_dir: Path) -> Searches:
    """Those whose records stand in `runs_dir`."""
    records, unreadable = [], []
    for path in sorted((runs_dir / search_record.FOLDER).glob("[!.]*.json")):
        try:
            records.append(search_record.read(path))
        except InforegError as error:
            unreadable.append(str(error))
    return Searches(tuple(records), tuple(unreadable))


def tuned_tables(searches: Searches, runs: Sequence[Run], split: str = "test") -> list[Table]:
    """A table a search that has winners among the finished runs: each method's winner, over its fresh seeds."""
    groups = grouped(runs) if searches.records else []
    found = [(record, table) for record in searches.records if (table := _tuned_table(record, groups, split))]
    titles = [table.title for _, table in found]
    # Searches of as many trials on the same data differ in their space, methods or --set: their names tell them apart.
    return [
        replace(table, title=f"{table.title} ({record.name})") if titles.count(table.title) > 1 else table
        for record, table in found
    ]


def trials_sheet(record: SearchRecord) -> Sheet:
    """What was tried for each method, how good it was on val, and what became of it."""
    tried = [(name, method, trial) for name, method in record.methods.items() for trial in method.trials]
    columns = (
        Column("name", "method", tuple(name for name, _, _ in tried)),
        Column("trial", "trial", tuple(str(trial.trial) for _, _, trial in tried)),
        Column("name", "settings", tuple(trial.text for _, _, trial in tried)),
        Column(
            "val",
            "val accuracy",
            tuple(MISSING if t.accuracy is None else f"{100 * t.accuracy:.2f}" for *_, t in tried),
        ),
        Column("val", "val loss", tuple(MISSING if t.loss is None else f"{t.loss:.4f}" for *_, t in tried)),
        Column("name", "fate", tuple(method.fate(trial) for _, method, trial in tried)),
    )
    return Sheet(record.title, (columns,), ())


def _tuned_table(record: SearchRecord, groups: Sequence[Group], split: str) -> Table | None:
    winners = {name: group for name, method in record.methods.items() if (group := _retrained(method, groups))}
    if not winners:
        return None
    first = next(iter(winners.values())).first
    trials = count(record.number, "trial")
    title = f"{first.dataset}: {' + '.join(first.modalities)}: tuned, {trials} each"
    table = table_of(title, list(winners.values()), split, labels=list(winners), baseline=_baseline)
    tuned = {key for trial in record.trials for key in trial.settings}
    notes = [
        f"each method: the best on val of {trials} with seed {record.seed}, of which trial 0 is its preset, "
        "trained again with the seeds above",
        *(_note(name, method, name in winners) for name, method in record.methods.items()),
    ]
    protocol = {key: value for key, value in table.protocol.items() if key not in tuned}
    return replace(table, protocol=protocol, notes=(*notes, *table.notes))


def _note(name: str, method: TunedMethod, trained: bool) -> str:
    """What was chosen of `method`, and what went wrong."""
    parts = []
    if chosen := method.chosen:
        parts.append(f"{name}: trial {chosen.trial} ({chosen.text}), {chosen.accuracy:.1%} on val")
        if not trained:
            parts.append("not yet trained again")
    else:
        parts.append(f"{name}: nothing was chosen")
    if failures := method.failures:
        parts.append(f"{len(failures)} of {count(len(method.trials), 'trial')} failed: {failures[0].failed}")
    return "; ".join(parts)


def _retrained(method: TunedMethod, groups: Sequence[Group]) -> Group | None:
    """The finished runs of the winner's settings with other seeds than its trial's."""
    ids = {run.id for run in method.runs}
    if method.chosen is None:
        return None
    for group in groups:
        if ids & {run.id for run in group.runs}:
            return Group(tuple(run for run in group.runs if run.id != method.chosen.id), group.repeats)
    return None


def _baseline(group: Group, groups: Sequence[Group]) -> Group | None:
    """What a winner is measured against: its own baseline's winner, or else joint's. Each has its own tuned settings."""
    for label in (group.first.baseline, "joint") if group.first.baseline else ():
        if found := next((other for other in groups if other is not group and other.first.label == label), None):
            return found
    return None
