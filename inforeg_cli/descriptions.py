"""What there is to say about a method, taken from where it stands: its class, its options, its equations, its presets."""

import inspect
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import TypeAdapter

from inforeg_cli import paths, presets, studies
from inforeg_cli.config import Data, Experiment
from inforeg_cli.errors import Misuse
from inforeg_cli.methods import AGM, METHODS, OGM, PMR, GBlending, Greedy, InfoReg, Joint, MethodConfig, MMPareto
from inforeg_cli.methods.base import Options
from inforeg_cli.naming import nearest
from inforeg_cli.window import Window

#: What is listed: options, and the experiment's unimodal losses. Each is called what its runs are called in tables.
VARIANTS: tuple[tuple[Options, str], ...] = (
    (Joint.Config(), "none"),
    (Joint.Config(), "own"),
    (OGM.Config(), "none"),
    (OGM.Config(noise=True), "none"),
    (Greedy.Config(), "own"),
    (Greedy.Config(heads="fused"), "none"),
    (PMR.Config(), "none"),
    (AGM.Config(), "none"),
    (GBlending.Config(), "own"),
    (MMPareto.Config(), "own"),
    (InfoReg.Config(), "none"),
    (InfoReg.Config(), "own"),
)

#: What methods can require of model and data, in words.
REQUIREMENTS = {
    "own heads": "a head of its own for each modality",
    "exchange": "MMTM blocks between the encoders",
    "held out": "a tenth of train held out",
    "all parameters": "all parameters at hand",
}

#: Two groups that no table should rank in one: most of what the second gains over joint is the unimodal losses.
GROUPS = {False: "one fused loss", True: "with unimodal losses"}

_WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "none"}


@dataclass(frozen=True)
class Option:
    """Of a method: `meaning`, and in `source` where the default comes from. `type` and `default` as one writes them."""

    name: str
    type: str
    default: str
    meaning: str
    source: str


@dataclass(frozen=True)
class Description:
    """All that `inforeg methods NAME` says. `equations` are functions of the package and what they compute."""

    name: str
    title: str
    paper: str | None
    changes: str
    group: str
    baseline: str | None
    cost: str
    window: str
    summary: tuple[str, ...]
    deviations: str | None
    equations: Mapping[str, str]
    options: tuple[Option, ...]
    requires: tuple[str, ...]
    presets: tuple[str, ...]
    example: str


def descriptions() -> list[Description]:
    """Of every variant, in the order of `VARIANTS`."""
    shipped = _shipped()
    return [_described(_experiment(options, losses), shipped) for options, losses in VARIANTS]


def describe(name: str) -> Description:
    """Of the one that is called so, capitals and punctuation aside. Raises Misuse where there is none."""
    known = {found.name: found for found in descriptions()}
    folded = {_folded(label): label for label in known}
    if _folded(name) not in folded:
        raise Misuse(f"there is no method '{name}'; {nearest(name, known)}")
    return known[folded[_folded(name)]]


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _experiment(options: Options, losses: str) -> Experiment:
    """Some experiment with these options, on data that matters to nothing here."""
    some = Experiment(
        dataset="", data=Data(scheme="", label=""), modalities=("a", "b"), inputs={}, encoders={}, window=Window()
    )
    window = Window(when=METHODS[options.name].default_window)
    return some.model_copy(update={"method": options, "unimodal_losses": losses, "window": window})


def _described(experiment: Experiment, shipped: Mapping[str, Experiment]) -> Description:
    method, options = experiment.method_class, experiment.method
    added = experiment.unimodal_losses == "own" and "own heads" not in options.requires
    changes = [] if added and method.changes == "nothing" else [method.changes]
    changes += ["loss: one of each modality's own head added"] if added else []
    # What follows the word in a paragraph of the docstring tells where the method departs from paper or released code.
    parted = [paragraph.partition("Deviations: ") for paragraph in _paragraphs(method)]
    fitting = {name: other for name, other in shipped.items() if other.method.name == options.name}
    if options.name == "joint":
        fitting = {name: other for name, other in fitting.items() if other.label == experiment.label}
    return Description(
        name=experiment.label,
        title=" ".join((inspect.getmodule(method).__doc__ or "").split()),
        paper=method.paper,
        changes="; ".join(changes),
        group=GROUPS[experiment.unimodal_losses != "none"],
        baseline=experiment.baseline,
        cost=method.cost,
        window=method.default_window + (", each modality's own" if method.windows_per_modality else ""),
        summary=tuple(before.strip() for before, _, _ in parted if before),
        deviations=" ".join(after[0].upper() + after[1:] for _, _, after in parted if after) or None,
        equations={function.__name__: " ".join(_paragraphs(function)) for function in method.equations},
        options=tuple(_option(name, options) for name in type(options).model_fields if name != "name"),
        requires=tuple(REQUIREMENTS[word] for word in sorted(options.requires)),
        presets=tuple(fitting),
        example=_example(experiment, fitting),
    )


def _paragraphs(documented: Any) -> list[str]:
    """Of a docstring, each in one line, in plain text."""
    text = inspect.cleandoc(documented.__doc__ or "").replace("``", "")
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def _option(name: str, options: Options) -> Option:
    field = type(options).model_fields[name]
    source = (field.json_schema_extra or {}).get("source", "")
    return Option(
        name, _words(field.annotation, field.metadata), _value(getattr(options, name)), field.description or "", source
    )


def _words(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A type as people say it: ``Literal["a", "b"]`` is ``a or b``, with its bounds, if any."""
    arguments, origin = get_args(annotation), get_origin(annotation)
    if origin is Annotated:
        return _words(arguments[0], arguments[1:])
    if origin is Literal:
        words = " or ".join(map(str, arguments))
    elif origin in (Union, types.UnionType):
        words = " or ".join(map(_words, arguments))
    elif origin is dict:
        words = f"table, each {_words(arguments[1])}"
    else:
        words = _WORDS[annotation]
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    bounds = [f"{signs[key]} {getattr(one, key):g}" for one in metadata for key in signs if hasattr(one, key)]
    return f"{words} {', '.join(bounds)}".strip()


def _value(value: Any) -> str:
    """A default as one writes it with --set."""
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _shipped() -> dict[str, Experiment]:
    """By name, what each preset that ships says of method and losses."""
    folder, found = paths.shipped("presets"), {}
    for path in sorted(folder.glob("*/*.toml")):
        if studies.is_study(str(path)):
            continue
        name = str(path.relative_to(folder).with_suffix(""))
        settings = presets.load(str(path))
        if "method" in settings:
            found[name] = _preset(settings)
    return found


def _preset(settings: Mapping[str, Any]) -> Experiment:
    method = settings["method"]
    method = {"name": method} if isinstance(method, str) else dict(method)
    losses = settings.get("unimodal_losses")
    if method["name"] == "uniform":
        method["name"], losses = "joint", "own"
    options = TypeAdapter(MethodConfig).validate_python(method)
    return _experiment(options, losses or ("own" if "own heads" in options.requires else "none"))


def _example(experiment: Experiment, fitting: Mapping[str, Experiment]) -> str:
    """With the preset for digits, which need no download, where there is one for exactly this."""
    exact = [name for name, other in fitting.items() if other.label == experiment.label]
    for name in sorted(exact, key=lambda name: (not name.startswith("digits/"), len(name))):
        dataset, _, stem = name.partition("/")
        if stem in (*METHODS, "uniform"):
            return f"inforeg train --dataset {dataset} --method {stem}"
        return f"inforeg train --preset {name}"
    return f"inforeg train --method {experiment.method.name}"
