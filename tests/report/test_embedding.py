"""The plane that features are drawn in: the same from the same seed, and no crash where there is little to show."""

import numpy as np
import pytest

from inforeg_cli.errors import InforegError
from inforeg_cli.report.figures.embedding import MOST_POINTS, embed, shown, tsne_figure
from inforeg_cli.report.figures.style import image


def clusters(clips: int, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    target = np.arange(clips) % classes
    centres = generator.normal(size=(classes, 8)) * 10
    return (centres[target] + generator.normal(size=(clips, 8))).astype(np.float32), target


def test_the_same_seed_gives_the_same_points_and_keeps_clusters_together():
    features, target = clusters(60)
    points = embed(features, 3)
    assert points.shape == (60, 2)
    assert np.array_equal(points, embed(features, 3))
    apart = np.linalg.norm(points[:, None] - points, axis=-1) + np.diag([np.inf] * 60)
    assert (target[apart.argmin(axis=1)] == target).all()


def test_a_dimension_counts_the_same_in_whatever_unit():
    features, _ = clusters(40)
    assert np.allclose(embed(features, 0), embed(features * np.float32([1, 1024, 1, 1, 1, 0.25, 1, 1]), 0), atol=1e-2)


@pytest.mark.parametrize("clips", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("dimensions", [1, 2, 8])
def test_few_clips_and_few_dimensions(clips: int, dimensions: int):
    features, _ = clusters(clips)
    points = embed(features[:, :dimensions], 0)
    assert points.shape == (clips, 2)
    assert np.isfinite(points).all()


def test_features_that_never_vary_and_clips_that_are_all_alike_but_one():
    assert not embed(np.full((20, 4), 7.0), 0).any()
    odd = np.zeros((20, 4))
    odd[3] = 1
    assert np.isfinite(embed(odd, 0)).all()


def test_numbers_that_are_not_finite_are_said():
    with pytest.raises(InforegError, match="not finite"):
        embed(np.full((5, 2), np.nan), 0)


def test_at_most_so_many_points_evenly_spaced():
    assert shown(5).tolist() == [0, 1, 2, 3, 4]
    assert len(shown(0)) == 0
    which = shown(3 * MOST_POINTS + 1)
    assert len(np.unique(which)) == MOST_POINTS
    assert set(np.diff(which)) <= {3, 4}


def test_a_figure_has_a_panel_for_each_and_every_class_in_the_legend():
    features, target = clusters(30)
    figure = tsne_figure(
        {"sound": features, "image": features[:, :2], "fused": np.ones((30, 3))},
        target,
        ("one", "two", "three"),
        {"sound": "sound, probe 91.2%"},
        seed=0,
    )
    assert [axes.get_title() for axes in figure.axes] == ["sound, probe 91.2%", "image", "fused"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two", "three"]
    assert all(not axes.get_xticks().size for axes in figure.axes)
    shown_points = sum(len(points.get_offsets()) for points in figure.axes[0].collections)
    assert shown_points == 30


def test_a_single_class_and_five_panels(tmp_path):
    features, _ = clusters(12)
    figure = tsne_figure({f"m{number}": features for number in range(5)}, np.zeros(12, int), ("only",), {}, seed=1)
    figure.savefig(tmp_path / "tsne.png")
    assert (tmp_path / "tsne.png").stat().st_size > 1000
    assert sum(axes.axison for axes in figure.axes) == 5


def test_names_are_drawn_as_they_are_written():
    features, target = clusters(4, classes=2)
    assert image(tsne_figure({"sound": features}, target, (r"$\frac{$", "$5 or $6"), {}, 0), "png")
