"""Axes: which values of which setting a sweep goes through, as people write them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, get_args

from pydantic import BaseModel

from inforeg_cli import presets
from inforeg_cli.config import Experiment
from inforeg_cli.errors import Misuse
from inforeg_cli.naming import nearest
from inforeg_cli.settings import dotted, nested

#: Short names, and the settings that they stand for. The axis `method` takes presets' names, too, so it has no setting.
SHORT = {
    "beta": "method.beta",
    "K": "window.K",
    "fusion": "fusion.name",
    "window": "window.when",
    "lr": "optimizer.lr",
    "optimizer": "optimizer.name",
    "schedule": "schedule.name",
    "method.name": "method",
}
#: What an axis goes through where it is given by its name alone; beta and K are the paper's figures 7 and 8.
GRIDS = {
    "beta": ".1,.3,.5,.7,.9,1.0",
    "K": ".01,.02,.04,.06,.08,.1",
    "method": "joint,uniform,ogm,ogm-ge,greedy,pmr,agm,g-blending,mmpareto,inforeg,inforeg-own",
    "fusion": "concat,sum,gated,film",
    "window": "whole,prime,other",
    "seed": "0,1,2",
}
#: Tables whose settings depend on which of several things they are.
UNIONS = ("method", "fusion", "optimizer", "schedule")
#: No axis goes through more values: one that does is a slip of the pen.
_MOST = 10_000
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER}):({_NUMBER}):({_NUMBER}|x\d+)")
_ALMOST_A_RANGE = re.compile(rf"{_NUMBER}:.*")
#: Ends and steps of other sizes are no setting's, and more than decimals hold.
_LARGEST = 300
#: Of points that are spread in ratio: so many digits tell them apart, and can be read.
_DIGITS = 6


@dataclass(frozen=True)
class Axis:
    """name: as it was given, e.g. ``beta``. key: the setting, e.g. ``method.beta``; ``method`` for a preset's name.

    values: what the setting is, as text that can be read. settings: the same as raw settings, one for each value.
    """

    name: str
    key: str
    values: tuple[str, ...]
    settings: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def keys(self) -> set[str]:
        """All that its values set, by dotted key."""
        return {key for settings in self.settings for key in dotted(settings)}


def parse(argument: str) -> Axis:
    """The axis that ``name``, ``name=a,b,c``, ``name=lo:hi:step`` or ``name=lo:hi:xN`` asks for.

    Raises Misuse for a name that no setting has, for one without values, and for ranges that are none.
    """
    name, given, text = (part.strip() for part in argument.partition("="))
    key = SHORT.get(name, name)
    _check_name(name, key)
    if not given and name not in GRIDS:
        raise Misuse(f"the axis {name} has no values of its own: give some, {name}=a,b,c or {name}=lo:hi:step")
    values = tuple(value for item in _items(text if given else GRIDS[name], name) for value in _expanded(item, name))
    return of(name, values)


def of(name: str, values: Sequence[str]) -> Axis:
    """The axis of `name` with these values, which are TOML, or else plain text."""
    key = SHORT.get(name, name)
    readable = tuple(re.sub(r"^([+-]?)\.(?=\d)", r"\g<1>0.", value) for value in values)
    return Axis(name, key, tuple(map(_unquoted, readable)), tuple(_settings(key, value) for value in readable))


def of_values(key: str, values: Sequence[Any]) -> Axis:
    """A study's axis: the values of the setting `key`, as its file has them. Raises Misuse for no such setting."""
    name = next((short for short, setting in SHORT.items() if setting == key), key)
    _check_name(name, key)
    texts = tuple(str(value).lower() if isinstance(value, bool) else str(value) for value in values)
    return Axis(name, key, texts, tuple(nested(key, value) for value in values))


def of_seeds(text: str) -> Axis:
    """The axis that ``--seeds 0-4`` or ``--seeds 0,1,2`` asks for."""
    seeds: list[str] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not 0 <= last - first < _MOST:
            raise Misuse(f"--seeds takes whole numbers and ranges of them, e.g. 0-4 or 0,1,2; got '{text}'")
        seeds += map(str, range(first, last + 1))
    return of("seed", seeds)


def check_distinct(axes: Sequence[Axis], settings: Sequence[str] = (), what: str = "--set or an option") -> None:
    """Raises Misuse where two axes set one key, or an axis a key that `what` sets: `settings`, dotted."""
    for index, axis in enumerate(axes):
        for other in axes[:index]:
            if key := _common(axis.keys, other.keys):
                both = f"{other.name} and {axis.name}" if other.name != axis.name else f"{axis.name}, twice"
                raise Misuse(f"two axes set {key}: {both}")
        if key := _common(axis.keys, {f"{key}.name" if key in UNIONS else key for key in settings}):
            raise Misuse(f"{key} is set twice: by the axis {axis.name} and by {what}; give one of them")


def members(table: str) -> dict[str, type[BaseModel]]:
    """What one of `UNIONS` can be, by name."""
    found = get_args(Experiment.model_fields[table].annotation)
    return {kind.model_fields["name"].default: kind for kind in found}


def _common(some: Iterable[str], others: Iterable[str]) -> str | None:
    """A key that both sets have, or one has a part of."""
    for one in some:
        for other in others:
            if one == other or one.startswith(f"{other}.") or other.startswith(f"{one}."):
                return max(one, other, key=len)
    return None


def _check_name(name: str, key: str) -> None:
    if name == "dataset":
        raise Misuse("the dataset is chosen with --dataset; a sweep has one")
    if not name:
        raise Misuse("an axis is a setting's name, alone or with values: beta, beta=.5,.9 or seed=0:4:1")
    known = _known()
    table, _, rest = key.partition(".")
    if (
        key == "method"
        or (rest and table in ("inputs", "encoders"))
        or any(f"{key}.".startswith(f"{one}.") for one in known)
    ):
        return
    same = [candidate for candidate in known if candidate.rpartition(".")[2] == name]
    hint = f"did you mean '{same[0]}'?" if same else nearest(name, [*known, *SHORT, "method"])
    raise Misuse(f"there is no setting '{name}' to make an axis of; {hint}")


def _known() -> list[str]:
    """Every setting of an experiment, by dotted key, whichever method, fusion, optimiser or schedule has it."""
    found: list[str] = []
    for name, field in Experiment.model_fields.items():
        if name in ("dataset", "inputs", "encoders", "method"):
            continue
        kinds = members(name).values() if name in UNIONS else [field.annotation]
        tables = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        found += [f"{name}.{setting}" for table in tables for setting in table.model_fields] or [name]
    found += [f"method.{setting}" for kind in members("method").values() for setting in kind.model_fields]
    return list(dict.fromkeys(found))


def _items(text: str, name: str) -> Iterator[str]:
    """The values between commas, except those inside brackets, braces and quotes."""
    depth, quote, cuts = 0, "", [-1]
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and not depth:
            cuts.append(index)
    for start, end in pairwise([*cuts, len(text)]):
        item = text[start + 1 : end].strip()
        if not item:
            raise Misuse(f"the axis {name} has an empty value in '{name}={text}'; values stand between commas, a,b,c")
        yield item


def _expanded(item: str, name: str) -> list[str]:
    """The points of a range; any other value alone."""
    if not (found := _RANGE.fullmatch(item)):
        if _ALMOST_A_RANGE.fullmatch(item):
            raise Misuse(
                f"the axis {name}: '{item}' is no range; lo:hi:step and lo:hi:xN are, e.g. 0:1:0.25 or 1:100:x3"
            )
        return [item]
    numbers = [Decimal(text) for text in found.groups() if not text.startswith("x")]
    if any(number and abs(number.adjusted()) > _LARGEST for number in numbers):
        raise Misuse(f"the axis {name}: '{item}' has numbers that are no setting's")
    low, high = numbers[:2]
    if found[3].startswith("x"):
        return _spread(low, high, int(found[3][1:]), f"the axis {name}: {item}")
    return _stepped(low, high, numbers[2], f"the axis {name}: {item}")


def _stepped(low: Decimal, high: Decimal, step: Decimal, where: str) -> list[str]:
    """From `low` to `high`, both included, in decimals that are exact."""
    if step == 0 or (high - low) / step < 0:
        raise Misuse(f"{where}: steps of {step} do not lead from {low} to {high}")
    steps = (high - low) / step
    if steps >= _MOST:
        raise Misuse(f"{where} has more than {_MOST:,} values")
    if steps != int(steps):
        last = low + int(steps) * step
        raise Misuse(
            f"{where}: steps of {step} miss {high}; the last one before it is {last:f}, so end there or step otherwise"
        )
    return [f"{low + index * step:f}" for index in range(int(steps) + 1)]


def _spread(low: Decimal, high: Decimal, points: int, where: str) -> list[str]:
    """From `low` to `high`, both included, each the same multiple of the one before, to `_DIGITS` digits."""
    if low * high <= 0:
        raise Misuse(f"{where}: xN spreads values evenly in ratio, so both ends are above zero, or both below")
    if not 2 <= points <= _MOST:
        raise Misuse(f"{where}: a range has from 2 to {_MOST:,} values")
    ratio = high / low
    inner = (low * ratio ** (Decimal(index) / (points - 1)) for index in range(1, points - 1))
    return [f"{low:f}", *(f"{float(value):.{_DIGITS}g}" for value in inner), f"{high:f}"]


def _settings(key: str, value: str) -> dict[str, Any]:
    if key == "modalities":  # a value is one list of them: sound+image
        return {key: [part.strip() for part in _unquoted(value).replace("+", ",").split(",")]}
    if value.startswith("{") and key.endswith(".name"):
        key = key.removesuffix(".name")
    if key == "method":
        return {key: {"name": _unquoted(value)}}
    return presets.from_assignments([f"{key}={value}"])


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value
