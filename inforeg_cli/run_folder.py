"""A run's folder: the truth about one training, every file in it written atomically."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
import pandas as pd

from inforeg_cli.errors import InforegError, Misuse, first_line
from inforeg_cli.files import write_atomically, write_json

#: All that a run's folder holds; a folder with anything else in it, and no config.json, is somebody else's.
_FILES = (
    "config.json",
    "preparation.json",
    "result.json",
    "metrics.parquet",
    "gradient_cosines.parquet",
    "predictions-*.parquet",
    "evaluation-*.json",
    "last.pt",
    "best.pt",
    "failure.json",
    ".mlflow-run",
)
#: What a result must have for people to be shown it.
_RESULT_KEYS = {
    "label",
    "best_epoch",
    "val",
    "test",
    "test_if_chosen_on_test",
    "open_epochs",
    "regulated_steps",
    "acted",
}


#: Seconds that a training waits for a lock: enough for one who only asked whether it is held, see `sweep.state`.
_PATIENCE = 0.5


class Busy(Misuse):
    """The run is being trained by another process."""


class RunFolder:
    """``config.json``, ``preparation.json`` (how recordings become clips, where the store tells), ``metrics.parquet``,
    ``gradient_cosines.parquet`` where it is recorded, ``predictions-*.parquet``, the checkpoints ``last.pt`` and
    ``best.pt`` and, once the run is finished, ``result.json``."""

    def __init__(self, path: Path):
        self.path = path
        self.last, self.best = path / "last.pt", path / "best.pt"
        self.preparation = path / "preparation.json"

    @property
    def finished(self) -> bool:
        return (self.path / "result.json").is_file()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time trains a run; a second one is told so at once.

        Raises Busy, and Misuse for a folder that holds something else than a run.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise Misuse(f"{self.path} is a file, no run's folder; choose another --name, or move it") from None
        if not (self.path / "config.json").is_file():
            own = {file for pattern in _FILES for file in self.path.glob(pattern)}
            if foreign := [file.name for file in self.path.iterdir() if file not in own and not _passing(file)]:
                raise Misuse(f"{self.path} is no run's folder: it holds {foreign[0]}; choose another --name")
        lock = filelock.FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=_PATIENCE, poll_interval=0.02)
        except filelock.Timeout:
            raise Busy(
                f"{self.path.name} is being trained by another process; wait for it, or choose another --name"
            ) from None
        try:
            for left in self.path.glob(".*.tmp"):  # half-written when an earlier training was killed
                left.unlink()
            yield
        finally:
            lock.release()

    def clear(self) -> None:
        """Remove what an earlier training of this run wrote."""
        for pattern in _FILES:
            for file in self.path.glob(pattern):
                file.unlink()

    def read_config(self) -> dict[str, Any]:
        config = self._read("config.json")
        data = config.get("data")
        known = isinstance(data, dict) and all(isinstance(data.get(key), str) for key in ("name", "path", "digest"))
        if not known or not isinstance(config.get("id"), str) or not isinstance(config.get("experiment"), dict):
            raise InforegError(f"{self.path / 'config.json'} is damaged: it does not describe a run")
        return config

    def read_result(self) -> dict[str, Any]:
        mend = "remove it, and the run is finished again"
        result = self._read("result.json", mend)
        if missing := _RESULT_KEYS - result.keys():
            raise InforegError(f"{self.path / 'result.json'} is damaged; {mend} (no {min(missing)})")
        return result

    def _read(self, name: str, mend: str = "train again with --force") -> dict[str, Any]:
        try:
            value = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InforegError(f"{self.path} holds no {name}: it is no run, or one that never started") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InforegError(f"{self.path / name} is damaged; {mend} ({error})") from None
        if not isinstance(value, dict):
            raise InforegError(f"{self.path / name} is damaged; {mend} (it holds no table)")
        return value

    def write_config(self, config: Mapping[str, Any]) -> None:
        write_json(self.path / "config.json", config)

    def write_result(self, result: Mapping[str, Any]) -> None:
        write_json(self.path / "result.json", result)

    def write_failure(self, error: Exception) -> None:
        """Say why the run failed, until it is tried again."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        write_json(self.path / "failure.json", {"reason": reason_of(error), "kind": type(error).__name__, "at": at})

    def forget_failure(self) -> None:
        (self.path / "failure.json").unlink(missing_ok=True)

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._write_parquet("metrics.parquet", pd.DataFrame(list(rows)))

    def write_gradient_cosines(self, table: pd.DataFrame) -> None:
        self._write_parquet("gradient_cosines.parquet", table)

    def write_predictions(self, split: str, which: str, table: pd.DataFrame) -> None:
        self._write_parquet(f"predictions-{split}-{which}.parquet", table)

    def _write_parquet(self, name: str, table: pd.DataFrame) -> None:
        write_atomically(self.path / name, lambda temporary: table.to_parquet(temporary, index=False), durable=False)


def reason_of(error: Exception) -> str:
    """One line about what ended a run; the words of an error that nobody foresaw are of little use without its kind."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    foreseen = isinstance(error, InforegError | OSError)
    return first_line(error) if foreseen else f"{type(error).__name__}: {first_line(error)}"


def _passing(file: Path) -> bool:
    """The lock, and what is being written at this moment."""
    return file.name in (".lock", ".lock-evaluation") or file.suffix == ".tmp"
