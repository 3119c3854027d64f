"""Figure 4: how alike the gradients of batches are inside the prime learning window, an encoder at a time."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from inforeg_cli.errors import InforegError
from inforeg_cli.naming import count, ranges
from inforeg_cli.report.figures import style
from inforeg_cli.report.figures.material import Material, Recorded, table_of

#: Numbers a sketch has (numerics/sketch.py, which reports do not import: it needs torch).
_COLUMNS = 4096
_BINS = 41
#: Of the recorded table (engine/recording.py), what is drawn.
_DRAWN = ("epoch", "modality", "batch_a", "batch_b", "cosine", "open")


def orthogonality(material: Material) -> Figure:
    """Figure 4: for each modality the cosine similarities between the batches of one epoch inside its window, as a map, and
    those of all such epochs and seeds, as a distribution beside the spread that sketches of orthogonal gradients have."""
    inforeg = material.rows["inforeg"]
    tables = [table_of(run, "gradient_cosines", _DRAWN) for run in inforeg.runs]
    inside, notes = _inside(inforeg, tables)
    names = inforeg.modalities
    figure, maps, distribution = _panels(len(names))
    limit = _limit(found["cosine"].to_numpy() for found in inside.values())
    colours = ScalarMappable(Normalize(-limit, limit), "RdBu_r")
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    for axes, name in zip(maps, names, strict=True):
        epoch, seed = _shown(inside[name])
        one = inside[name][(inside[name]["epoch"] == epoch) & (inside[name]["seed"] == seed)]
        _map(axes, one, colours)
        axes.set_title(f"({next(letters)}) {name}, epoch {epoch}", loc="left")
    bar = figure.colorbar(colours, ax=maps, fraction=0.05, shrink=0.9, pad=0.02)
    bar.set_label("cosine similarity")
    bar.outline.set_linewidth(0.5)
    bar.solids.set(rasterized=False, edgecolor="face")
    _distribution(distribution, {name: found["cosine"].to_numpy() for name, found in inside.items()}, material, limit)
    distribution.set_title(f"({next(letters)}) all pairs", loc="left")
    pairs = count(max(map(len, inside.values())), "pair")
    batches = max(found[["batch_a", "batch_b"]].stack().nunique() for found in inside.values())
    style.footnote(
        figure,
        [
            f"{material.dataset}, InfoReg: {material.seeds}, {batches} batches an epoch, up to {pairs} a modality; "
            "gradients before regulation; maps: the first seed that has such epochs",
            f"on count-sketches of {_COLUMNS:,} numbers, whose error alone spreads orthogonal gradients by a "
            f"standard deviation (sd) of {1 / math.sqrt(_COLUMNS):.3f}; all pairs: mean ± sd",
            *notes,
        ],
    )
    return figure


def _panels(maps: int) -> tuple[Figure, list[Axes], Axes]:
    """One row for two modalities; for more of them the distribution has a row of its own, and maps stand three a row."""
    if maps < 3:
        figure = Figure(figsize=(style.PAGE, 2.35), layout="constrained")
        *left, right = figure.subplots(1, maps + 1)
        return figure, left, right
    rows = -(-maps // 3)
    figure = Figure(figsize=(style.PAGE, 2.1 * rows + 1.8), layout="constrained")
    upper, lower = figure.add_gridspec(2, 1, height_ratios=(2.1 * rows, 1.8))
    cells = upper.subgridspec(rows, 3)
    return figure, [figure.add_subplot(cells[divmod(index, 3)]) for index in range(maps)], figure.add_subplot(lower)


def _inside(recorded: Recorded, tables: Sequence[pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Of each modality the pairs in epochs in which its window was open; all epochs where it never was."""
    whole = pd.concat([table.assign(seed=seed) for seed, table in zip(recorded.seeds, tables, strict=True)])
    found, notes = {}, []
    for name in recorded.modalities:
        mine = whole[(whole["modality"] == name) & whole["cosine"].notna()]
        opened = mine[mine["open"]]
        if mine.empty:
            raise InforegError(f"{recorded.runs[0].path / 'gradient_cosines.parquet'} has no pairs of {name}")
        if opened.empty:
            notes.append(f"{name}: its window never opened, so all epochs are shown")
        else:
            notes.append(f"{name}: epochs {ranges(sorted({*opened['epoch'].tolist()}))}")
        found[name] = mine if opened.empty else opened
    return found, ["inside the window: " + "; ".join(notes)]


def _shown(pairs: pd.DataFrame) -> tuple[int, int]:
    """The middle one of the epochs of the first seed that has any, and that seed."""
    seed = int(pairs["seed"].min())
    epochs = sorted({*pairs[pairs["seed"] == seed]["epoch"].tolist()})
    return int(epochs[len(epochs) // 2]), seed


def _limit(values: Iterable[np.ndarray]) -> float:
    """The scale of colours and of the distribution: what 99 % of the pairs lie within."""
    reach = max(float(np.quantile(np.abs(some), 0.99)) for some in values)
    return min(1.0, max(0.1, math.ceil(10 * reach) / 10))


def _map(axes: Axes, pairs: pd.DataFrame, colours: ScalarMappable) -> None:
    batches = sorted({*pairs["batch_a"].tolist(), *pairs["batch_b"].tolist()})
    place = {batch: index for index, batch in enumerate(batches)}
    matrix = np.full((len(batches), len(batches)), np.nan)
    first, second = pairs["batch_a"].map(place), pairs["batch_b"].map(place)
    matrix[first, second] = matrix[second, first] = pairs["cosine"]
    # Cells as shapes, not as a picture: sharp at every size. Edges of their own colour close the seams between them.
    axes.pcolormesh(matrix, cmap=colours.cmap, norm=colours.norm, edgecolors="face", linewidth=0.1)
    axes.patch.set(facecolor="white", edgecolor="#999999", hatch="////////")  # a batch is not compared with itself
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    ticks = np.unique(np.linspace(0, len(batches) - 1, min(5, len(batches))).round().astype(int))
    axes.set_xticks(ticks + 0.5, [batches[tick] for tick in ticks])
    axes.set_yticks(ticks + 0.5, [batches[tick] for tick in ticks])
    axes.tick_params(length=0)
    axes.set_xlabel("batch")
    axes.set_ylabel("batch")


def _distribution(axes: Axes, values: Mapping[str, np.ndarray], material: Material, limit: float) -> None:
    edges = np.linspace(-limit, limit, _BINS)
    for name, some in values.items():
        look = style.look(material.modalities.index(name))
        density = np.histogram(np.clip(some, -limit, limit), edges, density=True)[0]
        label = f"{name}: {some.mean():.2f} ± {some.std():.2f}"
        axes.stairs(density, edges, fill=True, color=look["color"], alpha=0.25, zorder=2)
        axes.stairs(
            density, edges, color=look["color"], linestyle=look["linestyle"], linewidth=1.2, label=label, zorder=3
        )
    spread = 2 / math.sqrt(_COLUMNS)
    axes.axvspan(-spread, spread, color="black", alpha=0.14, linewidth=0, zorder=1, label="±2 sd of sketch error")
    axes.set_xlim(-limit, limit)
    axes.set_ylim(0, 1.55 * axes.get_ylim()[1])  # the legend's room
    axes.set_xlabel("cosine similarity")
    axes.set_ylabel("density of pairs")
    axes.legend(loc="upper left", handlelength=1.6)
