"""What a dataset is: `recipe.toml`, checked. Which files and columns, which modalities of which kind, which splits."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from inforeg_cli.data.problems import Problems
from inforeg_cli.errors import BadInput, Misuse
from inforeg_cli.files import canonical_json, digest
from inforeg_cli.naming import nearest
from inforeg_cli.settings import Settings

#: Raised when the same recipe and the same files would give other bytes than before: every store is then out of date.
PREPARATION_VERSION = 1

#: Kinds that the store has room for and that no recipe can ask for yet.
LATER_KINDS = ("video", "text")

#: Names that results use beside the modalities' own.
_COLUMNS = frozenset({"all", "fused", "id", "label"})

#: Attributes of `torch.nn.ModuleDict`, which holds one encoder a modality and refuses a key of such a name.
#: Spelt out because asking torch itself would cost every command its import.
_ATTRIBUTES = frozenset(
    """
    add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda double dump_patches eval
    extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu items keys
    load_state_dict modules mtia named_buffers named_children named_modules named_parameters parameters pop
    register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
    register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook
    register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty
    train training type update values xpu zero_grad
    """.split()  # noqa: SIM905
)

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_MODALITY = re.compile(r"[a-z][a-z0-9_-]{0,62}")

Fraction = Annotated[float, Field(gt=0, lt=1)]
Columns = Annotated[list[str], Field(min_length=1)]


class Splits(Settings):
    """How missing splits are carved: shares of the clips that carving starts from, and the seed that orders them."""

    val: Fraction = 0.15
    test: Fraction = 0.15
    seed: int = 0

    @model_validator(mode="after")
    def _leave_train(self) -> "Splits":
        if self.val + self.test >= 1:
            raise ValueError(f"val {self.val} and test {self.test} leave nothing to train on")
        return self


class AudioSettings(Settings):
    """Any file PyAV decodes, as mono at `sample_rate` Hz, exactly `seconds` long: longer is cut, shorter is
    repeated (``fit = "tile"``, as the papers do) or ended with silence (``"pad"``)."""

    kind: Literal["audio"] = "audio"
    column: str
    sample_rate: int = Field(ge=1000, le=384_000)
    seconds: float = Field(gt=0, le=3600)
    fit: Literal["tile", "pad"] = "tile"

    @property
    def samples(self) -> int:
        return max(1, round(self.sample_rate * self.seconds))


class ImageSettings(Settings):
    """Any file Pillow opens, as ``[C, H, W]``: `mode` L (grey) or RGB, stretched to `size` (one number, or height
    and width) where it is given; without it all images must have one size."""

    kind: Literal["image"] = "image"
    column: str
    mode: Literal["L", "RGB"] = "RGB"
    size: tuple[int, int] | None = None

    @field_validator("size", mode="before")
    @classmethod
    def _square(cls, value: Any) -> Any:
        return (value, value) if isinstance(value, int) else value

    @field_validator("size")
    @classmethod
    def _sensible(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value and not all(1 <= side <= 8192 for side in value):
            raise ValueError("each side must lie between 1 and 8192 pixels")
        return value


class FeatureSettings(Settings):
    """Ready vectors ``[D]`` or sequences ``[T, D]``: a `column` of .npy paths, or one `array` whose row i belongs to
    the manifest's row i. Sequences are zero-padded to `length` steps (default: the longest) and cut where longer."""

    kind: Literal["features"] = "features"
    column: str | None = None
    array: str | None = None
    length: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_origin(self) -> "FeatureSettings":
        if (self.column is None) == (self.array is None):
            raise ValueError("give either column or array, not both")
        return self


ModalitySettings = Annotated[AudioSettings | ImageSettings | FeatureSettings, Field(discriminator="kind")]
KINDS: dict[str, type[Settings]] = {"audio": AudioSettings, "image": ImageSettings, "features": FeatureSettings}


class Recipe(Settings):
    """What every recipe says. `origin` tells people where the raw data comes from, under which licence, how large."""

    name: str
    source: str
    origin: str = ""
    splits: Splits = Splits()

    @field_validator("name")
    @classmethod
    def _usable_as_folder(cls, value: str) -> str:
        if not _SLUG.fullmatch(value):
            raise ValueError("use lower-case letters, digits, '-', '_' and '.', at most 63, a letter or digit first")
        return value

    @property
    def digest(self) -> str:
        """Names everything in the recipe that can change the prepared bytes; not its name, place or origin."""
        content = self.model_dump(mode="json", exclude={"name", "origin", "manifest"})
        # The order of the modalities matters to some fusions, and a sorted dictionary would forget it.
        content["modalities"] = list(content.get("modalities", {}).items())
        return digest(canonical_json({"preparation": PREPARATION_VERSION, **content}))


class ManifestRecipe(Recipe):
    """Your own data: a CSV `manifest` beside the recipe with one row a clip.

    `labels` are the columns to classify by, the first by default; `split` names one column a split scheme (default:
    the column "split" if there is one; missing splits are carved); clips that share a value of the column `group`
    are kept together when splits are carved.
    """

    source: Literal["manifest"] = "manifest"
    manifest: str = "manifest.csv"
    labels: Columns = Field(["label"])
    split: Columns | None = None
    group: str | None = None
    modalities: dict[str, ModalitySettings] = Field(min_length=1)

    @field_validator("labels", "split", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> "ManifestRecipe":
        if self.name == "digits":
            raise ValueError("the name 'digits' belongs to the embedded dataset: choose another")
        columns = [*self.labels, *(self.split or [])]
        if len(set(columns)) != len(columns):
            raise ValueError("a column is named twice among labels and split")
        return self

    @property
    def columns(self) -> dict[str, str]:
        """The column of file names of each modality that has one."""
        return {name: settings.column for name, settings in self.modalities.items() if settings.column is not None}

    @property
    def arrays(self) -> dict[str, str]:
        """The array of each modality that lies in one file."""
        return {name: settings.array for name, settings in self.modalities.items() if name not in self.columns}


class DigitsRecipe(Recipe):
    """The embedded default: scikit-learn's handwritten digits, each with the telephone tone pair of its digit.

    `tone_to_noise_db` is the power of the tone pair over the noise's, in decibels; `image_noise` the standard
    deviation of the image noise, in standard deviations of all pixels; `seed` draws both noises and the phases.
    """

    source: Literal["digits"]
    tone_to_noise_db: float = Field(-6.0, ge=-60, le=60)
    image_noise: float = Field(2.0, ge=0, le=100)
    seconds: float = Field(0.1, ge=0.001, le=10)
    seed: int = Field(0, ge=0)


_SOURCES: dict[str, type[Recipe]] = {"manifest": ManifestRecipe, "digits": DigitsRecipe}


def load(path: Path) -> Recipe:
    """The recipe at `path`. Raises BadInput with every problem in it, Misuse where it cannot be read at all."""
    recipe, problems = examine(path)
    if recipe is None or problems:
        raise bad_recipe(path, problems)
    return recipe


def bad_recipe(path: Path, problems: Problems) -> BadInput:
    return BadInput(f"{path}: the recipe has {count(len(problems), 'problem')}", problems.lines())


def examine(path: Path) -> tuple[Recipe | None, Problems]:
    """What is sound of the recipe at `path`, and what is wrong with the rest.

    Each modality is checked by itself, so that one bad modality does not hide what is wrong with the others' files:
    the recipe returned then lacks it. None is returned where nothing can be done with the recipe.
    """
    table, problems = _read(path), Problems()
    source = table.get("source", "manifest")
    if not isinstance(source, str) or source not in _SOURCES:
        problems.add("source", "the source is not known", f"{source!r}; there is: {', '.join(_SOURCES)}")
        return None, problems
    model, given = _SOURCES[source], table.get("modalities")
    if model is not ManifestRecipe or not isinstance(given, dict) or not given:
        return _validated(model, table, problems), problems
    sound = {name: settings for name, raw in given.items() if (settings := _modality(name, raw, problems))}
    # With no sound modality left, one that stands in lets the other keys be checked all the same.
    stand_in = {"none": FeatureSettings(array="none")}
    recipe = _validated(model, {**table, "modalities": sound or stand_in}, problems)
    return (recipe if sound else None), problems


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misuse(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise Misuse(f"{path}: cannot read the recipe: {error.strerror}") from None


def _modality(name: str, raw: Any, problems: Problems) -> Settings | None:
    where = f"modalities.{name}"
    if reason := _bad_name(name):
        problems.add(where, "the modality cannot be called this", reason)
    if not isinstance(raw, dict):
        problems.add(where, "a modality is a table with at least a kind", f"[{where}]")
        return None
    kind = raw.get("kind")
    there = f"there is: {', '.join(KINDS)}"
    if isinstance(kind, str) and kind in LATER_KINDS:
        problems.add(f"{where}.kind", "the kind comes with a later version", f"{kind!r}; now {there}")
    elif kind is None:
        problems.add(f"{where}.kind", "missing", there)
    elif not isinstance(kind, str) or kind not in KINDS:
        problems.add(f"{where}.kind", "the kind is not known", f"{kind!r}; {there}")
    else:
        # The modality's own name is the column to read unless another, or an array, is named.
        filled = raw if "column" in raw or "array" in raw else {"column": name, **raw}
        return _validated(KINDS[kind], filled, problems, where)
    return None


def _bad_name(name: str) -> str | None:
    if not _MODALITY.fullmatch(name):
        return "use lower-case letters, digits, '-' and '_', at most 63, a letter first"
    if name in _COLUMNS:
        return "results use the name beside the modalities' own"
    if name in _ATTRIBUTES:
        return "PyTorch's containers have an attribute of that name"
    return None


def _validated(model: type[Settings], table: Mapping[str, Any], problems: Problems, where: str = "") -> Any:
    try:
        return model.model_validate(table)
    except ValidationError as error:
        for detail in error.errors():
            _report(model, detail, where, problems)
        return None


def _report(model: type[BaseModel], detail: Mapping[str, Any], where: str, problems: Problems) -> None:
    path = ".".join([*([where] if where else []), *map(str, detail["loc"])]) or "recipe"
    if detail["type"] == "extra_forbidden":
        owner: Any = model
        for step in detail["loc"][:-1]:
            owner = owner.model_fields[step].annotation
        problems.add(path, "unknown key", nearest(str(detail["loc"][-1]), owner.model_fields))
    elif detail["type"] == "missing":
        problems.add(path, "missing")
    else:
        given = detail.get("input")
        shown = f"not {given!r}" if isinstance(given, str | int | float) else ""
        problems.add(path, detail["msg"].removeprefix("Value error, "), shown)
