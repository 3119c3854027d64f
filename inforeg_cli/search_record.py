"""The record of a search, ``searches/<name>.json`` among the runs: what was tried, what was chosen, and what came of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt, ValidationError

from inforeg_cli.errors import InforegError, first_line
from inforeg_cli.files import write_json
from inforeg_cli.naming import count
from inforeg_cli.settings import Settings

FOLDER = "searches"


def settings_text(settings: Mapping[str, Any]) -> str:
    """Tuned settings in a line, each by the last part of its key: ``lr 0.012, alpha 0.4``."""
    texts = (f"{value:g}" if isinstance(value, float) else str(value) for value in settings.values())
    return ", ".join(f"{key.rpartition('.')[2]} {text}" for key, text in zip(settings, texts, strict=True))


class TriedSettings(Settings):
    """One trial. settings: the tuned ones, by dotted key. accuracy, loss: on val at the best epoch, once it is done;
    failed: why it will never be."""

    trial: int = Field(ge=0)
    settings: dict[str, Any]
    id: str
    run: str
    accuracy: float | None = None
    loss: float | None = None
    failed: str | None = None

    @property
    def settled(self) -> bool:
        return self.accuracy is not None or self.failed is not None

    @property
    def text(self) -> str:
        return settings_text(self.settings)


class WinnersRun(Settings):
    seed: int
    id: str
    run: str


class TunedMethod(Settings):
    """One method's trials, in order. winner: the number of the one that is trained again, as `runs`, with fresh seeds;
    none while trials are missing, or where all have failed."""

    space: dict[str, Any]
    trials: list[TriedSettings] = Field(min_length=1)
    winner: int | None = None
    runs: list[WinnersRun] = Field(default_factory=list)

    @property
    def chosen(self) -> TriedSettings | None:
        return None if self.winner is None else self.trials[self.winner]

    @property
    def failures(self) -> list[TriedSettings]:
        return [trial for trial in self.trials if trial.failed is not None]

    def fate(self, trial: TriedSettings) -> str:
        """``chosen``, ``failed: why`` or ``missing``; nothing of those that were only tried."""
        if trial.trial == self.winner:
            return "chosen"
        if trial.failed is not None:
            return f"failed: {trial.failed}"
        return "" if trial.settled else "missing"

    def best(self) -> int | None:
        """The trial of the highest accuracy on val; of several the one with the lowest loss, then the first."""
        done = [trial for trial in self.trials if trial.accuracy is not None]
        if not done or not all(trial.settled for trial in self.trials):
            return None
        infinity = float("inf")
        return min(done, key=lambda t: (-t.accuracy, infinity if t.loss is None else t.loss, t.trial)).trial


class SearchRecord(Settings):
    """number: of trials, the same for every method. seed: of the draws and of the trials. assigned: what ``--set``
    changed in every method's preset."""

    name: str
    dataset: str
    data_digest: str
    number: PositiveInt
    seed: int
    assigned: dict[str, Any]
    methods: dict[str, TunedMethod]

    @property
    def title(self) -> str:
        return f"{self.name}: {count(self.number, 'trial')} each, with seed {self.seed}, chosen on val"

    @property
    def settled(self) -> bool:
        return all(trial.settled for trial in self.trials)

    @property
    def trials(self) -> list[TriedSettings]:
        """Of all methods."""
        return [trial for method in self.methods.values() for trial in method.trials]


def write(record: SearchRecord, runs: Path) -> Path:
    """Its file in `runs`, written whole or not at all."""
    path = runs / FOLDER / f"{record.name}.json"
    write_json(path, record.model_dump(mode="json"))
    return path


def read(path: Path) -> SearchRecord:
    """Raises InforegError, with the file and the reason, where it is damaged."""
    try:
        record = SearchRecord.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:  # JSON, Unicode and validation errors are ValueErrors
        reason = f"{error.error_count()} wrong values" if isinstance(error, ValidationError) else first_line(error)
        raise InforegError(f"{path} is no record of a search: {reason}; delete it, or search again") from None
    for name, method in record.methods.items():
        numbers = [trial.trial for trial in method.trials]
        if len(numbers) != record.number or numbers != [*range(len(numbers))] or method.winner not in (None, *numbers):
            raise InforegError(f"{path} is no record of a search: trials of {name} are missing; search again")
        if method.chosen is not None and method.chosen.accuracy is None:
            raise InforegError(f"{path} is no record of a search: {name}'s winner has no accuracy; search again")
    return record
