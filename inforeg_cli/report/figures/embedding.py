"""Features as points in the plane (t-SNE), one panel an encoder, marked by class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from inforeg_cli.errors import InforegError
from inforeg_cli.report.figures.style import literal

#: A picture holds no more points that can be told apart, and t-SNE takes seconds for them.
MOST_POINTS = 2000
_PERPLEXITY = 30
#: Ten colours and eleven markers: 110 classes each have a pair of their own, and the first eleven differ without colour.
_COLOURS = tuple(colormaps["tab10"].colors)
_MARKERS = ("o", "^", "s", "X", "D", "v", "P", "*", "<", "p", ">")
_PANEL_INCHES = 3.2
_PANELS_A_ROW = 4
_LEGEND_CHARACTERS_AN_INCH = 9
_LEGEND_ROW_INCHES = 0.2


def shown(clips: int) -> np.ndarray:
    """Which of `clips` clips a picture shows: all, or `MOST_POINTS` evenly spaced ones, int64 ascending."""
    return np.arange(min(clips, MOST_POINTS)) * clips // max(1, min(clips, MOST_POINTS))


def embed(features: np.ndarray, seed: int) -> np.ndarray:
    """t-SNE (van der Maaten and Hinton, JMLR 2008) of features ``[N, D]``, as float32 ``[N, 2]``.

    Each dimension is standardised; the points start at the first two principal components; the perplexity is 30, or
    (N - 1) / 3 where that is less. Fewer than four points, or features that are the same for all clips, stay where they
    start. Raises InforegError where a number is not finite.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    features = np.asarray(features, dtype=np.float64)
    if not np.isfinite(features).all():
        raise InforegError("the features to embed hold numbers that are not finite: has the training diverged?")
    start = np.zeros((len(features), 2), np.float32)
    if len(features) < 2 or not (spread := features.std(axis=0)).max(initial=0) > 1e-7:
        return start
    standard = (features - features.mean(axis=0)) / np.where(spread > 1e-7, spread, np.inf)
    components = min(2, *standard.shape)
    principal = PCA(components, random_state=seed).fit_transform(standard)
    start[:, :components] = principal / principal[:, 0].std()
    if len(features) < 4:
        return start
    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    model = TSNE(perplexity=perplexity, init=start * np.float32(1e-4), random_state=seed, n_jobs=1)
    return model.fit_transform(standard.astype(np.float32))


def draw_embedding(axes: Axes, points: np.ndarray, target: np.ndarray, classes: Sequence[str], title: str = "") -> None:
    """Points ``[N, 2]`` of clips with classes `target` ``[N]``; distances in t-SNE have no unit, so there are no ticks."""
    size = float(np.clip(6000 / max(1, len(points)), 6, 30))
    for index in range(len(classes)):
        here = points[target == index]
        axes.scatter(*here.T, s=size, alpha=0.8, linewidths=0, zorder=2, **_look(index))
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize="medium")


def legend(figure: Figure, classes: Sequence[str]) -> None:
    """Each class's colour and marker, below the panels; the figure grows by the room that this takes."""
    handles = [
        Line2D([], [], linestyle="none", color=look["c"][0], marker=look["marker"], markersize=5, label=literal(name))
        for name, look in ((name, _look(index)) for index, name in enumerate(classes))
    ]
    widest = 4 + max(map(len, classes))
    columns = min(len(classes), max(1, int(figure.get_figwidth() * _LEGEND_CHARACTERS_AN_INCH) // widest))
    figure.set_figheight(figure.get_figheight() + _LEGEND_ROW_INCHES * -(-len(classes) // columns))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False,
        fontsize="small", handletextpad=0.2, columnspacing=1.0,
    )  # fmt: skip


def tsne_figure(
    features: Mapping[str, np.ndarray],
    target: np.ndarray,
    classes: Sequence[str],
    titles: Mapping[str, str],
    seed: int,
) -> Figure:
    """One panel for each entry of `features` ``[N, D]``, by name, titled by `titles` (else by the name).

    Of more than `MOST_POINTS` clips, evenly spaced ones are shown.
    """
    rows = -(-len(features) // _PANELS_A_ROW)
    columns = -(-len(features) // rows)
    which = shown(len(target))
    figure = Figure(figsize=(columns * _PANEL_INCHES, rows * _PANEL_INCHES + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for (name, values), axes in zip(features.items(), panels, strict=False):
        draw_embedding(axes, embed(values[which], seed), target[which], classes, titles.get(name, name))
    for axes in panels:  # those that are left
        axes.set_axis_off()
    legend(figure, classes)
    return figure


def _look(index: int) -> dict[str, Any]:
    return {"c": [_COLOURS[index % len(_COLOURS)]], "marker": _MARKERS[index % len(_MARKERS)]}
