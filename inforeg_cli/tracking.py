"""MLflow's view of a run. The run folder is the truth, this is its mirror, and no failure here ends a training."""

import logging
import math
import os
import re
import shlex
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import filelock
from rich.markup import escape

from inforeg_cli.console import warn
from inforeg_cli.errors import InforegError, first_line
from inforeg_cli.files import digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

_SQLITE = "sqlite:///"
#: What MLflow takes in one call, and in one parameter.
_PARAMETERS_AT_ONCE, _LONGEST_PARAMETER = 100, 6000
#: How long several trainings that start at once wait for the one that creates the store, in seconds.
_PATIENCE = 120
#: How long metrics may wait before they are written, in seconds: short epochs share a transaction, and its wait for the disk.
_WRITE_EVERY = 2.0
#: What MLflow takes in one call.
_METRICS_AT_ONCE = 1000
#: Set unless the user did: no telemetry, and an unreachable server costs seconds where MLflow would try for minutes.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class Tracker:
    """One MLflow run in the experiment `experiment_name`, stored in ``<runs_dir>/mlflow.db`` or `MLFLOW_TRACKING_URI`.

    With `run_id` that run goes on: parameters that it has are left alone and epochs that it has are not logged twice.
    A run that finished, or that has other parameters, does not go on; a new one begins. The first failure, whatever it
    is, becomes one warning, and from then on every call does nothing. `run_id` is None where no run could be opened.

    The runs of a `sweep` are tagged with its name and shown under one parent run, which whoever comes first makes.
    It is no more than a heading, closed from the beginning: nothing has to be alive for it to be in order.
    """

    def __init__(
        self,
        runs_dir: Path,
        experiment_name: str,
        run_name: str,
        tags: Mapping[str, Any],
        params: Mapping[str, Any],
        run_id: str | None = None,
        sweep: str | None = None,
    ):
        self.run_id: str | None = None
        self._runs_dir = runs_dir.resolve()
        self._uri = os.environ.get("MLFLOW_TRACKING_URI") or _store_in(self._runs_dir)
        self._last_step = -1
        self._waiting: list[Metric] = []
        self._written = time.monotonic()
        self._client: MlflowClient | None = None
        with self._mirroring():
            texts = {_name(key): str(value)[:_LONGEST_PARAMETER] for key, value in params.items()}
            client, experiment_id, parent = self._open(experiment_name, sweep)
            labels = {_name(key): str(value) for key, value in tags.items()} | parent
            if run_id is None or not self._go_on(client, run_id, texts, labels):
                created = client.create_run(experiment_id, run_name=run_name, tags=labels)
                self.run_id = created.info.run_id
                _log_params(client, self.run_id, texts)
            self._client = client

    def log_epoch(self, step: int, metrics: Mapping[str, float]) -> None:
        """The metrics of epoch `step`, written within seconds; those that are not finite are left out."""
        if self._client is None or step <= self._last_step:
            return
        self._last_step = step
        with self._mirroring():
            self._waiting += _metrics(metrics, step)
            if time.monotonic() - self._written > _WRITE_EVERY:
                self._write()

    def _write(self) -> None:
        for start in range(0, len(self._waiting), _METRICS_AT_ONCE):
            self._client.log_batch(self.run_id, metrics=self._waiting[start : start + _METRICS_AT_ONCE])
        self._waiting, self._written = [], time.monotonic()

    def finish(self, status: str, summary: Mapping[str, float], artifacts: Sequence[Path] = ()) -> None:
        """Close the run as ``FINISHED``, ``FAILED`` or ``KILLED``, with its final figures and copies of these files."""
        if self._client is None:
            return
        with self._mirroring():
            self._waiting += _metrics(summary, max(self._last_step, 0))
            self._write()
            for path in artifacts:
                self._client.log_artifact(self.run_id, str(path))
            self._client.set_terminated(self.run_id, status)

    @property
    def ui_command(self) -> str:
        """What opens the user interface on the store; empty where no run could be opened."""
        if self.run_id is None:
            return ""
        if self._uri.startswith(("http://", "https://")):
            return shlex.join([Path(sys.executable).name, "-m", "webbrowser", self._uri])
        return shlex.join([_program(), "ui", "--backend-store-uri", self._uri])

    def _open(self, experiment_name: str, sweep: str | None) -> "tuple[MlflowClient, str, dict[str, str]]":
        """The client, the experiment's id, and the tags of what belongs to the sweep."""
        for key, value in _ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        from mlflow import MlflowClient

        if "MLFLOW_LOGGING_LEVEL" not in os.environ:
            for name in ("mlflow", "alembic"):
                logging.getLogger(name).setLevel(logging.CRITICAL)  # an error becomes one warning, see `_mirroring`
        database = _database(self._uri)
        lock = (database or self._runs_dir / "mlflow").with_suffix(".lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        # Processes that migrate one fresh SQLite store at the same time break it for good, so one creates it for all.
        with filelock.FileLock(lock, timeout=_PATIENCE):
            if database:
                _check(database)
            client = MlflowClient(tracking_uri=self._uri)
            if experiment := client.get_experiment_by_name(experiment_name):
                experiment_id = experiment.experiment_id
            else:
                # A server knows where its artifacts go; a local store would put them into the current folder.
                local = (self._runs_dir / "mlruns").as_uri() if database else None
                experiment_id = client.create_experiment(experiment_name, artifact_location=local)
            return client, experiment_id, {} if sweep is None else _belonging(client, experiment_id, sweep)

    def _go_on(self, client: "MlflowClient", run_id: str, params: Mapping[str, str], labels: Mapping[str, str]) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            run = client.get_run(run_id)
        except MlflowException:
            return False  # the store was deleted or is another one
        known = run.data.params
        if run.info.status == "FINISHED" or any(params.get(key, value) != value for key, value in known.items()):
            return False
        client.update_run(run_id, status="RUNNING")
        for key, value in labels.items():
            if run.data.tags.get(key) != value:
                client.set_tag(run_id, key, value)
        _log_params(client, run_id, {key: value for key, value in params.items() if key not in known})
        steps = [metric.step for key in run.data.metrics for metric in client.get_metric_history(run_id, key)]
        self._last_step = max(steps, default=-1)
        self.run_id = run_id
        return True

    @contextmanager
    def _mirroring(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._client = None
            warn(
                escape(
                    f"MLflow does not follow this run ({first_line(error)}); the run's folder holds everything all the same"
                )
            )


def _belonging(client: "MlflowClient", experiment_id: str, sweep: str) -> dict[str, str]:
    """The tags that put a run under its sweep's. Called under the lock, so that a sweep has one parent, not several."""
    key = digest(sweep)[:16]  # a name may hold quotes, which the filter's language has no escape for
    found = client.search_runs([experiment_id], f"tags.sweep_id = '{key}'", max_results=1)
    if found:
        parent = found[0].info.run_id
    else:
        tags = {"sweep": sweep, "sweep_id": key}
        parent = client.create_run(experiment_id, run_name=sweep, tags=tags).info.run_id
        client.set_terminated(parent, "FINISHED")
    return {"sweep": sweep, "mlflow.parentRunId": parent}


def _log_params(client: "MlflowClient", run_id: str, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    every = [Param(key, value) for key, value in params.items()]
    for start in range(0, len(every), _PARAMETERS_AT_ONCE):
        client.log_batch(run_id, params=every[start : start + _PARAMETERS_AT_ONCE])


def _metrics(values: Mapping[str, float], step: int) -> "list[Metric]":
    from mlflow.entities import Metric

    now = time.time_ns() // 1_000_000
    return [Metric(_name(key), float(value), now, step) for key, value in values.items() if math.isfinite(value)]


def _name(key: str) -> str:
    """`key` with everything that MLflow does not take in a name replaced."""
    return re.sub(r"[^\w\-. /]", "_", key)


def _store_in(runs_dir: Path) -> str:
    # Only what would be read as an escape or as the start of options: MLflow makes a folder of what is escaped besides.
    return _SQLITE + str(runs_dir / "mlflow.db").replace("%", "%25").replace("?", "%3F")


def _database(uri: str) -> Path | None:
    """The file of a SQLite store, None for a server or another database."""
    return Path(unquote(uri.removeprefix(_SQLITE).partition("?")[0])) if uri.startswith(_SQLITE) else None


def _check(database: Path) -> None:
    """Raises InforegError where the file is no database or cannot be written: MLflow would try for 100 seconds."""
    try:
        with closing(sqlite3.connect(database, timeout=_PATIENCE)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except sqlite3.Error as error:
        raise InforegError(f"{database}: {error}") from None


def _program() -> str:
    """How to call `mlflow` from a shell here: by its name if that finds the one installed beside Python, else by path."""
    installed = Path(sys.executable).parent / "mlflow"
    if shutil.which("mlflow") == str(installed) or not installed.exists():
        return "mlflow"
    return str(installed.relative_to(Path.cwd()) if installed.is_relative_to(Path.cwd()) else installed)
