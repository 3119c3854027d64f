"""Figure 6: each modality's features of the test clips in the plane, a row a modality and a column a training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from inforeg_cli.report.figures import style
from inforeg_cli.report.figures.embedding import draw_embedding, embed, legend, shown
from inforeg_cli.report.figures.material import Material
from inforeg_cli.report.runs import Run

#: Of t-SNE, the same in every panel.
_SEED = 0
_TITLES = {"joint": "joint", "joint, twice as long": "longer joint", "inforeg": "InfoReg"}


@dataclass(frozen=True)
class Extracted:
    """Of N clips: class indices `target` ``[N]``, and each encoder's output ``[N, D_m]`` at a run's best epoch on val."""

    target: np.ndarray
    by_modality: Mapping[str, np.ndarray]


def representations(material: Material, extract: Callable[[Run], Extracted]) -> Figure:
    """Figure 6: t-SNE of the features of one seed's runs on the test split; `extract` computes them."""
    columns = {_TITLES.get(name, name): found.of_seeds({material.common_seed}) for name, found in material.rows.items()}
    features = {title: extract(one.runs[0]) for title, one in columns.items()}
    first = next(iter(columns.values())).runs[0]
    classes = first.data["classes"]
    side = style.PAGE / len(columns)
    figure = Figure(figsize=(style.PAGE, 0.95 * side * len(material.modalities)), layout="constrained")
    panels = figure.subplots(len(material.modalities), len(columns), squeeze=False)
    for modality, row in zip(material.modalities, panels, strict=True):
        row[0].set_ylabel(modality, fontsize=9)
        for axes, (title, one) in zip(row, columns.items(), strict=True):
            found = features[title]
            which = shown(len(found.target))
            points = embed(found.by_modality[modality][which], _SEED)
            accuracy = 100 * one.head_accuracy(modality)[0]
            draw_embedding(axes, points, found.target[which], classes, f"{title}: {accuracy:.1f} %")
            axes.grid(visible=False)
            axes.spines[:].set_visible(False)
    legend(figure, classes)
    epochs = ", ".join(f"{title} {one.runs[0].result['best_epoch']}" for title, one in columns.items())
    notes = [
        f"{material.dataset}, test split, seed {material.common_seed}, best epoch on val ({epochs}); t-SNE of each "
        "encoder's output, perplexity 30 (less for few clips)",
        "percentages: accuracy of the modality by the fused head, the other features absent",
    ]
    style.footnote(figure, notes, legend=figure.legends[-1])
    return figure
