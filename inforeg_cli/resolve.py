"""From raw settings to an experiment: layers merged, aliases spelt out, every default filled in for the data at hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import BaseModel, TypeAdapter, ValidationError

from inforeg_cli.config import Experiment
from inforeg_cli.data.store import Store
from inforeg_cli.data.transforms import InputConfig, transform_of
from inforeg_cli.errors import BadInput, Misuse
from inforeg_cli.methods import METHODS, MethodConfig
from inforeg_cli.models.encoders import default_encoder
from inforeg_cli.naming import nearest
from inforeg_cli.settings import Settings, merge
from inforeg_cli.window import Window

#: Made once: building one takes longer than all its validating.
_METHOD, _INPUT, _EXPERIMENT = TypeAdapter(MethodConfig), TypeAdapter(InputConfig), TypeAdapter(Experiment)
#: By store, what `_clip_shape` has found: a transform looks at every clip's shape, and a sweep asks thousands of times.
_SHAPES: WeakKeyDictionary[Store, dict[tuple[str, str], tuple[int, ...]]] = WeakKeyDictionary()


def resolve(raw: Mapping[str, Any], store: Store) -> Experiment:
    """The experiment that `raw` asks for on this store, with every default filled in.

    Raises Misuse or BadInput for anything unknown, contradictory or impossible on this data, before anything runs.
    """
    raw = merge({}, raw)
    raw["dataset"] = store.name
    raw["data"] = {"scheme": store.schemes[0], "label": store.label_columns[0], **_table(raw, "data")}
    raw["modalities"] = _chosen(raw.get("modalities"), store)
    fusion_given = "fusion" in raw
    raw = _expand_aliases(raw)
    options = _validated(_METHOD, raw["method"], "method")
    if "own heads" in options.requires:
        raw.setdefault("unimodal_losses", "own")
    if options.fusion and not fusion_given:
        raw["fusion"] = {"name": options.fusion}
    raw["window"] = {"when": METHODS[raw["method"]["name"]].default_window, **_table(raw, "window")}
    inputs, encoders = {}, {}
    for name in raw["modalities"]:
        modality = store.modalities[name]
        inputs[name] = {"kind": modality.kind, **_table(_table(raw, "inputs"), name)}
        config = _validated(_INPUT, inputs[name], f"inputs.{name}")
        default = default_encoder(modality.kind, _clip_shape(store, name, config), modality.sequence)
        encoders[name] = merge({"": default.model_dump()}, {"": _table(raw, "encoders").get(name, {})})[""]
    for table in ("inputs", "encoders"):
        if unknown := [name for name in _table(raw, table) if name not in store.modalities]:
            raise Misuse(f"{table} names {', '.join(unknown)}, but {store.name} has {', '.join(store.modalities)}")
    experiment = _validated(_EXPERIMENT, {**raw, "inputs": inputs, "encoders": encoders})
    if experiment.method.name == "joint":  # nothing acts in a window, so another one makes no other run
        experiment = experiment.model_copy(update={"window": Window()})
    _check_against(experiment, store)
    return experiment


def restored(saved: Mapping[str, Any], source: Path) -> Experiment:
    """The experiment of a run's ``config.json``, which was resolved when the run began."""
    try:
        return Experiment.model_validate(saved)
    except ValidationError as error:
        problems = [_problem(item, saved, "") for item in error.errors()]
    raise BadInput(f"{source} was made by another version of inforeg, whose settings this one does not know:", problems)


#: What a table is where none of its members is named: ``--lr 0.1`` alone is SGD's.
_DEFAULT_NAMES = {"method": "joint", "fusion": "concat", "optimizer": "sgd", "schedule": "step"}


def _expand_aliases(raw: dict[str, Any]) -> dict[str, Any]:
    """Tables given by their name alone; and `uniform`, which is short for joint with own heads' losses."""
    for key, default in _DEFAULT_NAMES.items():
        given = raw.get(key, {})
        raw[key] = {"name": default, **({"name": given} if isinstance(given, str) else _table(raw, key))}
    method = raw["method"]
    if not isinstance(method["name"], str):
        raise Misuse(f"method.name is a word, not {method['name']!r}; there is: {', '.join([*METHODS, 'uniform'])}")
    if method["name"] == "uniform":
        if raw.get("unimodal_losses", "own") != "own":
            raise Misuse("uniform is joint training with unimodal_losses = own; for other losses choose --method joint")
        raw |= {"method": {**method, "name": "joint"}, "unimodal_losses": "own"}
    elif method["name"] not in METHODS:
        raise Misuse(f"there is no method '{method['name']}'; {nearest(method['name'], [*METHODS, 'uniform'])}")
    return raw


def _chosen(wanted: Any, store: Store) -> list[str]:
    """The wanted modalities in the recipe's order, which is part of what a model is; all where none is named."""
    names = [part.strip() for part in wanted.split(",")] if isinstance(wanted, str) else wanted
    if names is None:
        names = list(store.modalities)
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise Misuse(f"modalities is a list of names, not {wanted!r}; {store.name} has {', '.join(store.modalities)}")
    for name in names:
        if name not in store.modalities:
            raise Misuse(f"{store.name} has no modality '{name}'; {nearest(name, list(store.modalities))}")
    return [name for name in store.modalities if name in names]


def _clip_shape(store: Store, name: str, config: Settings) -> tuple[int, ...]:
    """One clip's, as the encoder receives it. Raises Misuse where the configuration does not suit the modality."""
    known, key = _SHAPES.setdefault(store, {}), (name, config.model_dump_json())
    if key not in known:
        known[key] = transform_of(store, name, config).shape
    return known[key]


def _check_against(experiment: Experiment, store: Store) -> None:
    """What only the data can tell: splits, classes, and what fusion and losses need of each other."""
    scheme, label = experiment.data.scheme, experiment.data.label
    for what, value, known in (("data.scheme", scheme, store.schemes), ("data.label", label, store.label_columns)):
        if value not in known:
            raise Misuse(f"{what}: {store.name} has no '{value}'; {nearest(value, known)}")
    for split, least in (("train", 2), ("val", 1), ("test", 1)):
        if (clips := sum(store.counts[scheme][split][label].values())) < least:
            raise Misuse(
                f"{store.name} has {clips} clips in the {split} split of scheme '{scheme}'; training needs {least} or more"
            )


def _table(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key, {})
    if not isinstance(value, Mapping):
        raise Misuse(f"'{key}' is a table of settings, not {value!r}; set one of them: {key}.<setting>=...")
    return value


def _validated(adapter: TypeAdapter, raw: Any, place: str = "") -> Any:
    try:
        return adapter.validate_python(raw)
    except ValidationError as error:
        problems = [_problem(item, raw, place) for item in error.errors()]
    raise BadInput("the settings do not fit:", problems)


def _problem(item: Mapping[str, Any], raw: Any, place: str) -> str:
    """One line a wrong setting: its path as one would write it with --set, and what is wrong with it."""
    path, here = [place] if place else [], raw
    for part in item["loc"]:
        # The name of a union's member stands in the location, but is not part of the path.
        if isinstance(here, Mapping) and part in here:
            path.append(str(part))
            here = here[part]
        elif part == item["loc"][-1]:
            path.append(str(part))
    where = ".".join(path)
    if item["type"] == "extra_forbidden":
        return f"{where}: there is no such setting; {nearest(path[-1], _settings_beside(item['loc'], place))}"
    if item["type"] == "union_tag_invalid":
        return f"{where}.name: '{here.get('name')}' is none of {item['ctx']['expected_tags']}"
    message = item["msg"].removeprefix("Value error, ")
    return (
        f"{where}: {message}" + ("" if isinstance(here, Mapping | BaseModel) else f" (it is {here!r})")
        if where
        else message
    )


def _settings_beside(location: tuple[str | int, ...], place: str) -> list[str]:
    """The settings there are in the table where an unknown one was found, for suggestions."""
    *parents, _ = location
    if not parents and not place:
        return list(Experiment.model_fields)
    table = Experiment.model_fields[parents[0]].annotation if parents[0] in Experiment.model_fields else None
    if isinstance(table, type) and issubclass(table, Settings):
        return list(table.model_fields)
    # A member of a union: its tag, the last part of the location, is the default of its field `name` or `kind`.
    return [
        field
        for member in _below(Settings)
        for tag in ("name", "kind")
        if tag in member.model_fields and member.model_fields[tag].default == parents[-1]
        for field in member.model_fields
    ]


def _below(kind: type) -> list[type]:
    return [child for direct in kind.__subclasses__() for child in (direct, *_below(direct))]
