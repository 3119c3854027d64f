"""Which epoch of a run speaks for it, and the test scores it has there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inforeg_cli.errors import InforegError, first_line
from inforeg_cli.report.runs import Run


@dataclass(frozen=True)
class Rule:
    """name: on what the epoch is chosen. predictions: which predictions file is of that epoch. text: for a footer."""

    name: str
    predictions: str
    text: str


RULES = {
    rule.name: rule
    for rule in (
        Rule("val", "best", "best on val"),
        Rule("last", "last", "the last"),
        Rule("test", "test-best", "chosen on test, as the paper's code did"),
    )
}


class Scores:
    """The test scores of runs at the epoch that `rule` says. problems: of each run, by name, that has none there."""

    def __init__(self, rule: Rule):
        self._rule = rule
        self._read: dict[Path, Mapping[str, Any]] = {}
        self.problems: dict[str, str] = {}

    def of(self, run: Run, output: str, metric: str) -> float | None:
        """`output` is ``fused``, ``head.<modality>`` or ``own_head.<modality>``; None where the run has no such score."""
        if run.path not in self._read:
            try:
                self._read[run.path] = self._scores(run)
            except InforegError as error:
                self._read[run.path] = {}
                self.problems[run.name] = str(error)
        value = self._read[run.path].get(metric if output == "fused" else f"{output}.{metric}")
        return None if value is None else float(value)

    def _scores(self, run: Run) -> Mapping[str, Any]:
        if self._rule.name == "test":
            return _at_best_on_test(run)
        result = run.result if self._rule.name == "val" else run.result.get("last") or {}
        scores = result.get("test") or {}
        flat = {key: value for key, value in scores.items() if not isinstance(value, Mapping)}
        for output in ("head", "own_head"):
            for modality, values in (scores.get(output) or {}).items():
                flat |= {f"{output}.{modality}.{metric}": value for metric, value in (values or {}).items()}
        return flat


def _at_best_on_test(run: Run) -> Mapping[str, Any]:
    """The test scores of the epoch that is best on test. Raises InforegError where they were not recorded."""
    import pyarrow.parquet as parquet

    chosen = run.result.get("test_if_chosen_on_test")
    if not chosen:
        raise InforegError(f"{run.name} has no test scores by epoch: it was trained with record.test_curve = false")
    path = run.path / "metrics.parquet"
    try:
        rows = parquet.read_table(path, filters=[("split", "==", "test")], use_threads=False).to_pylist()
    except FileNotFoundError:
        raise InforegError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise InforegError(f"{path} cannot be read: {first_line(error)}") from None
    found = next((row for row in rows if row.get("epoch") == chosen.get("epoch")), None)
    if found is None:
        raise InforegError(f"{path} has no test scores of epoch {chosen.get('epoch')}")
    return found | {key: chosen[key] for key in ("accuracy", "macro_f1") if key in chosen}
