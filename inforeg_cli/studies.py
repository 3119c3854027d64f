"""Studies: which experiments make a table or a figure of the paper, or of one's own, and what the paper printed for each."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt, ValidationError, model_validator

from inforeg_cli import paths, presets
from inforeg_cli.errors import BadInput, Misuse
from inforeg_cli.naming import nearest
from inforeg_cli.settings import Settings, merge
from inforeg_cli.window import Window

#: What a row is unless its method or a preset says otherwise. Spelt out, so that a row finds its runs by its settings.
_PLAIN = {
    "method": {"name": "joint"},
    "fusion": {"name": "concat"},
    "unimodal_losses": "none",
    "window": Window().model_dump(),
    "trace": {"reduction": "sum", "after_adjust": False},
    "optimizer": {"encoder_lr_factor": 1.0},
}
#: The methods' own defaults, spelt out for the same reason.
DEFAULTS: dict[str, dict[str, Any]] = {
    "ogm": {"alpha": 0.3, "noise": False},
    "greedy": {"heads": "branches", "epsilon": 0.01, "curation": 5, "burn_in": 1, "random": False, "curate": True},
    "pmr": {"alpha": 2.0, "momentum": 0.2, "weights": "hard", "entropy": 0.0, "share": 0.1},
    "agm": {"alpha": 1.0, "clip": None},
    "g-blending": {"estimate": "offline", "super_epoch": 10, "weights": None},
    "mmpareto": {"gamma": 1.5},
    "inforeg": {"beta": 0.9, "score": "log_p", "strength": 1.0},
}
#: As long as a training is where no preset says so.
EPOCHS = 50
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
    set: settings over the preset's. modalities: only these of the data's, by number in the recipe's order, e.g. ``[0]``;
        ``each`` stands for a row a modality, on that one alone (see `rows_on`).
    window_of: the window's settings are those that this method has on the data, e.g. InfoReg's for a method in its window.
    times_epochs: this many times the epochs that the data's preset says; the schedule stays as it is.
    baseline: the name of the row that this one is measured against. ours: the paper has no such row.
    cell: line and column of the paper's table, where it has a column for each of several experiments.
    note: what a reader of the table must know about the row.
    printed: what the paper printed, in percent, by dataset and metric (``accuracy``, ``macro_f1``, or a modality).
    """

    name: str
    method: str = "joint"
    set: dict[str, Any] = Field(default_factory=dict)
    modalities: list[int] | Literal["each"] | None = None
    window_of: str | None = None
    times_epochs: PositiveInt | None = None
    baseline: str | None = None
    ours: bool = False
    cell: tuple[str, str] | None = None
    note: str | None = None
    printed: dict[str, dict[str, float]] = Field(default_factory=dict)


class Study(Settings):
    """title: the paper's, in our words. axes: values of settings, by dotted key, that every row is run with.

    measures: what a table of it shows: scores of the fused output, and ``modalities``, the accuracy of each one.
    """

    title: str
    measures: list[Literal["accuracy", "macro_f1", "auroc", "modalities"]] = Field(
        ["accuracy", "modalities"], min_length=1
    )
    seeds: list[int] = Field([0, 1, 2], min_length=1)
    set: dict[str, Any] = Field(default_factory=dict)
    axes: dict[str, list[Any]] = Field(default_factory=dict)
    rows: list[StudyRow] = Field(min_length=1)

    @model_validator(mode="after")
    def _rows_known(self) -> "Study":
        names = [row.name for row in self.rows]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two rows are called '{twice[0]}'")
        for row in self.rows:
            if row.baseline is not None and (row.baseline not in names or row.baseline == row.name):
                raise ValueError(f"row '{row.name}' has the baseline '{row.baseline}', which is no other row")
        return self


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
    if preset == f"{dataset}/{method}":
        layers = (_brought(method, from_preset), from_preset)
    else:
        layers = (from_preset, VARIANTS.get(method, {"method": {"name": method}}))
    raw = merge(merge(_PLAIN, layers[0]), layers[1])
    if raw["method"]["name"] == "uniform" and raw["unimodal_losses"] == "own":
        raw["method"] = {"name": "joint"}
    raw["method"] = DEFAULTS.get(raw["method"]["name"], {}) | raw["method"]
    return raw, preset


def names_on(dataset: str) -> list[str]:
    """The names that `settings_of` takes: the dataset's presets, and methods with and without their variants."""
    folders = (paths.root() / "presets" / dataset, paths.shipped("presets") / dataset)
    own = {file.stem for folder in folders for file in folder.glob("*.toml") if not _is_study(file)}
    return sorted(own | {"joint"} | DEFAULTS.keys() | VARIANTS.keys())


def rows_on(study: Study, modalities: Mapping[int, str]) -> list[StudyRow]:
    """The study's rows on data with these modalities by number: a row that stands for each becomes one a modality."""
    rows = []
    for row in study.rows:
        each = [{"name": f"{name} alone", "modalities": [index]} for index, name in modalities.items()]
        rows += [row.model_copy(update=one) for one in (each if row.modalities == "each" else [{}])]
    return rows


def row_settings(study: Study, row: StudyRow, dataset: str, modalities: Mapping[int, str]) -> tuple[dict, str | None]:
    """The raw settings of `row` on `dataset`, whose modalities are these by number, and the preset they come from.

    They say all that tells the row from another one; what they leave out has its default.
    """
    raw, preset = settings_of(dataset, row.method)
    if row.window_of is not None:
        raw = merge(raw, {"window": settings_of(dataset, row.window_of)[0]["window"]})
    if row.times_epochs is not None:
        raw["epochs"] = row.times_epochs * raw.get("epochs", EPOCHS)
    raw = merge(merge(raw, study.set), row.set)
    if row.modalities is not None:
        if row.modalities == "each":
            raise Misuse(f"{row.name}: stands for several rows, see studies.rows_on")
        if absent := [index for index in row.modalities if index not in modalities]:
            raise Misuse(f"{row.name}: {dataset} has {len(modalities)} modalities, none of number {absent[0]}")
        raw["modalities"] = [modalities[index] for index in row.modalities]
    return raw, preset


def is_study(name_or_file: str) -> bool:
    """Whether a preset's name, or a file, is a study's rather than one experiment's."""
    return _is_study(Path(name_or_file)) if name_or_file.endswith(".toml") else find(name_or_file) is not None


def _brought(name: str, preset: Mapping[str, Any]) -> dict[str, Any]:
    """What comes with the method of a preset called `name`: the one that it names, else the one that it is called by."""
    method = merge({"method": {}}, {"method": preset.get("method", {})})["method"]
    if "name" in method:
        fused = method["name"] == "greedy" and method.get("heads") == "fused"
        name = "greedy-fused" if fused else method["name"]
    elif name not in DEFAULTS.keys() | VARIANTS.keys():
        name = "joint"
    return VARIANTS.get(name, {"method": {"name": name}})


def _is_study(file: Path) -> bool:
    try:
        return "rows" in tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False
