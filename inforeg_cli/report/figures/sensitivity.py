"""Figures 7 and 8: the accuracy of InfoReg over one of its settings, the other one fixed."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inforeg_cli.report.figures import style
from inforeg_cli.report.figures.material import Material

_SPLITS = {
    "test": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "val": {"color": "#7a7a7a", "marker": "s", "linestyle": (0, (4, 1.6)), "markerfacecolor": "white"},
}


def over_beta(material: Material) -> Figure:
    """Figure 7: over beta, the steepness of the regulation, at one K."""
    return _sensitivity(material, "β", printed=0.9, fixed=("window.K", "K"))


def over_threshold(material: Material) -> Figure:
    """Figure 8: over K, the threshold of the prime learning window, at one beta."""
    return _sensitivity(material, "K", printed=0.04, fixed=("method.beta", "β"))


def _sensitivity(material: Material, symbol: str, printed: float, fixed: tuple[str, str]) -> Figure:
    """Accuracy on test and val, the best value on val ringed, the paper's optimum `printed` as a line."""
    values = np.array(list(material.cells), dtype=float)
    figure = Figure(figsize=(style.COLUMN, 2.6), layout="constrained")
    axes = figure.subplots()
    means = {split: _line(axes, values, material, split) for split in _SPLITS}
    best = int(means["val"].argmax())
    axes.plot(
        values[best], means["val"][best], color=style.WHOLE, label=f"best on val: {values[best]:g}",
        marker="o", markersize=8, markerfacecolor="none", linestyle="none", zorder=4,
    )  # fmt: skip
    axes.axvline(
        printed, color=style.WHOLE, linewidth=0.9, linestyle=(0, (4, 1.6)), zorder=1, label=f"paper's best: {printed:g}"
    )
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xlabel(symbol)
    axes.set_ylabel("accuracy in %")
    axes.margins(x=0.06)
    figure.legend(loc="outside upper center", ncols=2)
    key, name = fixed
    cells = list(material.cells.values())
    at = {cell.setting(key) for cell in cells}
    notes = [
        f"{material.dataset}, InfoReg, {name} = {', '.join(f'{value:g}' for value in sorted(at))}; {material.seeds}; "
        "lines: mean over seeds, band: lowest to highest seed on test; the fused output at the best epoch on val"
    ]
    if material.missing:
        notes.append(f"not run yet: {', '.join(material.missing)}")
    style.footnote(figure, notes)
    return figure


def _line(axes: Axes, values: np.ndarray, material: Material, split: str) -> np.ndarray:
    """The means ``[cells]`` in percent, as they were drawn."""
    scores = [100 * cell.scores("accuracy", split=split) for cell in material.cells.values()]
    means = np.array([score.mean() for score in scores])
    axes.plot(values, means, label=split, zorder=3, **_SPLITS[split])
    if split == "test" and any(len(score) > 1 for score in scores):
        low, high = [score.min() for score in scores], [score.max() for score in scores]
        axes.fill_between(values, low, high, color=_SPLITS[split]["color"], alpha=0.15, linewidth=0, zorder=2)
    return means
