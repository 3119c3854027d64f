"""Confusions as a picture: which classes are taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from inforeg_cli.report.figures.style import literal, styled

#: With more classes the numbers in the cells could not be read.
_MOST_WRITTEN = 34
_LONGEST_NAME = 24


def confusion_figure(counts: np.ndarray, classes: Sequence[str], title: str = "") -> Figure:
    """Clips by true class (rows) and predicted one (columns) ``[C, C]``. A cell's shade is its share of the true class's
    clips, the number in it counts clips; a class without clips stays blank."""
    counts = np.asarray(counts)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    size = float(np.clip(1.6 + 0.34 * len(classes), 3.0, 12.0))
    small = min(7.0, 50 * size / len(classes))  # points; a cell has 72 * size / classes of them
    with styled():
        figure = Figure(figsize=(size + 0.6, size), layout="constrained")
        axes = figure.subplots()
        shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.grid(visible=False)
        if len(classes) <= _MOST_WRITTEN:
            for (row, column), count in np.ndenumerate(counts):
                if count:
                    colour = "white" if shares[row, column] > 0.55 else "black"
                    axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=7, color=colour)
        names = [_shortened(name) for name in classes]
        upright = max(map(len, names)) > 3
        axes.set_xticks(range(len(names)), names, rotation=90 if upright else 0, fontsize=small)
        axes.set_yticks(range(len(names)), names, fontsize=small)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.set_title(title)
        bar = figure.colorbar(shown, ax=axes, shrink=0.8, aspect=30)
        bar.set_label("share of the true class's clips")
        bar.outline.set_visible(False)
    return figure


def _shortened(name: str) -> str:
    """Without its middle where it is long: names that begin alike often differ at the end."""
    half = (_LONGEST_NAME - 1) // 2
    return literal(name if len(name) <= _LONGEST_NAME else f"{name[:half]}…{name[-half:]}")
