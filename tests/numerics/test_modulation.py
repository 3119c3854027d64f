"""OGM's coefficients: the printed numbers, the limits, and what must not change them."""

import math

import pytest
import torch

from inforeg_cli.numerics.modulation import damping, discrepancy_ratios

EXAMPLE = torch.tensor([2.605879, 1.209079], dtype=torch.float64)  # sums of true-class probabilities


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("alpha", "coefficient"), [(0.1, 0.802625), (0.3, 0.462950), (0.5, 0.238406), (0.8, 0.078331), (1.0, 0.035972)]
)
def test_damping_of_a_modality_that_leads_two_to_one(alpha: float, coefficient: float) -> None:
    assert damping(double(2.0), alpha).item() == pytest.approx(coefficient, abs=5e-7)


@pytest.mark.parametrize(
    ("alpha", "coefficient"), [(0.1, 0.787750), (0.3, 0.430638), (0.5, 0.207682), (0.8, 0.061632), (1.0, 0.026497)]
)
def test_two_modalities(alpha: float, coefficient: float) -> None:
    ratios = discrepancy_ratios(EXAMPLE)
    torch.testing.assert_close(ratios, double(2.155259, 1 / 2.155259), atol=5e-7, rtol=0)
    torch.testing.assert_close(damping(ratios, alpha), double(coefficient, 1.0), atol=1e-6, rtol=0)


def test_three_modalities_follow_the_pairwise_mean() -> None:
    ratios = discrepancy_ratios(double(3, 2, 1))
    torch.testing.assert_close(ratios, double(2.25, 4 / 3, 5 / 12))
    torch.testing.assert_close(damping(ratios, 0.3), double(0.411741, 0.620051, 1.0), atol=5e-7, rtol=0)


@pytest.mark.parametrize("modalities", range(2, 7))
def test_ratios_against_loops(modalities: int) -> None:
    scores = torch.rand(modalities, dtype=torch.float64, generator=torch.Generator().manual_seed(modalities)) + 0.01
    expected = [
        sum(scores[m].item() / scores[j].item() for j in range(modalities) if j != m) / (modalities - 1)
        for m in range(modalities)
    ]
    torch.testing.assert_close(discrepancy_ratios(scores), double(*expected))


@pytest.mark.parametrize("modalities", range(1, 7))
def test_a_tie_damps_nobody(modalities: int) -> None:
    ratios = discrepancy_ratios(torch.full((modalities,), 0.37))
    assert torch.equal(damping(ratios, 2.6), torch.ones(modalities))


def test_a_single_modality_leads_nobody() -> None:
    assert torch.equal(discrepancy_ratios(double(0.7)), double(0.0))


def test_the_coefficient_jumps_where_the_lead_begins() -> None:
    just_over = math.nextafter(1.0, 2.0)
    assert damping(double(1.0), 0.8).item() == 1.0
    assert damping(double(just_over), 0.8).item() == pytest.approx(1 - math.tanh(0.8))


def test_alpha_zero_is_off_for_any_lead() -> None:
    assert torch.equal(damping(double(0.5, 1.0, 40.0, math.inf), 0.0), torch.ones(4, dtype=torch.float64))


def test_a_greater_lead_is_damped_more_and_never_reversed() -> None:
    coefficients = damping(torch.linspace(1.001, 60, 500, dtype=torch.float64), 0.3)
    assert (coefficients[1:] <= coefficients[:-1]).all()
    assert coefficients.min() >= 0
    assert coefficients.max() < 1


def test_scores_that_vanish_give_no_nan() -> None:
    for scores in (torch.tensor([0.0, 0.5]), torch.tensor([0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])):
        assert not discrepancy_ratios(scores).isnan().any()
        coefficients = damping(discrepancy_ratios(scores), 0.3)
        assert coefficients.isfinite().all()
        assert torch.equal(coefficients[scores == 0], torch.ones(int((scores == 0).sum())))


def test_the_order_of_modalities_and_the_unit_of_scores_do_not_matter() -> None:
    scores, order = double(0.31, 0.84, 0.52, 0.11), [2, 0, 3, 1]
    ratios = discrepancy_ratios(scores)
    torch.testing.assert_close(discrepancy_ratios(scores[order]), ratios[order])
    torch.testing.assert_close(damping(ratios[order], 0.3), damping(ratios, 0.3)[order])
    torch.testing.assert_close(discrepancy_ratios(64 * scores), ratios)  # a sum over the batch instead of its mean


def test_scores_are_left_alone() -> None:
    scores = double(0.0, 0.5)
    discrepancy_ratios(scores)
    assert torch.equal(scores, double(0.0, 0.5))
