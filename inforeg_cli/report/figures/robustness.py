"""Pictures of what happens when a modality fails: accuracy along damage ladders, and with every subset present."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from inforeg_cli.report.figures.style import NOTE, PAGE, look, styled

#: Inches.
_PANEL_WIDTH, _PANEL_HEIGHT, _ROW_HEIGHT, _AXIS = 2.2, 1.75, 0.25, 0.45
_LEGEND_WIDTH, _LEGEND_ROW = 1.9, 0.2
#: How far apart, in steps of a ladder, its last strength and the absent modality stand.
_GAP = 1.6
#: The part of a row, or of a step, over which the marks of several runs are spread, so that equal ones stay visible.
_SPREAD = 0.5
#: Runs whose looks differ by colour, marker and dashes.
_SOLID = 6

Curves = Mapping[str, Mapping[str, Mapping[str, Any]]]
Missing = Sequence[Mapping[str, Any]]


def damage_figure(runs: Mapping[str, Curves], missing: Mapping[str, Missing] | None = None) -> Figure:
    """One panel a modality (rows) and damage (columns), one line a run: accuracy from no damage to the most severe.

    runs: ``{label: {modality: {damage: {"label", "strengths", "accuracy", "area"}}}}``. missing: by the same labels, rows
    ``{"present", "accuracy"}``; where the one is there that lacks the panel's modality alone, it stands at the end as
    "absent". Of a single run, panels name the area under the curve.
    """
    panels = _panels(runs.values())
    columns = max(map(len, panels.values()))
    with styled():
        size = (_PANEL_WIDTH * columns, _PANEL_HEIGHT * len(panels))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(panels), columns, sharey=True, squeeze=False)
        for row, (modality, damages) in zip(grid, panels.items(), strict=True):
            for axes, damage in zip(row, damages, strict=False):
                _draw_panel(axes, modality, damage, runs, missing or {})
            for axes in row[len(damages) :]:
                axes.set_axis_off()
            row[0].set_ylabel("accuracy")
        grid[0][0].set_ylim(0, 1.02)
        _legend(figure, list(runs))
    return figure


def missing_figure(runs: Mapping[str, Missing]) -> Figure:
    """The accuracy with each subset of the modalities present (rows, in the order given), one mark a run.

    runs: ``{label: rows {"present": [modalities], "accuracy"}}``; a run without some subset has no mark in its row.
    """
    subsets = list(dict.fromkeys(tuple(row["present"]) for rows in runs.values() for row in rows))
    with styled():
        size = (PAGE * 0.7, _ROW_HEIGHT * len(subsets) + _AXIS)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        for number, rows in enumerate(runs.values()):
            places = [subsets.index(tuple(row["present"])) + _shift(number, len(runs)) for row in rows]
            marks = _look(number) | {"linestyle": "none", "clip_on": False, "zorder": 3}
            axes.plot([row["accuracy"] for row in rows], places, **marks)
        axes.set_yticks(range(len(subsets)), [" + ".join(names) or "none" for names in subsets])
        axes.set_ylim(len(subsets) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_xlabel("accuracy")
        axes.set_ylabel("present")
        _legend(figure, list(runs), linestyle="none")
    return figure


def _panels(runs: Iterable[Curves]) -> dict[str, list[str]]:
    """Damages by modality, each in the order in which it first occurs."""
    found: dict[str, list[str]] = {}
    for curves in runs:
        for modality, damages in curves.items():
            known = found.setdefault(modality, [])
            known += [name for name in damages if name not in known]
    return found


def _draw_panel(
    axes: Axes, modality: str, damage: str, runs: Mapping[str, Curves], missing: Mapping[str, Missing]
) -> None:
    ticks = {}
    for number, (label, curves) in enumerate(runs.items()):
        curve = curves.get(modality, {}).get(damage)
        if curve is None:
            continue
        steps = range(len(curve["strengths"]))
        axes.plot(steps, curve["accuracy"], zorder=3, **_look(number))
        axes.set_xlabel(curve["label"])
        ticks |= {step: _tick(strength) for step, strength in zip(steps, curve["strengths"], strict=True)}
        absent = _without(missing.get(label, ()), modality)
        if absent is not None:
            end = len(steps) - 1 + _GAP
            axes.plot([end + _shift(number, len(runs))], [absent], zorder=3, **_look(number) | {"linestyle": "none"})
            ticks[end] = "absent"
        if len(runs) == 1:
            axes.text(0.04, 0.05, f"area {curve['area']:.3f}", transform=axes.transAxes, fontsize="small", color=NOTE)
    axes.set_xticks(list(ticks), list(ticks.values()), fontsize="x-small")
    axes.set_title(f"{modality}: {damage}")


def _without(rows: Missing, modality: str) -> float | None:
    """The accuracy with all modalities but this one; None where it is not among the rows."""
    everything = max((row["present"] for row in rows), key=len, default=())
    others = [name for name in everything if name != modality]
    return next((row["accuracy"] for row in rows if list(row["present"]) == others), None)


def _shift(number: int, runs: int) -> float:
    """Off a row's or tick's middle, for marks of several runs that may be equal."""
    return _SPREAD * ((number + 0.5) / runs - 0.5)


def _tick(strength: float | None) -> str:
    return "none" if strength is None else f"{strength:g}"


def _look(number: int) -> dict[str, Any]:
    """A run's; once the markers are used up, hollow ones."""
    return look(number) | ({"markerfacecolor": "white"} if number >= _SOLID else {})


def _legend(figure: Figure, labels: Sequence[str], **looks: Any) -> None:
    """Below the panels, where there is more than one run to be told apart; the figure grows by the room that this takes."""
    if len(labels) > 1:
        columns = min(len(labels), max(1, int(figure.get_figwidth() / _LEGEND_WIDTH)))
        figure.set_figheight(figure.get_figheight() + _LEGEND_ROW * -(-len(labels) // columns))
        handles = [Line2D([], [], label=label, **_look(number) | looks) for number, label in enumerate(labels)]
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
