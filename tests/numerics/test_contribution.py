"""Shapley values by subsets are those by orders of arrival; the imbalance index is a Gini coefficient."""

from itertools import permutations

import pytest
import torch

from inforeg_cli.numerics.contribution import imbalance, shapley_values


def scores_of(modalities: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(2**modalities, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_orders(scores: torch.Tensor, modalities: int) -> torch.Tensor:
    """The mean over all orders of what each modality adds when it arrives."""
    found = torch.zeros(modalities, dtype=torch.float64)
    orders = list(permutations(range(modalities)))
    for order in orders:
        code = 0
        for m in order:
            found[m] += scores[code | 1 << m] - scores[code]
            code |= 1 << m
    return found / len(orders)


@pytest.mark.parametrize("modalities", range(1, 7))
def test_shapley_values_are_the_mean_over_orders_and_sum_to_full_minus_empty(modalities):
    scores = scores_of(modalities)
    found = shapley_values(scores)
    assert found.dtype == torch.float64
    assert torch.allclose(found, by_orders(scores, modalities), rtol=0, atol=1e-12)
    assert abs(float(found.sum() - (scores[-1] - scores[0]))) < 1e-12


def test_a_modality_that_changes_nothing_is_worth_nothing_and_equals_are_worth_the_same():
    size = torch.tensor([(code & 3).bit_count() for code in range(8)], dtype=torch.float64)
    found = shapley_values(size.sqrt())  # the third adds nothing, and the others are alike
    assert float(found[2]) == pytest.approx(0, abs=1e-12)
    assert float(found[0]) == pytest.approx(float(found[1])) == pytest.approx(2**0.5 / 2)


def test_a_score_of_every_clip_has_values_of_every_clip():
    scores = torch.stack([scores_of(3, seed) for seed in range(5)], dim=1)
    each = torch.stack([shapley_values(column) for column in scores.unbind(1)], dim=1)
    assert torch.allclose(shapley_values(scores), each, rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [0, 1, 3, 6])
def test_scores_that_are_no_power_of_two_are_refused(count):
    with pytest.raises(ValueError, match="2\\^M"):
        shapley_values(torch.zeros(count))


@pytest.mark.parametrize(
    ("contributions", "index"),
    [
        ([0.3, 0.3], 0.0), ([0.2, 0.2, 0.2, 0.2], 0.0),
        ([0.7, 0.0], 1.0), ([0.0, 0.0, 5.0], 1.0), ([0.4, -0.1], 1.0), ([-1.0, 0.2, -3.0], 1.0),
        ([0.3, 0.1], 0.5), ([0.5, 0.5, 0.0], 0.5), ([0.5, 0.25, 0.25], 0.25),
        ([0.4], None), ([0.0, 0.0], None), ([-0.1, -0.2, 0.0], None), ([1e-17, 0.0], None),
    ],
)  # fmt: skip
def test_imbalance_of_known_contributions(contributions, index):
    assert imbalance(torch.tensor(contributions, dtype=torch.float64)) == (
        None if index is None else pytest.approx(index)
    )


def test_imbalance_knows_neither_order_nor_unit_and_falls_with_every_transfer_to_the_weaker():
    random = torch.Generator().manual_seed(1)
    for modalities in range(2, 7):
        values = torch.rand(modalities, generator=random, dtype=torch.float64) + 0.01
        index = imbalance(values)
        assert 0 <= index <= 1
        assert imbalance(values.flip(0)) == pytest.approx(index)
        assert imbalance(1000 * values) == pytest.approx(index)
        moved = values.clone()
        strong, weak = int(values.argmax()), int(values.argmin())
        gift = float(values[strong] - values[weak]) / 4
        moved[strong] -= gift
        moved[weak] += gift
        assert imbalance(moved) < index
