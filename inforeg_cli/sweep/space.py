"""What a search draws from: settings with their ranges, and the point of them that each trial of a method is."""

import tomllib
from collections.abc import Mapping
from math import exp, log
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from inforeg_cli import paths, seeds
from inforeg_cli.errors import BadInput, Misuse
from inforeg_cli.settings import Settings

#: So many digits of a drawn number are kept: it can be read, and is the same where a last bit differs.
_DIGITS = 4


class Dimension(Settings):
    """One setting's values: exactly one of `range` (`log`, `integer`), `times` and `choices` says which.

    times: multiples of the protocol's own value, even in logarithms, so that one space fits data of any learning rate.
    """

    range: tuple[float, float] | None = None
    log: bool = False
    integer: bool = False
    times: tuple[float, float] | None = None
    choices: list[Any] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _one_kind(self) -> "Dimension":
        if sum(kind is not None for kind in (self.range, self.times, self.choices)) != 1:
            raise ValueError("a setting has one of range, times and choices")
        if self.range is None and (self.log or self.integer):
            raise ValueError("log and integer belong to a range")
        low, high = self.range or self.times or (0, 1)
        if not low < high:
            raise ValueError(f"from {low:g} to {high:g} there is nothing: the lower end comes first")
        if low <= 0 and (self.log or self.times):
            raise ValueError(f"logarithms begin above 0, not at {low:g}")
        if self.integer and not (low.is_integer() and high.is_integer()):
            raise ValueError(f"the ends of whole numbers are whole, not {low:g} and {high:g}")
        return self

    def at(self, share: float, protocol: float | None = None) -> Any:
        """The value that `share`, in [0, 1), of the way through; `protocol` is what `times` multiplies."""
        if self.choices is not None:
            return self.choices[int(share * len(self.choices))]
        low, high = self.range or tuple(factor * protocol for factor in self.times)
        if self.integer:  # each whole number has the interval up to the next
            high += 1
        value = low * exp(share * log(high / low)) if self.log or self.times else low + share * (high - low)
        return min(int(value), int(high) - 1) if self.integer else float(f"{value:.{_DIGITS}g}")


class Space(Settings):
    """seed: of the draws, and what trials are trained with. common: what every method tunes, by dotted key. methods:
    what each tunes besides."""

    seed: int = Field(1000, ge=0)
    common: dict[str, Dimension] = Field(default_factory=dict)
    methods: dict[str, dict[str, Dimension]]

    def of(self, name: str, method: str) -> dict[str, Dimension]:
        """What is tuned of `name`, a preset or method; one without a table of its own has that of its `method`.

        Raises Misuse where the space says nothing of either: an empty table says that there is nothing of its own.
        """
        own = self.methods.get(name, self.methods.get(method))
        if own is None:
            raise Misuse(
                f"the search's space says nothing of {name}: give it a table [methods.{name}], which may be empty "
                "where only the common settings are to be tuned"
            )
        return self.common | own

    def draws(self, name: str, dimensions: Mapping[str, Dimension], number: int) -> list[dict[str, float]]:
        """The first `number` points of the sequence of `name`, by setting, each coordinate in [0, 1).

        Scrambled Sobol points: they fill the space more evenly than independent ones do, and the first points of a
        longer sequence are those of a shorter one. I. M. Sobol (1967); A. Owen (1998).
        """
        from scipy.stats import qmc

        if not number or not dimensions:
            return [{} for _ in range(number)]
        sampler = qmc.Sobol(len(dimensions), scramble=True, seed=seeds.derive("search", self.seed, name))
        points = sampler.random_base2((number - 1).bit_length())[:number]
        return [dict(zip(dimensions, point, strict=True)) for point in points.tolist()]


def load(file: Path | None = None) -> Space:
    """The space in `file`; without one the user's own ``presets/search.toml`` under the root, else the shipped one."""
    candidates = (folder / "search.toml" for folder in (paths.root() / "presets", paths.shipped("presets")))
    path = file or next(candidate for candidate in candidates if candidate.is_file())
    try:
        return Space.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise Misuse(f"{path}, which declares what a search draws from, cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misuse(f"{path} is not valid TOML: {error}") from None
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, i['loc']))}: {i['msg'].removeprefix('Value error, ')}" for i in error.errors()]
    raise BadInput(f"{path} declares no space:", problems)
