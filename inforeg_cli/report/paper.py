"""The runs of a study's rows, found by their settings: of each row one group, and of a study all under one protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inforeg_cli import studies
from inforeg_cli.files import canonical_json
from inforeg_cli.naming import count
from inforeg_cli.report.groups import Group, distinctions
from inforeg_cli.settings import dotted
from inforeg_cli.studies import Study, StudyRow

TABLES = (1, 2, 3, 4, 5, 6)
#: No part of what an experiment is: which data (the group knows its own), the seed, and what is recorded beside training.
_IRRELEVANT = ("dataset", "seed", "record")
#: A method's own: rows differ in it, and may, as in whatever else their own settings say.
_FREE = ("method", "window", "trace", "unimodal_losses", "record")
#: What most of all makes a run one of a row.
_TELLING = ("method.name", "unimodal_losses", "fusion.name", "window.when")


@dataclass(frozen=True)
class Chosen:
    """The groups of a study's rows by the rows' names, all under one protocol, and what was left out for it."""

    groups: Mapping[str, Group]
    notes: tuple[str, ...] = ()


def study_of(table: int) -> str:
    """The name of the study that is the paper's table of this number."""
    return f"paper/table{table}"


def modalities_of(groups: Sequence[Group], dataset: str) -> tuple[str, ...]:
    """The modalities of `dataset` in the recipe's order, as far as its runs know them."""
    return max((group.first.modalities for group in groups if group.first.dataset == dataset), key=len, default=())


def groups_of(study: Study, row: StudyRow, groups: Sequence[Group], dataset: str) -> list[Group]:
    """The groups on `dataset` that are runs of `row`: the method's newest version first, then those with most seeds.

    A group is one if it has every setting that the row says, on the axes' settings any of the axes' values. A row that
    names no modalities is of all together, and never of one alone.
    """
    of_data = [group for group in groups if group.first.dataset == dataset]
    modalities = modalities_of(groups, dataset)
    if row.modalities is not None and any(index >= len(modalities) for index in row.modalities):
        return []
    wanted = wanted_settings(study, row, dataset, modalities)
    fitting = [
        group
        for group in of_data
        if (row.modalities is not None or len(group.first.modalities) > 1)
        and all(_has(group, key, value) for key, value in wanted.items())
        and all(any(_has(group, key, value) for value in values) for key, values in study.axes.items())
    ]
    return sorted(fitting, key=lambda group: (-group.first.method_version, -len(group.seeds)))


def wanted_settings(study: Study, row: StudyRow, dataset: str, modalities: Sequence[str]) -> dict[str, Any]:
    """What the runs of `row` have, by dotted key, but for the axes' settings; `modalities` are the data's, in order."""
    raw, _ = studies.row_settings(study, row, dataset, dict(enumerate(modalities)))
    for table in ("method", "fusion", "optimizer", "schedule"):
        if isinstance(raw.get(table), str):
            raw[table] = {"name": raw[table]}
    if len(modalities) > 1:
        raw.setdefault("modalities", list(modalities))
    wanted = {key: value for key, value in dotted(raw).items() if key.partition(".")[0] not in _IRRELEVANT}
    if wanted["method.name"] == "joint":  # nothing acts in its window
        wanted = {key: value for key, value in wanted.items() if not key.startswith(("window.", "trace."))}
    return {key: value for key, value in wanted.items() if key not in study.axes}


def choose(study: Study, groups: Sequence[Group], dataset: str) -> Chosen:
    """Of each row's groups one, all under the protocol that covers most rows, then most seeds.

    A protocol is the data, its split scheme and label, and every setting that is not a method's own and in which the rows
    do not differ by what they are.
    """
    modalities = modalities_of(groups, dataset)
    wanted = {row.name: wanted_settings(study, row, dataset, modalities) for row in study.rows}
    free = _differing(list(wanted.values()))
    fitting = {row.name: groups_of(study, row, groups, dataset) for row in study.rows}
    protocols: dict[str, dict[str, Any]] = {}
    chosen: dict[str, dict[str, Group]] = {}
    for name, some in fitting.items():
        for group in some:
            protocol = _protocol(group, free)
            key = canonical_json(protocol)
            protocols[key] = protocol
            chosen.setdefault(key, {}).setdefault(name, group)
    if not chosen:
        return Chosen({}, _strays(groups, dataset, wanted, found={}))
    taken = max(chosen, key=lambda key: (len(chosen[key]), sum(len(group.seeds) for group in chosen[key].values())))
    notes = []
    texts = dict(zip(protocols, distinctions(list(protocols.values())), strict=True))
    for key in chosen:
        if key != taken:
            runs = sum(len(group.runs) for group in chosen[key].values())
            notes.append(f"{count(runs, 'run')} with {texts[key]} left out: the table is of runs with {texts[taken]}")
    for name, some in fitting.items():
        notes += _others(name, [group for group in some if _protocol(group, free) == protocols[taken]])
    return Chosen(chosen[taken], (*notes, *_strays(groups, dataset, wanted, chosen[taken])))


def _has(group: Group, key: str, value: Any) -> bool:
    settings: Mapping[str, Any] = group.settings
    table, _, rest = key.partition(".")
    if table in ("inputs", "encoders") and rest.partition(".")[0] not in group.first.modalities:
        return True
    if key == "modalities":
        names = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
        return {*names} == {*settings[key]}
    if key not in settings and isinstance(value, str):  # a table given by its name alone
        key = f"{key}.name"
    return key in settings and settings[key] == (list(value) if isinstance(value, tuple) else value)


def _differing(wanted: Sequence[Mapping[str, Any]]) -> set[str]:
    """The settings in which rows differ; where they differ in a table's name, all of the table."""
    keys = {key for one in wanted for key in one}
    differing = {key for key in keys if len({canonical_json(one.get(key)) for one in wanted}) > 1}
    return differing | {key.removesuffix("name") for key in differing if key.endswith(".name")}


def _protocol(group: Group, free: set[str]) -> dict[str, Any]:
    tables = tuple(key for key in free if key.endswith("."))
    settings = {
        key: value
        for key, value in group.settings.items()
        if key.partition(".")[0] not in _FREE and key not in free and not key.startswith(tables)
    }
    return settings | {"data.digest": group.first.data["digest"]}


def _others(name: str, groups: Sequence[Group]) -> list[str]:
    """What else than the first of the groups fits the row."""
    if len(groups) < 2:
        return []
    texts = distinctions([group.settings for group in groups])
    runs = sum(len(group.runs) for group in groups[1:])
    return [f"{name}: {count(runs, 'run')} with {'; '.join(texts[1:])} left out beside those with {texts[0]}"]


def _strays(
    groups: Sequence[Group], dataset: str, wanted: Mapping[str, Mapping], found: Mapping[str, Group]
) -> tuple[str, ...]:
    """Of rows without runs: runs of their method that have other settings than the row, and stand in no other one."""
    reasons: dict[str, int] = {}
    shown_runs = {run.id for group in found.values() for run in group.runs}
    for name, settings in wanted.items():
        if name in found:
            continue
        telling = {key: settings[key] for key in _TELLING if key in settings}
        for group in groups:
            if group.first.id in shown_runs:
                continue
            several = group.first.dataset == dataset and len(group.first.modalities) > 1
            if several and all(_has(group, key, value) for key, value in telling.items()):
                differing = [key for key, value in settings.items() if not _has(group, key, value)]
                known = {key: group.settings[key] for key in differing if key in group.settings}
                reason = f"{name} with {distinctions([known, {}])[0]}"
                reasons[reason] = reasons.get(reason, 0) + len(group.runs)
    if not reasons:
        return ()
    texts = [f"{count(runs, 'run')} of {reason}" for reason, runs in reasons.items()]
    shown = "; ".join(texts[:3]) + (f"; and {len(texts) - 3} more" if len(texts) > 3 else "")
    return (f"not the table's settings, so left out: {shown}",)
