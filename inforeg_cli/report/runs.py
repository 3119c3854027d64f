"""Finding run folders and reading what training left in them: plain files, checked before anything is made of them."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inforeg_cli.errors import InforegError, Misuse, first_line

if TYPE_CHECKING:
    import pandas as pd

CONFIG, RESULT = "config.json", "result.json"
_SCORED = ("val", "test")


@dataclass(frozen=True)
class Run:
    """One training as its folder tells it; `result` is None until it has finished.

    `experiment` is the resolved configuration, `data` the data set's name, digest, split scheme, label and counts,
    `label` the method's name in tables, and `baseline` the label that it is measured against (None: it is one itself).
    """

    path: Path
    id: str
    label: str
    baseline: str | None
    preset: str | None
    experiment: Mapping[str, Any]
    data: Mapping[str, Any]
    method_version: int
    result: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def seed(self) -> int:
        return self.experiment["seed"]

    @property
    def dataset(self) -> str:
        return self.data["name"]

    def is_on(self, dataset: str) -> bool:
        """Whether that is the name of its data, or the folder of their store."""
        return self.dataset == dataset or Path(self.data.get("path", "")).resolve() == Path(dataset).resolve()

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.experiment["modalities"])

    @property
    def finished(self) -> bool:
        return self.result is not None

    def predictions(self, split: str, epoch: str = "best") -> "pd.DataFrame":
        """One row a clip of `split` at the ``best`` or ``last`` epoch: ``id``, ``label``, probabilities (``fused.0``).

        Raises InforegError where the file is absent or damaged.
        """
        import pandas as pd

        path = self.path / f"predictions-{split}-{epoch}.parquet"
        try:
            return pd.read_parquet(path)
        except FileNotFoundError:
            raise InforegError(f"{path} does not exist") from None
        except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
            raise InforegError(f"{path} cannot be read: {first_line(error)}") from None


@dataclass(frozen=True)
class Found:
    """The runs of a folder in the order of their names; `unreadable` tells of each folder whose files are damaged."""

    runs: tuple[Run, ...]
    unreadable: tuple[str, ...]


def read_run(path: Path) -> Run:
    """Raises InforegError, with the file and the reason, where the folder's config.json or result.json is damaged."""
    config = _read_json(path / CONFIG)
    result = _read_json(path / RESULT) if (path / RESULT).exists() else None
    try:
        run = Run(
            path=path.resolve(),
            id=_typed(config, "id", str),
            label=_typed(config, "label", str),
            baseline=_typed(config, "baseline", str | None),
            preset=_typed(config, "preset", str | None),
            experiment=_typed(config, "experiment", dict),
            data=_typed(config, "data", dict),
            method_version=_typed(config, "method_version", int),
            result=result,
        )
        _typed(run.experiment, "seed", int)
        _typed(run.experiment, "modalities", list)
        _typed(_typed(run.experiment, "method", dict), "name", str)
        for key in ("record", "window", "optimizer", "schedule", "fusion", "inputs", "encoders"):
            _typed({key: {}} | run.experiment, key, dict)
        for key in ("name", "digest"):
            _typed(run.data, key, str)
        _typed({"path": ""} | run.data, "path", str)
        for key, kind in (("counts", dict), ("classes", list), ("held_out", int)):
            _typed(run.data, key, kind | None)
    except ValueError as error:
        raise InforegError(f"{path / CONFIG}: {error}") from None
    if result is not None:
        try:
            _check_result(result)
        except ValueError as error:
            raise InforegError(f"{path / RESULT}: {error}") from None
    return run


def all_runs(runs_dir: Path) -> Found:
    """Every run under `runs_dir`; what is no run's folder is passed over."""
    runs, unreadable = [], []
    for folder in _folders(runs_dir):
        try:
            runs.append(read_run(folder))
        except InforegError as error:
            unreadable.append(str(error))
    return Found(tuple(runs), tuple(unreadable))


def find_run(argument: str, runs_dir: Path) -> Path:
    """The folder of RUN: a run's folder, its name under `runs_dir`, or a prefix of its id that no other run shares.

    Raises Misuse where nothing matches, with the nearest names, or more than one run does, with all of them.
    """
    for folder in (Path(argument), runs_dir / argument):
        if argument and (folder / CONFIG).is_file():
            return folder.resolve()
    folders = list(_folders(runs_dir))
    matching = [folder for folder in folders if re.fullmatch("[0-9a-f]+", argument) and _has_id(folder, argument)]
    if len(matching) == 1:
        return matching[0].resolve()
    if matching:
        names = ", ".join(folder.name for folder in matching)
        raise Misuse(f"'{argument}' could be any of {len(matching)} runs: {names}. Give more of the id, or a name")
    for folder in (Path(argument), runs_dir / argument):
        if argument and folder.is_dir():
            raise Misuse(f"{folder} is a folder, but no run's: it holds no {CONFIG}")
    if not folders:
        raise Misuse(f"there is no run '{argument}': {runs_dir} holds no runs. Make one with: inforeg train")
    near = difflib.get_close_matches(argument, [folder.name for folder in folders], n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the {len(folders)} runs there have other names and ids"
    raise Misuse(f"there is no run '{argument}' in {runs_dir}: {hint}")


def _folders(runs_dir: Path) -> Iterator[Path]:
    if not runs_dir.is_dir():
        return
    for folder in sorted(runs_dir.iterdir()):
        # A leading dot marks what is being written or replaced at this moment.
        if not folder.name.startswith(".") and any((folder / name).is_file() for name in (CONFIG, RESULT)):
            yield folder


def _has_id(folder: Path, prefix: str) -> bool:
    if folder.name.rpartition("-")[2].startswith(prefix):
        return True
    try:
        return str(_read_json(folder / CONFIG).get("id", "")).startswith(prefix)
    except InforegError:
        return False


def _check_result(result: Mapping[str, Any]) -> None:
    """Raises ValueError where the scores are missing or no fractions, or where a table of results is something else."""
    for split in _SCORED:
        scores = _typed(result, split, dict)
        for metric in ("accuracy", "macro_f1", *(["auroc"] if "auroc" in scores else [])):
            value = _typed(scores, metric, float | int)
            if not 0 <= value <= 1:
                raise ValueError(f"'{metric}' on {split} is {value}, where a fraction is meant")
        for some in (scores, _table(_table(result, "last"), split)):
            _check_numbers(some)
            for kind in ("head", "own_head"):
                for modality in _table(some, kind):
                    _check_numbers(_table(_table(some, kind), modality))
    _check_numbers(_table(result, "test_if_chosen_on_test"))
    for key, kind in (("open_epochs", list | None), ("regulated_steps", float | int | None)):
        for modality in _table(result, key):
            _typed(_table(result, key), modality, kind)
    _table(result, "versions")
    for key in ("seconds", "parameters", "best_epoch"):
        _typed(result, key, float | int | None)


def _check_numbers(scores: Mapping[str, Any]) -> None:
    for metric in ("accuracy", "macro_f1", "auroc"):
        _typed(scores, metric, float | int | None)


def _table(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return _typed(values, key, dict | None) or {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InforegError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:  # JSON and Unicode errors are ValueErrors
        raise InforegError(f"{path} cannot be read: {first_line(error)}") from None
    if not isinstance(value, dict):
        raise InforegError(f"{path} holds no JSON object")
    return value


def _typed(values: Mapping[str, Any], key: str, kind: Any) -> Any:
    """The value of `key`, whose absence means None. Raises ValueError where it is of another kind."""
    value = values.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"'{key}' is missing" if value is None else f"'{key}' is {value!r:.60}")
    return value
