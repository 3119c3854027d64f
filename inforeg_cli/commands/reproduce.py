"""The command that makes runs again: their preset, and over it the settings in which they differ from it."""

import shlex
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inforeg_cli import presets, studies
from inforeg_cli.errors import InforegError
from inforeg_cli.settings import dotted, merge

if TYPE_CHECKING:
    from inforeg_cli.data.store import Store
    from inforeg_cli.report.runs import Run


def command(runs: "Sequence[Run]") -> str:
    """`inforeg sweep` for the runs of one experiment, one a seed.

    It was resolved to see that it asks for that very experiment. Where data or preset are not here any more, it names
    every setting instead.
    """
    first = runs[0]
    wanted = {key: value for key, value in first.experiment.items() if key not in ("seed", "dataset")}
    words = ["inforeg", "sweep", "--dataset", first.dataset, "--seeds", ",".join(str(run.seed) for run in runs)]
    store = _store(first.data.get("path", ""), first.data["digest"])
    options = _shortest(wanted, first.dataset, first.preset, store) if store else None
    if options is None:
        settings = {key: value for key, value in dotted(wanted).items() if value is not None}
        options = ["--method", settings.pop("method.name"), *_assignments(settings)]
    return shlex.join([*words, *options])


def _shortest(wanted: Mapping[str, Any], dataset: str, preset: str | None, store: "Store") -> list[str] | None:
    """What is said beside the data and the seeds; None where no such command gives what is wanted."""
    method = wanted["method"]["name"]
    try:
        if preset is None:
            base, options = studies.settings_of(dataset, method)[0], ["--method", method]
        else:
            base, options = presets.load(preset), ["--preset", preset]
            if _resolved(base, store)["method"]["name"] != method:
                base, options = merge(base, {"method": {"name": method}}), [*options, "--method", method]
        there, here = dotted(_resolved(base, store)), dotted(wanted)
        changed = {key: value for key, value in here.items() if key not in there or there[key] != value}
        assignments = [f"{key}={_toml(value)}" for key, value in changed.items()]
        again = _resolved(merge(base, presets.from_assignments(assignments)), store)
    except InforegError:
        return None
    return [*options, *_assignments(changed)] if again == wanted else None


def _assignments(settings: Mapping[str, Any]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={_toml(value)}")]


def _resolved(raw: Mapping[str, Any], store: "Store") -> dict[str, Any]:
    from inforeg_cli.resolve import resolve

    experiment = resolve(raw, store).model_dump(mode="json")
    return {key: value for key, value in experiment.items() if key not in ("seed", "dataset")}


def _toml(value: Any) -> str:
    """A value as ``--set`` reads it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_quoted(one) if isinstance(one, str) else _toml(one) for one in value)}]"
    if not isinstance(value, str):
        return str(value)
    try:
        tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return value
    return _quoted(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@cache
def _store(path: str, digest: str) -> "Store | None":
    from inforeg_cli.data.store import Store

    try:
        store = Store.open(Path(path))
    except (InforegError, OSError):
        return None
    return store if store.digest == digest else None
