"""Figures 1, 3 and 5: what each encoder takes in over the epochs, in joint training, alone, and under InfoReg."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inforeg_cli.report.figures import style, windows
from inforeg_cli.report.figures.material import Material

_BAND = "lines: mean over seeds; bands: lowest to highest seed"
_FISHER = "Fisher trace Tr(F), eq. 7"


def acquisition(material: Material) -> Figure:
    """Figure 1: Fisher traces of each encoder and the whole model in joint training (a), of each encoder alone (b)."""
    joint = material.rows["joint"]
    alone = [found for name, found in material.rows.items() if name != "joint"]
    figure = Figure(figsize=(style.PAGE, 2.55), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    whole, curves = joint.curves("fisher.all"), {name: joint.curves(f"fisher.{name}") for name in joint.modalities}
    style.band(left, whole.epochs, whole.values, "whole model", color=style.WHOLE, linewidth=1.8)
    for index, (name, found) in enumerate(curves.items()):
        style.band(left, found.epochs, found.values, name, shift=index / len(curves), **_look(material, name))
    single = {found.modalities[0]: found for found in alone}
    for index, (name, found) in enumerate(single.items()):
        trace = found.curves(f"fisher.{name}")
        style.band(right, trace.epochs, trace.values, name, shift=index / len(single), **_look(material, name))
        curves[f"{name} alone"] = trace
    opened = {
        left: joint.open_epochs(material.rule),
        right: {name: found.open_epochs(material.rule)[name] for name, found in single.items()},
    }
    style.log_where_wide(left, [found.values for found in (whole, *curves.values())])
    left.set_ylabel(_FISHER)
    for axes, recorded, title in ((left, joint, "(a) joint training"), (right, alone[0], "(b) each modality alone")):
        style.epochs_axis(axes, recorded.epochs)
        axes.set_title(title, loc="left")
        axes.legend(loc="best")
    windows.shade_windows(opened, material.modalities)
    notes = [
        f"{material.dataset}: {material.seeds}; {_BAND}; per-sample gradients of train clips after each epoch",
        windows.words({"(a)": opened[left], "(b)": opened[right]}, windows.source(joint, material.rule)),
    ]
    style.footnote(figure, notes)
    return figure


def gaps(material: Material) -> Figure:
    """Figure 3: how far gradient norm (a) and Fisher trace (b) of the leading modality lie above each other one's."""
    joint = material.rows["joint"]
    leader = joint.by_lead[0]
    others = [name for name in joint.modalities if name != leader]
    opened = joint.open_epochs(material.rule)
    figure = Figure(figsize=(style.PAGE, 2.45), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, kind, label, title in (
        (panels[0], "gradient_norm", "gap of gradient norms", "(a) gradient norms"),
        (panels[1], "fisher", "gap of Tr(F), eq. 7", "(b) Fisher traces"),
    ):
        found = {name: joint.curves(f"{kind}.{leader}").minus(joint.curves(f"{kind}.{name}")) for name in others}
        for index, (name, gap) in enumerate(found.items()):
            style.band(
                axes, gap.epochs, gap.values, f"{leader} − {name}", shift=index / len(others), **_look(material, name)
            )
        style.signed_axis(axes, [gap.values for gap in found.values()])
        style.epochs_axis(axes, joint.epochs)
        axes.set_ylabel(label)
        axes.set_title(title, loc="left")
        axes.legend(loc="best")
    windows.shade_windows(dict.fromkeys(panels, opened), material.modalities)
    notes = [
        f"{material.dataset}, joint training: {material.seeds}; {_BAND}; {leader} leads by head accuracy on val",
        "(a) means over an epoch's batches of each encoder's gradient norm; (b) per-sample gradients of train clips",
        windows.words({"": opened}, windows.source(joint, material.rule)),
    ]
    style.footnote(figure, notes)
    return figure


def balance(material: Material) -> Figure:
    """Figure 5: accuracies of InfoReg and joint training (a), traces in InfoReg (b), the weakest modality's in both (c)."""
    joint, inforeg = material.rows["joint"], material.rows["inforeg"]
    weakest = joint.by_lead[-1]
    figure = Figure(figsize=(style.PAGE, 4.9), layout="constrained")
    upper, lower = figure.add_gridspec(2, 1, height_ratios=(1.15, 1))
    upper, lower = upper.subgridspec(1, 2, width_ratios=(2.8, 1)), lower.subgridspec(1, 2)
    val = figure.add_subplot(upper[0])
    test = figure.add_subplot(upper[1], sharey=val)
    _accuracies(val, test, material)
    traces, weak = map(figure.add_subplot, lower)
    shown = {name: inforeg.curves(f"fisher.{name}") for name in inforeg.modalities}
    for index, (name, curves) in enumerate(shown.items()):
        look = _look(material, name)
        style.band(traces, curves.epochs, curves.values, name, shift=index / len(shown), **look)
    style.log_where_wide(traces, [curves.values for curves in shown.values()])
    both = {"InfoReg": shown[weakest], "joint": joint.curves(f"fisher.{weakest}")}
    for index, (name, curves) in enumerate(both.items()):
        style.band(weak, curves.epochs, curves.values, name, shift=index / 2, **_of_method(material, weakest, name))
    style.log_where_wide(weak, [curves.values for curves in both.values()])
    opened = inforeg.open_epochs(material.rule)
    titles = {val: "(a) accuracy on val", traces: "(b) traces in InfoReg", weak: f"(c) traces of {weakest}"}
    for axes, title in titles.items():
        style.epochs_axis(axes, max(joint.epochs, inforeg.epochs))
        axes.set_title(title, loc="left")
    test.set_title("on test", loc="left")
    windows.shade_windows(dict.fromkeys((val, traces, weak), opened) | {test: {}}, material.modalities)
    for axes in (traces, weak):
        axes.set_ylabel(_FISHER)
        axes.legend(loc="best")
    notes = [
        f"{material.dataset}: {material.seeds}; {_BAND}; each modality by the fused head, the other features absent",
        "(a) on the right the test split at the best epoch on val, mean and lowest to highest seed; (b), (c) per-sample "
        "gradients of train clips",
        windows.words({"": opened}, windows.source(inforeg, material.rule)),
    ]
    style.footnote(figure, notes)
    return figure


def _accuracies(val: Axes, test: Axes, material: Material) -> None:
    rows = {"InfoReg": material.rows["inforeg"], "joint": material.rows["joint"]}
    scored = {"overall": None, **{name: name for name in material.modalities}}
    for order, (name, modality) in enumerate(scored.items()):
        column = "accuracy" if modality is None else f"head.{modality}.accuracy"
        finals = {}
        for side, (method, recorded) in enumerate(rows.items()):
            look = _of_method(material, modality, method)
            curves = recorded.curves(column, "val")
            shift = (2 * order + side) / (2 * len(scored))
            style.band(val, curves.epochs, 100 * curves.values, f"{name}, {method}", shift=shift, **look)
            final = 100 * (recorded.scores("accuracy") if modality is None else recorded.head_accuracy(modality))
            finals[method] = (order + 0.3 * side - 0.15, final, look)
        higher = max(finals, key=lambda method: np.nanmean(finals[method][1]))
        for method, (place, final, look) in finals.items():
            _point(test, place, final, look, above=method == higher)
    low, high = val.get_ylim()
    room = 0.07 * (high - low)  # for the numbers beside the points
    val.set_ylim(low - room, high + room)
    val.set_ylabel("accuracy in %")
    test.set_xticks(range(len(scored)), scored, rotation=30 if len(scored) > 3 else 0)
    test.set_xlim(-0.6, len(scored) - 0.4)
    test.grid(axis="x", visible=False)
    test.tick_params(labelleft=False)
    handles, labels = val.get_legend_handles_labels()
    val.figure.legend(handles, labels, loc="outside upper center", ncols=len(scored), columnspacing=1.6)


def _point(axes: Axes, place: float, values: np.ndarray, look: dict, above: bool) -> None:
    """The mean with lowest and highest, and its number, which for two neighbours stands above one and below the other."""
    values = values[np.isfinite(values)]
    if not len(values):
        return
    mean, low, high = values.mean(), values.min(), values.max()
    axes.errorbar(
        place, mean, yerr=[[mean - low], [high - mean]], color=look["color"], marker=look["marker"],
        markerfacecolor=look.get("markerfacecolor", look["color"]), capsize=2, linewidth=1, markersize=4,
    )  # fmt: skip
    axes.annotate(
        f"{mean:.1f}", (place, high if above else low), (0, 3 if above else -3), textcoords="offset points",
        ha="center", va="bottom" if above else "top", fontsize=6,
    )  # fmt: skip


def _of_method(material: Material, modality: str | None, method: str) -> dict:
    """Colour and marker by modality, dashes and hollow markers for joint training."""
    look = {"color": style.WHOLE, "marker": "x"} if modality is None else _look(material, modality)
    joint = {"linestyle": (0, (4, 1.6)), "markerfacecolor": "white", "linewidth": 1.1}
    return look | ({"linestyle": "-"} if method == "InfoReg" else joint)


def _look(material: Material, modality: str) -> dict:
    return style.look(material.modalities.index(modality))
