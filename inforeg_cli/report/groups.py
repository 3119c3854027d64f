"""Which runs belong together: seeds of one experiment make a group, groups under one protocol make a section."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from inforeg_cli.files import canonical_json
from inforeg_cli.report.runs import Run
from inforeg_cli.settings import dotted

#: What two rows of one table may differ in: the seed, and what belongs to a method. Everything else is protocol; the
#: data's digest stands for `dataset`.
_FREE = frozenset({"seed", "dataset", "method", "window", "trace", "unimodal_losses", "record"})
#: What runs of one group may differ in. What is recorded beside training changes no number.
_ALIKE = frozenset({"seed", "dataset", "record"})


@dataclass(frozen=True)
class Group:
    """Finished runs that differ in nothing but the seed, and what they record: one a seed, in order. `repeats` are those
    left over that are the very same experiment as another."""

    runs: tuple[Run, ...]
    repeats: tuple[Run, ...] = ()

    @property
    def first(self) -> Run:
        return self.runs[0]

    @property
    def label(self) -> str:
        """The method's label, or for a run on a single modality which one that is."""
        modalities = self.first.modalities
        return f"{modalities[0]} alone" if len(modalities) == 1 else self.first.label

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.seed for run in self.runs)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that can tell two groups on the same data apart, by dotted key."""
        experiment = {key: value for key, value in self.first.experiment.items() if key not in _ALIKE}
        return dotted(experiment) | {"method.version": self.first.method_version}

    @cached_property
    def protocol(self) -> dict[str, Any]:
        """What makes two groups comparable, by dotted key: the data, and all settings but the method's own."""
        experiment = {key: value for key, value in self.first.experiment.items() if key not in _FREE}
        return dotted(experiment) | {"data.digest": self.first.data["digest"]}

    def of_seeds(self, seeds: Sequence[int]) -> list[Run]:
        by_seed = dict(zip(self.seeds, self.runs, strict=True))
        return [by_seed[seed] for seed in seeds]


def grouped(runs: Sequence[Run]) -> list[Group]:
    """The groups of the finished runs. Two runs of one experiment and seed count once, as the first by name of those that
    recorded the test curve."""

    def order(run: Run) -> tuple:
        return run.seed, run.experiment.get("record", {}).get("test_curve") is False, run.name, str(run.path)

    found: dict[str, list[Run]] = {}
    for run in sorted((run for run in runs if run.finished), key=order):
        experiment = {key: value for key, value in run.experiment.items() if key not in _ALIKE}
        key = canonical_json([experiment, run.data["digest"], run.method_version])
        found.setdefault(key, []).append(run)
    groups = []
    for members in found.values():
        by_seed: dict[int, Run] = {}
        repeats = [
            run for run in members if (kept := by_seed.setdefault(run.seed, run)) is not run and kept.id == run.id
        ]
        groups.append(Group(tuple(by_seed.values()), tuple(repeats)))
    return groups


def sections(groups: Sequence[Group]) -> list[list[Group]]:
    """The groups of each protocol. A group on one modality stands beside each section on several that it fits."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        if len(group.first.modalities) > 1:
            found.setdefault(canonical_json(group.protocol), []).append(group)
    alone: dict[str, list[Group]] = {}
    for group in groups:
        if len(group.first.modalities) > 1:
            continue
        fitting = [section for section in found.values() if _fits(group, section[0])]
        for section in fitting:
            section.append(group)
        if not fitting:
            # Several modalities trained alone, with nothing else yet, still read as one table.
            key = canonical_json(_without(group.protocol, set(group.first.modalities)))
            alone.setdefault(key, []).append(group)
    return [*found.values(), *alone.values()]


def baseline_of(group: Group, groups: Sequence[Group]) -> Group | None:
    """The group that `group` is measured against: the baseline's label under the very same protocol."""
    label = group.first.baseline
    fitting = [
        other
        for other in groups
        if other is not group and other.first.label == label and other.protocol == group.protocol
    ]
    # Baselines can differ in what is the method's own but for it does nothing, e.g. the trace: take that with most pairs.
    return max(fitting, key=lambda other: len({*other.seeds} & {*group.seeds}), default=None)


def alone(several: Group, groups: Sequence[Group], modality: str) -> Group | None:
    """Of `groups` the one that trains `modality` by itself under the protocol of `several`.

    Where runs alone differ in what cannot change their numbers: the one with most seeds of `several`, then with most.
    """
    fitting = [other for other in groups if other.first.modalities == (modality,) and _fits(other, several)]
    return max(fitting, key=lambda other: (len({*other.seeds} & {*several.seeds}), len(other.seeds)), default=None)


def distinctions(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each of several settings what tells it from the others, e.g. ``method.beta=0.5``."""
    keys = dict.fromkeys(key for one in settings for key in one)
    differing = [key for key in keys if len({canonical_json(one.get(key)) for one in settings}) > 1]
    # A method of another name has keys of its own: the name says enough, unless it leaves two alike.
    for chosen in ([key for key in differing if all(key in one for one in settings)], differing):
        texts = [", ".join(f"{key}={_text(one[key])}" for key in chosen if key in one) for one in settings]
        if len(set(texts)) == len(texts):
            return texts
    return texts


def _fits(single: Group, several: Group) -> bool:
    absent = {*several.first.modalities} - {*single.first.modalities}
    known = {*single.first.modalities} <= {*several.first.modalities}
    return known and _without(single.protocol, absent) == _without(several.protocol, absent)


def _without(protocol: Mapping[str, Any], modalities: set[str]) -> dict[str, Any]:
    """The protocol less the list of modalities and whatever is set for one of `modalities` in particular."""
    return {key: value for key, value in protocol.items() if key != "modalities" and not _set_for(key, modalities)}


def _set_for(key: str, modalities: set[str]) -> bool:
    table, _, rest = key.partition(".")
    return table in ("inputs", "encoders") and rest.partition(".")[0] in modalities


def _text(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case list():
            return "+".join(map(_text, value))
        case float():
            return f"{value:g}"
        case str() if re.fullmatch("[0-9a-f]{64}", value):
            return value[:8]
    return str(value)
