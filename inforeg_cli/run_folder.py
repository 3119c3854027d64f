"""A run's folder: the truth about one training, every file in it written atomically."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import pandas as pd

from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.files import write_atomically, write_json


class RunFolder:
    """``config.json``, ``metrics.parquet``, ``predictions-*.parquet``, the checkpoints ``last.pt`` and ``best.pt`` and,
    once the run is finished, ``result.json``."""

    def __init__(self, path: Path):
        self.path = path
        self.last, self.best = path / "last.pt", path / "best.pt"

    @property
    def finished(self) -> bool:
        return (self.path / "result.json").is_file()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time trains a run; a second one is told so at once."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise Misuse(
                f"{self.path.name} is being trained by another process; wait for it, or choose another --name"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def clear(self) -> None:
        """Remove what an earlier training of this run wrote."""
        for pattern in ("*.json", "*.parquet", "*.pt", ".mlflow-run"):
            for file in self.path.glob(pattern):
                file.unlink()

    def read_config(self) -> dict[str, Any]:
        return self._read("config.json")

    def read_result(self) -> dict[str, Any]:
        return self._read("result.json")

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InforegError(f"{self.path} holds no {name}: it is no run, or one that never started") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InforegError(f"{self.path / name} is damaged ({error}); train again with --force") from None

    def write_config(self, config: Mapping[str, Any]) -> None:
        write_json(self.path / "config.json", config)

    def write_result(self, result: Mapping[str, Any]) -> None:
        write_json(self.path / "result.json", result)

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._write_parquet("metrics.parquet", pd.DataFrame(list(rows)))

    def write_predictions(self, split: str, which: str, table: pd.DataFrame) -> None:
        self._write_parquet(f"predictions-{split}-{which}.parquet", table)

    def _write_parquet(self, name: str, table: pd.DataFrame) -> None:
        write_atomically(self.path / name, lambda temporary: table.to_parquet(temporary, index=False), durable=False)
