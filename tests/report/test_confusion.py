"""The picture of confusions shows every clip that it counts."""

import numpy as np
import pytest

from inforeg_cli.report.figures.confusion import confusion_figure
from inforeg_cli.report.figures.style import image


def test_cells_hold_counts_and_shares_of_the_true_class():
    counts = np.array([[8, 2, 0], [0, 5, 0], [0, 0, 0]])
    axes = confusion_figure(counts, ("a", "b", "c"), "mine").axes[0]
    shares = np.asarray(axes.images[0].get_array())
    assert shares == pytest.approx(np.array([[0.8, 0.2, 0], [0, 1, 0], [0, 0, 0]]))
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "8", (1, 0): "2", (1, 1): "5"}  # column, row
    assert axes.get_ylabel() == "true class" and axes.get_xlabel() == "predicted class"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert axes.get_title() == "mine"


def test_names_are_drawn_as_they_are_written():
    axes = confusion_figure(np.eye(2, dtype=int), (r"$\frac{$", "under $5, over $50, or free")).axes[0]
    assert image(axes.figure, "png")


def test_many_classes_with_long_names_still_fit(tmp_path):
    classes = [f"a class with a very long name {index}" for index in range(60)]
    figure = confusion_figure(np.eye(60, dtype=int), classes)
    assert not figure.axes[0].texts and figure.get_figwidth() < 14
    figure.savefig(tmp_path / "many.png")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len({*labels}) == 60 and max(map(len, labels)) < 25
