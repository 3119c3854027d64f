"""Greedy's learning speeds and its state machine: the printed numbers, the pattern of curation, and what changes nothing."""

import math

import pytest
import torch

from inforeg_cli.numerics.speeds import (
    Curation,
    advance,
    advance_randomly,
    bypass_dominance,
    imbalance,
    regular,
    speed_ratio,
)


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def drawn(seed: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(4, 2, 3, 3), (4,), (5, 4), (5,)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


# Speeds.


def test_the_ratio_against_loops() -> None:
    gradients, weights = drawn(0), drawn(1)
    moved, size = (sum(v**2 for t in group for v in t.flatten().tolist()) for group in (gradients, weights))
    assert speed_ratio(gradients, weights).item() == pytest.approx(moved / size, rel=1e-12)
    assert speed_ratio(gradients[:0], weights).item() == 0
    fewer = sum(v**2 for t in gradients[1:] for v in t.flatten().tolist())
    assert speed_ratio(gradients[1:], weights).item() == pytest.approx(fewer / size, rel=1e-12)


def test_scaling_gradients_scales_the_ratio_by_the_square() -> None:
    gradients, weights = drawn(0), drawn(1)
    once = speed_ratio(gradients, weights)
    torch.testing.assert_close(speed_ratio([3 * g for g in gradients], weights), 9 * once)
    torch.testing.assert_close(speed_ratio(gradients, [3 * w for w in weights]), once / 9)
    torch.testing.assert_close(speed_ratio(gradients[::-1], weights[::-1]), once)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_single(dtype: torch.dtype) -> None:
    gradients, weights = drawn(0, dtype), drawn(1, dtype)
    gradients[0] *= 300  # its square is beyond float16
    found = speed_ratio(gradients, weights)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, speed_ratio([g.float() for g in gradients], [w.float() for w in weights]))


def test_weights_of_zero_leave_no_nan_and_nothing_carries_a_gradient() -> None:
    gradients, weights = drawn(0), [w.requires_grad_() for w in drawn(1)]
    assert not speed_ratio(gradients, weights).requires_grad
    assert speed_ratio(gradients, [torch.zeros_like(w) for w in weights]) == 0


def test_two_modalities() -> None:
    bdr = bypass_dominance(double(2, 8), double(4, 4))
    torch.testing.assert_close(bdr, double(-0.30103, 0.30103), atol=5e-7, rtol=0)
    torch.testing.assert_close(imbalance(bdr), double(-0.60206, 0.60206), atol=5e-7, rtol=0)
    state = advance(regular(), imbalance(bdr), epsilon=0.01, steps=5, burning_in=False)
    assert state.caring == 1


def test_gradients_that_are_all_scaled_alike_change_nothing() -> None:
    bypass, main = double(2, 8, 3), double(4, 4, 9)
    torch.testing.assert_close(bypass_dominance(25 * bypass, 25 * main), bypass_dominance(bypass, main))


def test_speeds_of_zero_are_finite_and_none_at_all_is_balance() -> None:
    for dtype in (torch.float32, torch.float64):
        found = bypass_dominance(torch.tensor([0.0, 0, 1], dtype=dtype), torch.tensor([0.0, 1, 0], dtype=dtype))
        assert found.isfinite().all()
        assert found[0] == 0
        assert found[1] < -30
        assert found[2] > 30


@pytest.mark.parametrize("modalities", range(2, 7))
def test_imbalance_against_loops(modalities: int) -> None:
    bdr = torch.randn(modalities, dtype=torch.float64, generator=torch.Generator().manual_seed(modalities))
    values = bdr.tolist()
    expected = [value - (sum(values) - value) / (modalities - 1) for value in values]
    torch.testing.assert_close(imbalance(bdr), double(*expected))
    order = torch.randperm(modalities, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(imbalance(bdr[order]), imbalance(bdr)[order])
    torch.testing.assert_close(imbalance(bdr + 3), imbalance(bdr))


def test_of_two_modalities_one_is_ahead_by_what_the_other_is_behind() -> None:
    for seed in range(20):
        first, second = imbalance(torch.randn(2, generator=torch.Generator().manual_seed(seed)))
        assert first == -second


def test_a_single_modality_is_never_ahead() -> None:
    assert torch.equal(imbalance(double(0.7)), double(0))
    assert pattern([imbalance(double(0.7))] * 4, epsilon=0.0) == "RRRR"


# The state machine.


def pattern(ds: list[torch.Tensor], epsilon: float = 0.01, steps: int = 5, burn_in: int = 0) -> str:
    """What each of the steps was: R for a regular one, else the caring modality."""
    state, found = regular(), ""
    for index, d in enumerate(ds):
        found += "R" if state.caring == -1 else str(state.caring.item())
        state = advance(state, d, epsilon, steps, burning_in=index < burn_in)
    return found


def test_five_curated_steps_after_every_regular_one() -> None:
    assert pattern([double(0.5, -0.5)] * 14) == "R00000R00000R0"
    assert pattern([double(-0.5, 0.5)] * 14) == "R11111R11111R1"


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_length_of_a_curation(steps: int) -> None:
    assert pattern([double(0.5, -0.5)] * 20, steps=steps) == (("R" + "0" * steps) * 20)[:20]


def test_only_a_regular_step_decides() -> None:
    ahead, behind, even = double(0.5, -0.5), double(-0.5, 0.5), double(0, 0)
    script = [even, behind, ahead, even, ahead, ahead, even, even, ahead, behind, behind, even, behind, ahead, behind]
    assert pattern(script, steps=5) == "RR11111RR00000R"


def test_epsilon_is_to_be_exceeded() -> None:
    assert pattern([double(0.25, -0.25)] * 4, epsilon=0.25) == "RRRR"
    assert pattern([double(0.25, -0.25)] * 4, epsilon=0.2499, steps=2) == "R00R"
    assert pattern([double(1e30, -1e30)] * 4, epsilon=math.inf) == "RRRR"


def test_burning_in_is_regular() -> None:
    assert pattern([double(0.5, -0.5)] * 10, burn_in=3, steps=5) == "RRRR00000R"


def test_of_several_modalities_the_one_furthest_ahead_cares() -> None:
    assert pattern([double(0.1, -0.5, 0.4), double(9, 9, 9), double(1, 2, -3)], steps=1) == "R2R"
    order = [2, 0, 1]
    state = advance(regular(), double(0.1, -0.5, 0.4)[order], 0.01, 5, burning_in=False)
    assert order[state.caring] == 2


def test_states_are_not_changed_in_place() -> None:
    start = regular()
    advance(start, double(0.5, -0.5), 0.01, 5, burning_in=False)
    assert start == (torch.tensor(-1), torch.tensor(0))


def test_drawn_at_random_every_kind_of_step_is_as_likely() -> None:
    for modalities in (2, 3):
        draws = (torch.arange(600) + 0.5) / 600
        caring = torch.stack([advance_randomly(number, modalities, burning_in=False).caring for number in draws])
        kinds, counts = caring.unique(return_counts=True)
        assert kinds.tolist() == list(range(-1, modalities))
        assert counts.tolist() == [600 // (modalities + 1)] * (modalities + 1)
        assert advance_randomly(torch.tensor(1.0), modalities, burning_in=False).caring == modalities - 1
        burning_in = [advance_randomly(number, modalities, burning_in=True) for number in draws[::50]]
        assert all(state.caring == -1 and state.left == 0 for state in burning_in)


def test_it_never_waits_for_the_device() -> None:
    """On the meta device there are no numbers to wait for, so reading one would raise."""
    gradients = [g.to("meta") for g in drawn(0)]
    ratio = speed_ratio(gradients, gradients)
    d = imbalance(bypass_dominance(torch.stack([ratio, ratio]), torch.stack([ratio, ratio])))
    state = Curation(
        torch.empty((), dtype=torch.int64, device="meta"), torch.empty((), dtype=torch.int64, device="meta")
    )
    state = advance(state, d, 0.01, 5, burning_in=False)
    assert [part.dtype for part in state] == [torch.int64, torch.int64]
    assert advance_randomly(ratio, 2, burning_in=False).caring.dtype == torch.int64
