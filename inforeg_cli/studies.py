"""Studies: which experiments make a table or a figure of the paper, or of one's own, and what the paper printed for each."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from inforeg_cli import paths, presets
from inforeg_cli.errors import BadInput, Misuse
from inforeg_cli.naming import nearest
from inforeg_cli.settings import Settings, dotted, merge

#: What a row is unless its method or a preset says otherwise. Spelt out, so that a row finds its runs by its settings.
_PLAIN = {"fusion": {"name": "concat"}, "unimodal_losses": "none", "window": {"when": "whole"}}
#: Methods with more to them than their name, for data without presets of their own.
VARIANTS: dict[str, dict[str, Any]] = {
    "uniform": {"method": {"name": "joint"}, "unimodal_losses": "own"},
    "uniform-lr": {"method": {"name": "joint"}, "unimodal_losses": "own", "optimizer": {"encoder_lr_factor": 1.5}},
    "ogm-ge": {"method": {"name": "ogm", "noise": True}},
    "greedy": {"method": {"name": "greedy"}, "fusion": {"name": "branches"}, "unimodal_losses": "own"},
    "greedy-fused": {"method": {"name": "greedy", "heads": "fused"}},
    "g-blending": {"method": {"name": "g-blending"}, "unimodal_losses": "own"},
    "mmpareto": {"method": {"name": "mmpareto"}, "unimodal_losses": "own"},
    "inforeg": {"method": {"name": "inforeg"}, "window": {"when": "prime"}},
    "inforeg-own": {"method": {"name": "inforeg"}, "window": {"when": "prime"}, "unimodal_losses": "own"},
}


class StudyRow(Settings):
    """One experiment but for its seed.

    name: what the table calls it. method: the name of a preset of the dataset, or of a method.
    set: settings over the preset's. modalities: only these of the data's, by number in the recipe's order, e.g. ``[0]``.
    printed: what the paper printed, in percent, by dataset and metric (``accuracy``, ``macro_f1``, or a modality).
    """

    name: str
    method: str = "joint"
    set: dict[str, Any] = Field(default_factory=dict)
    modalities: list[int] | None = None
    printed: dict[str, dict[str, float]] = Field(default_factory=dict)


class Study(Settings):
    """title: the paper's, in our words. axes: values of settings, by dotted key, that every row is run with."""

    title: str
    seeds: list[int] = Field([0, 1, 2], min_length=1)
    set: dict[str, Any] = Field(default_factory=dict)
    axes: dict[str, list[Any]] = Field(default_factory=dict)
    rows: list[StudyRow] = Field(min_length=1)


def find(name: str) -> Path | None:
    """The file of study `name`, e.g. ``paper/table2``; the user's own under the root wins over a shipped one."""
    candidates = (folder / f"{name}.toml" for folder in (paths.root() / "presets", paths.shipped("presets")))
    return next((file for file in candidates if file.is_file() and _is_study(file)), None)


def load(name_or_file: str) -> Study:
    """Raises Misuse where there is none of that name, BadInput where it cannot be understood."""
    path = Path(name_or_file) if name_or_file.endswith(".toml") else find(name_or_file)
    if path is None or not path.is_file():
        folders = (paths.root() / "presets", paths.shipped("presets"))
        known = {f"paper/{file.stem}" for folder in folders for file in (folder / "paper").glob("*.toml")}
        raise Misuse(f"there is no study '{name_or_file}'; {nearest(name_or_file, known)}")
    try:
        return Study.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misuse(f"{path} is not valid TOML: {error}") from None
    except ValidationError as error:
        raise BadInput(
            f"{path}:", [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        ) from None


def settings_of(dataset: str, method: str) -> tuple[dict[str, Any], str | None]:
    """The raw settings that `method`, a preset's or a method's name, has on `dataset`, and the preset they come from."""
    preset = next((name for name in (f"{dataset}/{method}", f"{dataset}/protocol") if presets.find(name)), None)
    from_preset = {} if preset is None else presets.load(preset)
    variant = VARIANTS.get(method, {"method": {"name": method}})
    whole = preset == f"{dataset}/{method}"
    layers = (variant, from_preset) if whole else (from_preset, variant)
    raw = merge(merge(_PLAIN, layers[0]), layers[1])
    if dotted(merge(raw, {"method": {}}))["method.name"] == "uniform":
        raw |= {"method": {"name": "joint"}, "unimodal_losses": "own"}
    return raw, preset


def row_settings(study: Study, row: StudyRow, dataset: str, modalities: Mapping[int, str]) -> tuple[dict, str | None]:
    """The raw settings of `row` on `dataset`, whose modalities are these by number, and the preset they come from.

    They say all that tells the row from another one; what they leave out has its default.
    """
    raw, preset = settings_of(dataset, row.method)
    raw = merge(merge(raw, study.set), row.set)
    if row.modalities is not None:
        if absent := [index for index in row.modalities if index not in modalities]:
            raise Misuse(f"{row.name}: {dataset} has {len(modalities)} modalities, none of number {absent[0]}")
        raw["modalities"] = [modalities[index] for index in row.modalities]
    return raw, preset


def _is_study(file: Path) -> bool:
    try:
        return "rows" in tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False
