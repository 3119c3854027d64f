"""What `inforeg evaluate` has kept in runs, as columns of their comparison."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inforeg_cli import evaluation_record as record
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.measures import DEFINITIONS, Measure, robustness
from inforeg_cli.naming import nearest
from inforeg_cli.report import statistics
from inforeg_cli.report.runs import Run
from inforeg_cli.report.statistics import Summary
from inforeg_cli.report.tables import Table

#: A measure's values in an evaluation, by modality; one of the whole model is that of "".
Values = Callable[[Mapping[str, Any]], Mapping[str, float | None]]


@dataclass(frozen=True)
class _Kept(Measure):
    """values: of one evaluation. Raises KeyError where it has not been measured there."""

    values: Values


def _score(name: str) -> Values:
    return lambda found: {"": found["accuracy"]["scores"].get(name, {}).get("value")}


def _probes(found: Mapping[str, Any]) -> dict[str, float]:
    return {name: one["probe"]["accuracy"]["value"] for name, one in found["modalities"]["by_modality"].items()}


def _gaps(found: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: one.get("minus_alone", {}).get("probe") for name, one in found["modalities"]["by_modality"].items()}


def _missing(found: Mapping[str, Any]) -> dict[str, float]:
    full = found["missing"][0]["present"]
    lacking = ((set(full) - set(row["present"]), row["accuracy"]) for row in found["missing"])
    return {next(iter(absent)): accuracy for absent, accuracy in lacking if len(absent) == 1}


#: By what `--measure` calls them.
MEASURES = {
    "balanced-accuracy": _Kept("balanced accuracy", "%", DEFINITIONS["balanced accuracy"], _score("balanced_accuracy")),
    "top-5": _Kept("top-5", "%", DEFINITIONS["top-5 accuracy"], _score("top5")),
    "nll": _Kept("NLL", "nats", DEFINITIONS["negative log-likelihood"], _score("nll")),
    "ece": _Kept("ECE", "%", DEFINITIONS["expected calibration error"], _score("ece")),
    "overconfidence": _Kept("overconfidence", "%", DEFINITIONS["overconfidence"], _score("overconfidence")),
    "probe": _Kept("probe", "%", DEFINITIONS["probe"], _probes),
    "probe-gap": _Kept("probe gap", "%", "the probe's accuracy less that of the run of the modality alone", _gaps),
    "shapley": _Kept(
        "Shapley", "%", DEFINITIONS["Shapley value"], lambda found: found["contribution"]["shapley"]["accuracy"]
    ),
    "imbalance": _Kept(
        "imbalance", "", DEFINITIONS["imbalance"], lambda found: {"": found["contribution"]["imbalance"]["accuracy"]}
    ),
    "missing": _Kept("missing", "%", "the accuracy with this modality absent", _missing),
    "robustness": _Kept("robustness", "%", DEFINITIONS["robustness"], lambda found: {"": robustness(found["damage"])}),
}


def check(names: Sequence[str]) -> None:
    """Raises Misuse, with the nearest name, for a measure that there is not."""
    for name in names:
        if name not in MEASURES:
            raise Misuse(f"--measure: there is no measure '{name}'; {nearest(name, MEASURES)}")


def with_measures(tables: Sequence[Table], runs: Sequence[Run], names: Sequence[str], split: str) -> list[Table]:
    """The tables, with the measures `names` of their runs at the best epoch; and notes on the runs that lack one.

    A mean over some of a row's runs would not be comparable: where one lacks a measure the row has none.
    """
    found: dict[str, Mapping[str, Any] | InforegError] = {}
    for run in runs:
        try:
            found[run.name] = record.read(run.path, split, "best") or {}
        except InforegError as error:
            found[run.name] = error
    return [_extended(table, found, names) for table in tables]


def _extended(table: Table, found: Mapping[str, Mapping[str, Any] | InforegError], names: Sequence[str]) -> Table:
    rows, lacking = [], {}
    measures: dict[str, Measure] = {}
    for row in table.rows:
        measured: dict[str, Summary] = {}
        for name in names:
            each = [_values(MEASURES[name], found[run]) for run in row.runs]
            if lost := [run for run, values in zip(row.runs, each, strict=True) if values is None]:
                lacking |= dict.fromkeys(lost)
                continue
            for modality in each[0]:
                values = [one.get(modality) for one in each]
                if None in values:
                    continue
                key, kept = (f"{name}.{modality}" if modality else name), MEASURES[name]
                header = f"{kept.header}\n{modality}" if modality else kept.header
                measures[key] = Measure(header, kept.unit, kept.definition)
                measured[key] = statistics.summarise(values)
        rows.append(replace(row, measured=measured))
    notes = [str(found[run]) for run in lacking if isinstance(found[run], InforegError)]
    if missing := [run for run in lacking if not isinstance(found[run], InforegError)]:
        notes.append(f"not evaluated, or no longer: {', '.join(missing)}; inforeg evaluate RUN --split {table.split}")
    ordered = {key: measures[key] for key in sorted(measures, key=lambda key: names.index(key.partition(".")[0]))}
    return replace(table, rows=tuple(rows), notes=(*table.notes, *notes), measures=ordered)


def _values(measure: _Kept, found: Mapping[str, Any] | InforegError) -> Mapping[str, float | None] | None:
    """None where the measure has not been taken, or what stands there are no numbers."""
    if isinstance(found, InforegError):
        return None
    try:
        values = measure.values(found)
        return {name: None if value is None else float(value) for name, value in values.items()}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError):
        return None
