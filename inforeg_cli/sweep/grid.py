"""From axes and presets to cells: every combination as an experiment, each once, and none that cannot be run."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from inforeg_cli import presets, studies
from inforeg_cli.data.store import Store
from inforeg_cli.engine.launch import folder_of
from inforeg_cli.errors import BadInput, Misuse
from inforeg_cli.methods import METHODS
from inforeg_cli.naming import count, nearest
from inforeg_cli.resolve import resolve
from inforeg_cli.settings import dotted, merge
from inforeg_cli.sweep import axes as axis
from inforeg_cli.sweep.axes import UNIONS, Axis
from inforeg_cli.sweep.cells import Cell

#: A grid of more combinations is a slip of the pen, and would take minutes to say so.
_MOST = 100_000
#: So many cells are named with a reason for which they cannot be run.
_EXAMPLES = 3

#: Raw settings by a method's name, None for their own one; with the preset that they come from.
_Base = Callable[[str | None], tuple[Mapping[str, Any], str | None]]


@dataclass(frozen=True)
class Grid:
    """cells: each experiment once, in the order of the axes. merged: combinations that were one of these again."""

    cells: tuple[Cell, ...]
    merged: int


def shard(cells: Sequence[Cell], text: str | None) -> Sequence[Cell]:
    """Part i of n, as ``i/n`` says: cells i, i + n, ... by position, so that what is dear in one place is shared out.
    All of them without one. Raises Misuse for a part that there is not.
    """
    if text is None:
        return cells
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    part, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= part <= parts:
        raise Misuse(f"--shard {text}: it takes the part and how many there are, counted from 1, e.g. 1/4 to 4/4")
    return cells[part - 1 :: parts]


@dataclass(frozen=True)
class _Row:
    """What axes multiply: an experiment, or one row of a study with the study's own axes and seeds."""

    values: Mapping[str, str]
    base: _Base
    axes: tuple[Axis, ...] = ()
    seeds: Axis | None = None


@dataclass
class _Draft:
    """A cell to be. chosen: its axes, each with the position of its value."""

    values: dict[str, str]
    raw: dict[str, Any]
    preset: str | None
    chosen: list[tuple[Axis, int]]


def grid(
    store: Store,
    runs: Path,
    axes: Sequence[Axis],
    *,
    seeds: Axis | None = None,
    paired: bool = False,
    presets: Sequence[str] = (),
    method: str | None = None,
    assigned: Mapping[str, Any] | None = None,
) -> Grid:
    """The cells of `axes` on `store`, whose runs lie in `runs`.

    seeds: multiplies with the axes, or stands for the seeds of studies. paired: the axes' first values make the first
    cell, and so on, in place of every combination. presets: studies and experiments, each of which is multiplied; two
    that share cells share them. method: that of all cells, where neither an axis nor a preset says. assigned: settings
    over those of presets.

    A setting that another method, fusion, optimiser or schedule of the grid has is passed over where a cell's has it
    not: with `method` and `beta`, joint is one cell. Raises Misuse for contradicting axes; BadInput, with every cell
    that cannot be run by reason.
    """
    assigned = assigned or {}
    if "method.name" in dotted(merge({"method": {}}, assigned)):
        raise Misuse("--set method: a sweep's methods are chosen with --method, or by the axis method=a,b")
    everything = [*axes, *([seeds] if seeds else [])]
    axis.check_distinct(everything, dotted(assigned).keys())
    if paired and len({len(one) for one in axes}) > 1:
        lengths = ", ".join(f"{one.name} {len(one)}" for one in axes)
        raise Misuse(f"--zip pairs axes of one length; these have different numbers of values: {lengths}")
    rows = _rows(store, everything, presets, method, assigned)
    drafts = [draft for row in rows for draft in _drafts(row, axes, seeds, paired)]
    _pass_over_foreign(drafts)
    return _resolved(drafts, store, runs)


def _rows(
    store: Store, given: Sequence[Axis], names: Sequence[str], method: str | None, assigned: Mapping[str, Any]
) -> list[_Row]:
    methods = [value for one in given if one.key == "method" for value in one.values] + ([method] if method else [])
    if method and len(methods) > 1:
        raise Misuse("the axis method and --method both choose the methods; give one of them")
    known = studies.names_on(store.name)
    for name in methods:
        if name not in known:
            raise Misuse(f"there is no method or preset '{name}' on {store.name}; {nearest(name, known)}")
    if not names:
        return [_Row({}, cache(partial(_of_method, store.name, assigned, method or _usual_method(given))))]
    rows = []
    for name in dict.fromkeys(names):
        if studies.is_study(name):
            if methods:
                raise Misuse(f"{name} chooses the methods by its rows: leave out the axis method, and --method")
            rows += _rows_of_study(name, store, given, assigned, alone=len(names) == 1)
        else:
            base = cache(partial(_of_preset, name, presets.load(name), assigned, method))
            rows.append(_Row({"preset": name} if len(names) > 1 else {}, base))
    return rows


def _rows_of_study(
    name: str, store: Store, given: Sequence[Axis], assigned: Mapping[str, Any], alone: bool
) -> Iterator[_Row]:
    study = studies.load(name)
    own = tuple(axis.of_values(key, values) for key, values in study.axes.items())
    axis.check_distinct([*own, *given], dotted(assigned).keys())
    seeds = (
        None if any(one.key == "seed" for one in given) or "seed" in assigned else axis.of_values("seed", study.seeds)
    )
    if any(one.key == "epochs" for one in given) and any(row.times_epochs for row in study.rows):
        raise Misuse(f"{name} has rows of different lengths: --epochs N in place of the axis epochs keeps them so")
    modalities = dict(enumerate(store.modalities))
    for row in studies.rows_on(study, modalities):
        raw, preset = studies.row_settings(study, row, store.name, modalities)
        raw = merge(raw, assigned)
        if row.times_epochs and isinstance(epochs := assigned.get("epochs"), int):
            raw["epochs"] = row.times_epochs * epochs  # a longer training stays longer, however long they all are
        values = {"row": row.name} if alone else {"study": Path(name).stem, "row": row.name}
        yield _Row(values, lambda _, raw=raw, preset=preset: (raw, preset), own, seeds)


def _of_method(
    dataset: str, assigned: Mapping[str, Any], usual: str, method: str | None
) -> tuple[Mapping[str, Any], str | None]:
    raw, preset = studies.settings_of(dataset, method or usual)
    return merge(raw, assigned), preset


def _of_preset(
    name: str, settings: Mapping[str, Any], assigned: Mapping[str, Any], usual: str | None, method: str | None
) -> tuple[Mapping[str, Any], str | None]:
    """An experiment's preset; with another method, what belongs to that one over it, as in training."""
    method = method or usual
    if method in METHODS or method == "uniform":
        settings = merge(settings, {"method": {"name": method}})
    elif method in studies.VARIANTS:
        settings = merge(settings, studies.VARIANTS[method])
    elif method is not None:
        raise Misuse(f"'{method}' is a preset itself, so there is nothing to take from {name}: leave out --preset")
    return merge(settings, assigned), name


def _usual_method(given: Sequence[Axis]) -> str:
    """InfoReg where an axis is one of its settings or of its window, which nothing else here would feel."""
    own = {f"method.{setting}" for setting in METHODS["inforeg"].Config.model_fields}
    return "inforeg" if any(one.key in own or one.key.startswith("window.") for one in given) else "joint"


def _drafts(row: _Row, axes: Sequence[Axis], seeds: Axis | None, paired: bool) -> Iterator[_Draft]:
    seeds = seeds or row.seeds
    size = prod(map(len, row.axes)) * (len(axes[0]) if paired and axes else prod(map(len, axes))) * len(seeds or [0])
    if size > _MOST:
        raise Misuse(f"the axes have {size:,} combinations; a sweep has {_MOST:,} at most")
    outer = list(product(*map(_places, row.axes)))
    given = list(zip(*map(_places, axes), strict=True)) if paired and axes else list(product(*map(_places, axes)))
    inner = [(place,) for place in _places(seeds)] if seeds else [()]
    for parts in product(outer, given, inner):
        chosen = [place for part in parts for place in part]
        method = next((one.values[index] for one, index in chosen if one.key == "method"), None)
        raw, preset = row.base(method)
        overlay: dict[str, Any] = {}
        for one, index in chosen:
            if one.key != "method":
                overlay = merge(overlay, one.settings[index])
        values = {**row.values, **{one.name: one.values[index] for one, index in chosen}}
        yield _Draft(values, merge(raw, overlay), preset, chosen)


def _places(one: Axis) -> list[tuple[Axis, int]]:
    return [(one, index) for index in range(len(one))]


def _pass_over_foreign(drafts: Sequence[_Draft]) -> None:
    """Take from each draft the axes' settings that its method, fusion, ... has not, but another one's in the grid."""
    known = {table: axis.members(table) for table in UNIONS}
    known["method"]["uniform"] = known["method"]["joint"]
    foreign: list[tuple[_Draft, Axis]] = []
    at_home: set[tuple[str, str]] = set()
    for draft in drafts:
        for one, _ in draft.chosen:
            table, setting = _place(one.key)
            if table not in UNIONS or setting in ("", "name"):
                continue
            # Where none is named, it is the first.
            kind = known[table].get(draft.raw[table].get("name", next(iter(known[table]))))
            if kind is None or setting in kind.model_fields:
                at_home.add((table, setting))
            else:
                foreign.append((draft, one))
    for draft, one in foreign:
        table, setting = _place(one.key)
        if (table, setting) in at_home:
            draft.raw[table] = {key: value for key, value in draft.raw[table].items() if key != setting}
            del draft.values[one.name]


def _place(key: str) -> tuple[str, str]:
    """``method.strength.audio`` as the table and its setting: ``("method", "strength")``."""
    table, setting, *_ = [*key.split("."), ""]
    return table, setting


def _resolved(drafts: Sequence[_Draft], store: Store, runs: Path) -> Grid:
    cells: dict[str, Cell] = {}
    refused: dict[str, list[_Draft]] = {}
    for draft in drafts:
        try:
            experiment = resolve(draft.raw, store)
        except Misuse as error:
            reason = "; ".join(error.problems) if isinstance(error, BadInput) else str(error)
            refused.setdefault(reason, []).append(draft)
            continue
        identity = experiment.id(store.digest)
        if identity not in cells:
            name = folder_of(experiment, store, runs).path.name
            cells[identity] = Cell(
                draft.values or {"method": experiment.label}, experiment, draft.preset, identity, name
            )
        elif differing := _differing(draft, cells[identity]):
            told = {name: value for name, value in cells[identity].values.items() if name not in differing}
            cells[identity] = replace(cells[identity], values=told)
    if refused:
        impossible = sum(map(len, refused.values()))
        problems = [f"{reason} ({_examples(found)})" for reason, found in refused.items()]
        raise BadInput(f"{impossible:,} of {count(len(drafts), 'cell')} cannot be run, so none is:", problems)
    return Grid(tuple(cells.values()), len(drafts) - len(cells))


def _differing(draft: _Draft, same: Cell) -> set[str]:
    """The axes in which two combinations differ that make one cell, so that their values say nothing about it."""
    names = (one.name for one, _ in draft.chosen)
    return {name for name in names if name in same.values and draft.values.get(name) != same.values[name]}


def _examples(drafts: Sequence[_Draft]) -> str:
    named = [
        " ".join(f"{name}={value}" for name, value in draft.values.items()) or "all" for draft in drafts[:_EXAMPLES]
    ]
    more = [f"{len(drafts) - _EXAMPLES:,} more"] if len(drafts) > _EXAMPLES else []
    return "; ".join([*named, *more])
