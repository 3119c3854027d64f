"""How the runs of a report were made: their data, and of each group of them its settings, its seeds and its command."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inforeg_cli.naming import count, duration, ranges
from inforeg_cli.report.groups import Group
from inforeg_cli.report.page import Setup
from inforeg_cli.report.runs import Run
from inforeg_cli.report.tables import Row, Table

#: What a setting is that only the other group has, or that has no value.
_NOTHING = "–"
#: How the settings begin that stand before all others: what methods differ in.
_FIRST = ("method.", "window.", "unimodal_losses", "fusion.", "optimizer.")
#: So many classes are named; of more, their number says enough.
_MOST_CLASSES = 12


def data_facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """The data of `runs`: one line a thing, or several where the runs are on several states of it."""
    states = {run.data["digest"]: run.data for run in runs}
    schemes = {(run.data["digest"], run.data.get("scheme")): run.data for run in runs}
    return _distinct_facts(
        [
            *(("dataset", f"{data['name']}, digest {digest[:12]}") for digest, data in states.items()),
            *(("classes", _classes(data.get("classes") or [])) for data in states.values()),
            *(("clips", _clips(data)) for data in schemes.values()),
            ("modalities", ", ".join(max((run.modalities for run in runs), key=len))),
        ]
    )


def run_facts(runs: Sequence[Run], groups: int, trials: int) -> list[tuple[str, str]]:
    """How much was run, with what, and for how long."""
    finished = [run for run in runs if run.finished]
    seconds = [run.result.get("seconds") for run in finished]
    total = sum(value for value in seconds if isinstance(value, int | float))
    unfinished = len(runs) - len(finished)
    return [
        (
            "runs",
            f"{count(len(finished), 'finished run')} of {count(groups, 'experiment')}"
            + (f", {trials} of them trials of searches" if trials else "")
            + (f"; {unfinished} unfinished, which are in no table" if unfinished else ""),
        ),
        ("seeds", ranges(sorted({run.seed for run in finished}))),
        ("trained for", duration(total)),
        *_distinct_facts(_machine(finished)),
    ]


def setups(
    tables: Sequence[Table], runs: Sequence[Run], command: Callable[[Sequence[Run]], str]
) -> list[tuple[str, list[Setup]]]:
    """Of each table its rows' setups, those that an earlier table has not; `command` makes runs again.

    A table's joint training is the reference that its other rows are told by.
    """
    by_name = {run.name: run for run in runs}
    seen: set[tuple[str, ...]] = set()
    found = []
    for table in tables:
        rows = [(row, Group(tuple(by_name[name] for name in row.runs))) for row in table.rows]
        reference = next((pair for pair in rows if pair[0].method == "joint"), rows[0])
        made = [_setup(row, group, *reference, command(group.runs)) for row, group in rows if row.runs not in seen]
        seen |= {row.runs for row, _ in rows}
        if made:
            found.append((table.title, made))
    return found


def _setup(row: Row, group: Group, reference: Row, of_reference: Group, command: str) -> Setup:
    here, there = _settings(group), _settings(of_reference)
    keys = dict.fromkeys([*here, *there])
    differing = [(key, _text(here.get(key)), _text(there.get(key))) for key in keys if here.get(key) != there.get(key)]
    same = [(key, _text(here[key])) for key in keys if key in here and here.get(key) == there.get(key)]
    return Setup(
        title=f"{row.name} · {count(len(row.seeds), 'seed')}",
        command=command,
        facts=_facts(row, group),
        reference=None if row is reference else reference.method,
        differing=differing,
        same=same,
    )


def _settings(group: Group) -> dict[str, Any]:
    """By dotted key, those first that people look for."""
    settings = group.settings

    def rank(key: str) -> int:
        return next((index for index, start in enumerate(_FIRST) if key.startswith(start)), len(_FIRST))

    return {key: settings[key] for key in sorted(settings, key=rank)}


def _facts(row: Row, group: Group) -> list[tuple[str, str]]:
    seconds = [run.result.get("seconds") for run in group.runs if run.result.get("seconds") is not None]
    took = " · ".join(map(duration, seconds))
    return [
        ("runs", ", ".join(row.runs)),
        ("seeds", ranges(row.seeds)),
        ("preset", row.preset or _NOTHING),
        ("best epochs", ", ".join(map(str, row.best_epoch)) or _NOTHING),
        ("parameters", _NOTHING if row.parameters is None else f"{row.parameters:,}"),
        ("trained for", took or _NOTHING),
        *_distinct_facts(_machine(group.runs)),
    ]


def _machine(runs: Sequence[Run]) -> list[tuple[str, str]]:
    found = []
    for run in runs:
        found.append(("device", str(run.result.get("device") or _NOTHING)))
    for run in runs:
        versions: Mapping[str, str] = run.result.get("versions") or {}
        found.append(("versions", ", ".join(f"{name} {text}" for name, text in versions.items()) or _NOTHING))
    return found


def _distinct_facts(facts: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Facts of one name as one, each value once in a line of its own."""
    by_name: dict[str, dict[str, None]] = {}
    for name, value in facts:
        by_name.setdefault(name, {})[value] = None
    return [(name, "\n".join(values)) for name, values in by_name.items()]


def _classes(names: Sequence[str]) -> str:
    if len(names) > _MOST_CLASSES:
        return f"{len(names)}: {', '.join(names[: _MOST_CLASSES - 1])} and {len(names) - _MOST_CLASSES + 1} more"
    return f"{len(names)}: {', '.join(names)}"


def _clips(data: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{number:,} {split}" for split, number in (data.get("counts") or {}).items())
    return (
        f"{counts or _NOTHING} (split scheme {data.get('scheme') or _NOTHING}, label {data.get('label') or _NOTHING})"
    )


def _text(value: Any) -> str:
    match value:
        case None:
            return _NOTHING
        case bool():
            return str(value).lower()
        case list() | tuple():
            return ", ".join(map(_text, value))
        case float():
            return f"{value:g}"
    return str(value)
