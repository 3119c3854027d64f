"""How the paper's figures look, on paper and in grey, and how they are written: the same numbers give the same bytes."""

import logging
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from inforeg_cli.files import write_atomically

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of fonts and caches while a command prints results

#: Inches: the width of a two-column page's text, and of one of its columns.
PAGE, COLUMN = 6.875, 3.3
_SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so every machine draws the same
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": True,
    "legend.framealpha": 0.8,
    "legend.edgecolor": "none",
    "legend.borderpad": 0.2,
    "legend.handlelength": 2.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.6,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "svg.fonttype": "path",
    "svg.hashsalt": "inforeg",
    "path.simplify": False,
    "hatch.linewidth": 0.4,
}
#: Colours told apart by the colour-blind (Okabe and Ito); of differing lightness, and none without its marker and dashes.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_MARKERS = ("o", "^", "s", "D", "v", "P")
_DASHES = ("-", (0, (5, 1.5)), (0, (3, 1.2, 1, 1.2)), (0, (1, 1.1)), (0, (7, 2)), (0, (5, 1.2, 1, 1.2, 1, 1.2)))
WHOLE = "#1a1a1a"
NOTE = "#555555"
#: Points from one bar of a window to the next.
_BAR = 6.5
_CHARACTERS_AN_INCH = 21  # of the small print
#: Values that span more than this want a logarithmic axis.
_DECADES = 50.0


@contextmanager
def styled() -> Iterator[None]:
    """Figures made and saved inside look alike; matplotlib's own warnings stay off the terminal."""
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def image(figure: Figure, kind: str) -> bytes:
    """`figure` as a ``png`` or ``svg`` file."""
    metadata = {"png": {"Software": "inforeg"}, "svg": {"Creator": "inforeg", "Date": None}}
    with styled(), BytesIO() as buffer:
        figure.savefig(buffer, format=kind, metadata=metadata[kind])
        return buffer.getvalue()


def save(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Write `figure` as ``<name>.png`` and ``<name>.svg`` under `folder`, each atomically."""
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    for path in (png, svg):
        content = image(figure, path.suffix[1:])
        write_atomically(path, lambda temporary, content=content: temporary.write_bytes(content))
    return png, svg


def literal(name: str) -> str:
    """A class's name, which may be anything, as text that is drawn as it is written: ``$`` begins no formula."""
    return name.replace("$", r"\$")


def look(index: int) -> dict:
    """Colour, marker and dashes of the modality of this number in the recipe's order."""
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": _DASHES[index % len(_DASHES)],
    }


def band(axes: Axes, x: np.ndarray, values: np.ndarray, label: str, *, shift: float = 0.0, **looks) -> None:
    """The mean of `values` ``[seeds, points]`` as a line, and lowest to highest as a band; points that no seed has are gaps.

    shift: of its markers along the line, as a part of their distance, so that those of several lines stand apart.
    """
    present = np.isfinite(values).any(axis=0)
    x, values = x[present], values[:, present]
    if not len(x):
        return
    every = max(1, -(-len(x) // 8))
    axes.plot(x, np.nanmean(values, axis=0), label=label, markevery=(int(shift * every), every), zorder=3, **looks)
    if len(values) > 1:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        axes.fill_between(x, low, high, color=looks.get("color"), alpha=0.18, linewidth=0, zorder=2)


def epochs_axis(axes: Axes, epochs: int) -> None:
    axes.set_xlabel("epoch")
    axes.set_xlim(-0.5, epochs - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))


def log_where_wide(axes: Axes, values: Sequence[np.ndarray]) -> None:
    """A logarithmic y axis where these values are above zero and span decades."""
    found = np.concatenate([np.ravel(value) for value in values])
    found = found[np.isfinite(found)]
    if len(found) and found.min() > 0 and found.max() / found.min() > _DECADES:
        axes.set_yscale("log")
        if found.max() / found.min() > 1e4:
            axes.yaxis.set_minor_locator(NullLocator())
    elif len(found) and found.min() >= 0:
        axes.set_ylim(bottom=0)


def runs_of(epochs: Sequence[int]) -> list[tuple[int, int]]:
    """Epochs in order as stretches, first and last: 0, 1, 2, 7 as (0, 2), (7, 7)."""
    found: list[tuple[int, int]] = []
    for epoch in epochs:
        if found and epoch == found[-1][1] + 1:
            found[-1] = (found[-1][0], epoch)
        else:
            found.append((epoch, epoch))
    return found


def shade(axes: Axes, windows: Mapping[str, Sequence[int]], colours: Mapping[str, str]) -> int:
    """Shade the epochs of each window, darker where several are open; where they differ, name each by a bar above the axes.

    Returns the points that the bars take above the axes, by which a title must be raised.
    """
    for epochs in windows.values():
        for first, last in runs_of(epochs):
            axes.axvspan(first - 0.5, last + 0.5, color="black", alpha=0.14 / len(windows), linewidth=0, zorder=0)
    if len({tuple(epochs) for epochs in windows.values()}) == 1:
        return 0
    opened = {name: epochs for name, epochs in reversed(windows.items()) if epochs}
    for row, (name, epochs) in enumerate(opened.items()):
        up = ScaledTranslation(0, (4 + _BAR * row) / 72, axes.figure.dpi_scale_trans)
        place = axes.get_xaxis_transform() + up
        for first, last in runs_of(epochs):
            axes.plot(
                [first - 0.5, last + 0.5], [1, 1], color=colours[name], transform=place, clip_on=False,
                linewidth=2.5, solid_capstyle="butt", scalex=False, scaley=False,
            )  # fmt: skip
        axes.text(
            epochs[-1] + 0.8, 1, name, transform=place, fontsize=5.8, color=NOTE, va="center_baseline", clip_on=False
        )
    return int(_BAR * len(opened)) + 1


def footnote(figure: Figure, lines: Sequence[str], legend: Legend | None = None) -> None:
    """What the picture is of, in small print below it, and below the `legend` where one stands there; the figure grows by
    the room that this takes."""
    wide = int(_CHARACTERS_AN_INCH * figure.get_figwidth())
    wrapped = [part for line in lines for part in textwrap.wrap(line, wide, subsequent_indent="  ")]
    room = 0.117 * len(wrapped) + 0.06
    figure.set_figheight(figure.get_figheight() + room)
    below = room / figure.get_figheight()
    figure.get_layout_engine().set(rect=(0, below, 1, 1 - below))
    if legend is not None:  # the layout leaves room for it above the small print, but would set it upon that
        legend.borderaxespad += 72 * room / legend.prop.get_size_in_points()
    figure.text(
        0.01, 0.03 / figure.get_figheight(), "\n".join(wrapped), fontsize=6.3, color=NOTE, va="bottom", linespacing=1.25
    )


def signed_axis(axes: Axes, values: Sequence[np.ndarray]) -> None:
    """As `log_where_wide`; where values of both signs span decades, logarithmic away from zero."""
    found = np.concatenate([np.ravel(value) for value in values])
    found = found[np.isfinite(found)]
    sizes = np.abs(found[found != 0])
    if not len(sizes) or found.min() > 0:
        log_where_wide(axes, values)
        return
    axes.axhline(0, color=NOTE, linewidth=0.7, zorder=1)
    if sizes.max() / np.median(sizes) > _DECADES:
        axes.set_yscale("symlog", linthresh=10.0 ** (np.floor(np.log10(sizes.max())) - 1))
