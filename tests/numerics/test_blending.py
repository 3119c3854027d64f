"""G-Blending's weights: the printed numbers, what must not change them, and branches that gain or overfit by nothing."""

import math

import pytest
import torch

from inforeg_cli.numerics.blending import blending_weights

#: Train and validation losses before and after, of three branches.
EXAMPLE = ((2, 2, 2), (2, 2, 2), (1, 1.4, 0.6), (1.5, 1.6, 1.2))


def weights(*losses: tuple[float, ...]) -> torch.Tensor:
    return blending_weights(*(double(*values) for values in losses))


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def drawn(branches: int, seed: int = 0) -> list[torch.Tensor]:
    """Train falls more than validation, and everything is far from the floors."""
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(4, branches, dtype=torch.float64, generator=generator)
    train, val = 2 + unit[0], 2.2 + unit[1]
    return [train, val, train - 1 - unit[2], val - 0.2 - 0.5 * unit[3]]


def test_three_branches() -> None:
    torch.testing.assert_close(weights(*EXAMPLE), double(0.140625, 0.703125, 0.15625))


def test_two_branches() -> None:
    found = weights((1.8, 1.8), (1.8, 1.8), (0.8, 1.2), (1.2, 1.4))
    torch.testing.assert_close(found, double(0.272727, 0.727273), atol=5e-7, rtol=0)


@pytest.mark.parametrize("branches", range(1, 8))
def test_against_loops(branches: int) -> None:
    losses = drawn(branches, branches)
    raw = []
    for train_before, val_before, train_after, val_after in zip(*(values.tolist() for values in losses), strict=True):
        overfitting = (val_after - train_after) - (val_before - train_before)
        raw.append((val_before - val_after) / overfitting**2)
    torch.testing.assert_close(blending_weights(*losses), double(*(value / sum(raw) for value in raw)))


def test_the_unit_of_losses_does_not_matter() -> None:
    losses = drawn(4)
    losses[2][1] = losses[3][1] - (losses[1][1] - losses[0][1])  # one branch at the floor
    found = blending_weights(*losses)
    assert found[1] > 0.99
    for scale in (1e-6, 0.3, 1e4):
        torch.testing.assert_close(blending_weights(*(scale * values for values in losses)), found)


def test_a_constant_added_to_all_losses_of_a_branch_does_not_matter() -> None:
    losses = drawn(3)
    shifted = [values + double(0, 5, 0.25) for values in losses]
    torch.testing.assert_close(blending_weights(*shifted), blending_weights(*losses))


def test_the_order_of_branches_does_not_matter() -> None:
    losses, order = drawn(4), [2, 0, 3, 1]
    torch.testing.assert_close(
        blending_weights(*(values[order] for values in losses)), blending_weights(*losses)[order]
    )


@pytest.mark.parametrize("branches", range(2, 8))
def test_equal_curves_weigh_the_same(branches: int) -> None:
    found = weights(*((value,) * branches for value in (2, 2.1, 1, 1.5)))
    torch.testing.assert_close(found, torch.full_like(found, 1 / branches))


def test_a_branch_that_gains_without_overfitting_takes_all_under_the_floor() -> None:
    found = weights((2, 2, 5), (2, 2, 5), (1.5, 1.4, 3.6), (1.5, 1.6, 4.2))
    assert found.isfinite().all()
    floor = (1e-3 * 3) ** 2
    raw = double(0.5 / floor, 0.4 / 0.2**2, 0.8 / 0.6**2)
    torch.testing.assert_close(found, raw / raw.sum())
    assert found[0] > 0.999


def test_a_branch_that_gets_worse_has_no_weight() -> None:
    found = weights((2, 2, 2), (2, 2, 2), (1, 1.4, 0.6), (2.5, 1.6, 1.2))
    assert found[0] == 0
    torch.testing.assert_close(found[1:] / found[2], double(0.703125 / 0.15625, 1))


@pytest.mark.parametrize("after", [(2.5, 3.0, 2.25), (2.0, 2.0, 2.0)])
def test_where_no_branch_gains_all_weigh_the_same(after: tuple[float, ...]) -> None:
    torch.testing.assert_close(weights((2, 2, 2), (2, 2, 2), (1, 1.4, 0.6), after), double(1 / 3, 1 / 3, 1 / 3))


@pytest.mark.parametrize("diverged", [math.inf, math.nan])
def test_a_branch_that_diverged_has_no_weight(diverged: float) -> None:
    for val_after in (diverged, 1.2):
        found = weights((2, 2, 2), (2, 2, 2), (1, 1.4, diverged), (1.5, 1.6, val_after))
        torch.testing.assert_close(found, double(0.5 / 0.25, 0.4 / 0.04, 0) / 12)
    every = weights((2, 2), (2, 2), (diverged, diverged), (diverged, diverged))
    torch.testing.assert_close(every, double(0.5, 0.5))


def test_losses_of_zero_leave_no_nan() -> None:
    torch.testing.assert_close(weights((0, 0), (0, 0), (0, 0), (0, 0)), double(0.5, 0.5))


@pytest.mark.parametrize("seed", range(20))
def test_weights_are_shares(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    found = blending_weights(*(3 * torch.rand(4, 5, dtype=torch.float64, generator=generator)))
    assert (found >= 0).all()
    assert found.sum().item() == pytest.approx(1)
