"""Reading a recipe: everything that is wrong with one is found at once, each with its place."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from inforeg_cli.data.kinds import KINDS, FeatureSettings
from inforeg_cli.data.problems import Problems
from inforeg_cli.data.recipe import (
    CmuMosiRecipe,
    CremaDRecipe,
    DigitsRecipe,
    HatefulMemesRecipe,
    KineticsSoundsRecipe,
    ManifestRecipe,
    Recipe,
    TableRecipe,
    ViolentFlowsRecipe,
)
from inforeg_cli.errors import BadInput, Misuse
from inforeg_cli.naming import count, nearest
from inforeg_cli.settings import Settings

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

_MODALITY = re.compile(r"[a-z][a-z0-9_-]{0,62}")

_SOURCES: dict[str, type[Recipe]] = {
    "manifest": ManifestRecipe,
    "digits": DigitsRecipe,
    "crema-d": CremaDRecipe,
    "kinetics-sounds": KineticsSoundsRecipe,
    "cmu-mosi": CmuMosiRecipe,
    "hateful-memes": HatefulMemesRecipe,
    "violent-flows": ViolentFlowsRecipe,
}


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
    if not issubclass(model, TableRecipe) or not isinstance(given, dict) or not given:
        return _validated(model, table, problems), problems
    sound = {name: settings for name, raw in given.items() if (settings := _modality(name, raw, problems))}
    # With no sound modality left, one that stands in lets the other keys be checked all the same.
    stand_in = {"none": FeatureSettings(array="none")}
    recipe = _validated(model, {**table, "modalities": sound or stand_in}, problems)
    return (recipe if sound else None), problems


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
    if kind is None:
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
