"""Experiments kept as TOML files: found by name, and layered preset < --set < flag."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from inforeg_cli import paths
from inforeg_cli.errors import Misuse
from inforeg_cli.naming import nearest
from inforeg_cli.settings import merge, nested


def find(name: str) -> Path | None:
    """The file of preset `dataset/name`: the user's own under the root before the one that ships."""
    candidates = (folder / f"{name}.toml" for folder in (paths.root() / "presets", paths.shipped("presets")))
    return next((path for path in candidates if path.is_file()), None)


def load(name_or_file: str) -> dict[str, Any]:
    """The settings of a preset, `dataset/name` or a file, over those of the one it `extends` (a file beside it).

    A preset that stands in a dataset's folder is for that dataset unless it says otherwise.
    """
    path = Path(name_or_file) if name_or_file.endswith(".toml") else find(name_or_file)
    if path is None or not path.is_file():
        known = {
            str(file.relative_to(folder).with_suffix(""))
            for folder in (paths.root() / "presets", paths.shipped("presets"))
            for file in folder.glob("*/*.toml")
        }
        raise Misuse(f"there is no preset '{name_or_file}'; {nearest(name_or_file, known)}")
    settings = _read(path, seen=())
    if "rows" in settings:
        raise Misuse(f"{name_or_file} is a study of several experiments: inforeg sweep --preset {name_or_file}")
    return settings if name_or_file.endswith(".toml") else {"dataset": name_or_file.split("/")[0], **settings}


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = path.resolve()
    if path in seen:
        raise Misuse(f"{path} extends itself")
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Misuse(f"{path}, which {seen[-1]} extends, does not exist") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misuse(f"{path} is not valid TOML: {error}") from None
    base = settings.pop("extends", None)
    return settings if base is None else merge(_read(path.parent / f"{base}.toml", (*seen, path)), settings)


def from_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """``["optimizer.lr=1e-3", "window.when=prime"]`` as nested tables; values are TOML, or else plain text."""
    settings: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if not separator or not all(parts):
            raise Misuse(f"--set takes key=value, for example --set optimizer.lr=1e-3; got '{assignment}'")
        settings = merge(settings, nested(".".join(parts), _value(text.strip())))
    return settings


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
