"""MMPareto's gradients: the printed numbers, the optimality of the direction, the length that is restored, the guards."""

import math

import pytest
import torch

from inforeg_cli.numerics.pareto import combine, conflict_weight

GAMMA = 1.5


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def weight_of(joint: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    return conflict_weight(joint.dot(own), joint.dot(joint), own.dot(own))


def pairs(count: int, size: int = 5, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Gradients of very different lengths, about half of them in conflict."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, 2, size, dtype=torch.float64, generator=generator)
    lengths = 10 ** (4 * torch.rand(count, 2, 1, dtype=torch.float64, generator=generator) - 2)
    return [tuple(pair) for pair in drawn * lengths]


def conflicting(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(joint, -own.dot(joint).sign() * own) for joint, own in pairs(count)]


def agreeing(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(joint, -own) for joint, own in conflicting(count)]


@pytest.mark.parametrize(
    ("joint", "own", "weight", "direction", "restored", "final"),
    [
        ((1, 0), (-1, 1), 0.6, (0.2, 0.4), 1.118034, (0.670820, 1.341641)),
        ((3, 1), (-1, 0.5), 0.230769, (-0.076923, 0.615385), 2.015564, (-0.465130, 3.721042)),
        ((1, 2), (-2, 0.5), 0.466667, (-0.6, 1.2), 1.003466, (-1.806239, 3.612478)),
        ((1, 0), (1, 1), 0.5, (1, 0.5), 1, (3, 1.5)),
        ((2, 0), (-1, 0), 0.333333, (0, 0), None, (0, 0)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_table(joint, own, weight, direction, restored, final, dtype: torch.dtype) -> None:
    joint, own = torch.tensor(joint, dtype=dtype), torch.tensor(own, dtype=dtype)
    (found,), found_weight = combine([joint], [own], GAMMA)
    assert found_weight.item() == pytest.approx(weight, abs=1e-6)
    direction = torch.tensor(direction, dtype=dtype)
    torch.testing.assert_close(found_weight * joint + (1 - found_weight) * own, direction, atol=1e-6, rtol=0)
    torch.testing.assert_close(found, torch.tensor(final, dtype=dtype), atol=2e-6, rtol=0)
    if restored is not None:
        assert (found.norm() / (2 * GAMMA * direction.norm())).item() == pytest.approx(restored, abs=2e-6)


def test_orthogonal_gradients_are_a_conflict() -> None:
    weight = weight_of(double(1, 0), double(0, 2))
    assert weight.item() == pytest.approx(0.8)
    (found,), _ = combine([double(1, 0)], [double(0, 2)], GAMMA)
    torch.testing.assert_close(found / found.norm(), double(0.8, 0.4) / math.hypot(0.8, 0.4))


def test_no_point_of_the_segment_is_closer_to_zero() -> None:
    grid = torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None]
    for joint, own in conflicting(50):
        weight = weight_of(joint, own)
        assert 0 <= weight <= 1
        direction = weight * joint + (1 - weight) * own
        assert direction.norm() <= (grid * joint + (1 - grid) * own).norm(dim=1).min() * (1 + 1e-9)


def test_in_conflict_the_direction_descends_both_losses_alike() -> None:
    for joint, own in conflicting(50):
        weight = weight_of(joint, own)
        direction = weight * joint + (1 - weight) * own
        square = direction.dot(direction)
        scale = max(joint.dot(joint), own.dot(own)).item()
        torch.testing.assert_close(direction.dot(joint), square, atol=1e-12 * scale, rtol=0)
        torch.testing.assert_close(direction.dot(own), square, atol=1e-12 * scale, rtol=0)


def test_exchanging_the_two_exchanges_the_weights() -> None:
    for joint, own in pairs(30):
        torch.testing.assert_close(weight_of(own, joint), 1 - weight_of(joint, own))
        for one, other in zip(combine([joint], [own], GAMMA)[0], combine([own], [joint], GAMMA)[0], strict=True):
            torch.testing.assert_close(one, other)


def test_weights_of_several_encoders_at_once() -> None:
    drawn = pairs(8)
    dots = torch.stack([joint.dot(own) for joint, own in drawn])
    squares = [torch.stack([gradient.dot(gradient) for gradient in group]) for group in zip(*drawn, strict=True)]
    expected = torch.stack([weight_of(joint, own) for joint, own in drawn])
    assert torch.equal(conflict_weight(dots, *squares), expected)
    assert set((expected == 0.5).tolist()) == {True, False}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("gamma", [1.0, 1.5])
def test_without_conflict_it_is_the_plain_sum_times_gamma_to_the_last_bit(dtype: torch.dtype, gamma: float) -> None:
    for joint, own in agreeing(30):
        joint, own = joint.to(dtype).split([2, 3]), own.to(dtype).split([2, 3])
        found, weight = combine(joint, own, gamma)
        assert weight == 0.5
        for result, one, other in zip(found, joint, own, strict=True):
            assert torch.equal(result, gamma * (one + other))


def test_every_tensor_is_at_least_gamma_times_as_long_as_the_sum() -> None:
    lengthened = 0
    for joint, own in conflicting(30):
        joint, own = joint.split([2, 3]), own.split([2, 3])
        for result, one, other in zip(combine(joint, own, GAMMA)[0], joint, own, strict=True):
            assert result.norm() >= GAMMA * (one + other).norm() * (1 - 1e-12)
            lengthened += result.norm() > 1.01 * GAMMA * (one + other).norm()
    assert lengthened  # a tensor that is longer already is not cut


def test_scaling_both_scales_the_result() -> None:
    for joint, own in pairs(30):
        joint, own = joint.split([2, 3]), own.split([2, 3])
        once, weight = combine(joint, own, GAMMA)
        scaled, scaled_weight = combine([3e-4 * g for g in joint], [3e-4 * g for g in own], GAMMA)
        torch.testing.assert_close(scaled_weight, weight)
        for one, other in zip(once, scaled, strict=True):
            torch.testing.assert_close(other, 3e-4 * one)


def drawn_gradients(seed: int, dtype: torch.dtype = torch.float64) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """As of an encoder: tensors of several shapes, one without a gradient of its own, one where both cancel."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(4, 2, 3, 3), (4,), (5, 4), (5,), (3,), (6, 1)]
    joint = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    own = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    joint[3].zero_()
    joint[4].zero_()
    own[4].zero_()
    if seed % 2:
        own[0] -= joint[0]
    return [g.to(dtype) for g in joint], [g.to(dtype) for g in own]


def by_loops(joint: list[torch.Tensor], own: list[torch.Tensor], gamma: float) -> tuple[list[list[float]], float]:
    flat = [[g.flatten().tolist() for g in group] for group in (joint, own)]
    every = [[value for tensor in group for value in tensor] for group in flat]
    dot = sum(a * b for a, b in zip(*every, strict=True))
    squares = [sum(value**2 for value in group) for group in every]
    weight = 0.5 if dot > 0 else (squares[1] - dot) / (squares[0] + squares[1] - 2 * dot)
    results = []
    for one, other in zip(*flat, strict=True):
        mixed = [2 * weight * a + 2 * (1 - weight) * b for a, b in zip(one, other, strict=True)]
        length = math.hypot(*mixed)
        growth = max(1.0, math.hypot(*(a + b for a, b in zip(one, other, strict=True))) / length) if length else 1.0
        results.append([gamma * growth * value for value in mixed])
    return results, weight


@pytest.mark.parametrize("seed", range(6))
def test_against_loops(seed: int) -> None:
    joint, own = drawn_gradients(seed)
    found, weight = combine(joint, own, GAMMA)
    expected, expected_weight = by_loops(joint, own, GAMMA)
    assert weight.item() == pytest.approx(expected_weight, rel=1e-12)
    for result, values, like in zip(found, expected, joint, strict=True):
        torch.testing.assert_close(result, double(*values).view_as(like), rtol=1e-11, atol=0)


def test_the_loops_saw_conflict_and_agreement() -> None:
    agreed = {by_loops(*drawn_gradients(seed), GAMMA)[1] == 0.5 for seed in range(6)}
    assert agreed == {True, False}


def test_each_tensor_has_a_length_of_its_own() -> None:
    joint, own = [double(1, 0), double(1, 3)], [double(-1, 0.1), double(-1, -2.5)]
    found, weight = combine(joint, own, GAMMA)
    growth = []
    for result, one, other in zip(found, joint, own, strict=True):
        mixed = 2 * weight * one + 2 * (1 - weight) * other
        growth.append((result.norm() / (GAMMA * mixed.norm())).item())
        assert growth[-1] == pytest.approx(max(1, ((one + other).norm() / mixed.norm()).item()))
    assert abs(growth[0] - growth[1]) > 0.1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradients_that_cancel_or_vanish_leave_no_nan(dtype: torch.dtype) -> None:
    gradient = torch.tensor([0.3, -0.7, 11.0], dtype=dtype)
    zero = torch.zeros_like(gradient)
    for joint, own in [
        (gradient, -gradient),
        (zero, zero),
        (zero, gradient),
        (gradient, zero),
        (gradient, -3 * gradient),
    ]:
        (found,), weight = combine([joint], [own], GAMMA)
        assert found.isfinite().all()
        assert 0 <= weight <= 1
        # One of the two is zero, or both point against each other: the point closest to zero is zero.
        torch.testing.assert_close(found, zero, atol=1e-5, rtol=0)
    assert conflict_weight(*torch.zeros(3, dtype=dtype)) == 0.5


def test_a_rest_of_rounding_is_not_blown_up() -> None:
    """In float32 the mixture of opposite gradients is not exactly zero: it must not be stretched to the sum's length."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        joint = torch.randn(40, generator=generator)
        own = -joint * (0.1 + torch.rand(1, generator=generator))
        (found,), _ = combine([joint], [own], GAMMA)
        assert found.norm() < 1e-5 * joint.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_combined_in_single(dtype: torch.dtype) -> None:
    joint, own = drawn_gradients(1, dtype)
    joint[0] *= 100  # its square is beyond float16
    found, weight = combine(joint, own, GAMMA)
    expected, expected_weight = combine([g.float() for g in joint], [g.float() for g in own], GAMMA)
    assert weight == expected_weight
    for result, wide in zip(found, expected, strict=True):
        assert torch.equal(result, wide.to(dtype))


def test_what_comes_in_is_left_alone_and_carries_no_gradient() -> None:
    joint, own = drawn_gradients(0)
    copies = [[g.clone() for g in group] for group in (joint, own)]
    for g in joint:
        g.requires_grad_()
    found, weight = combine(joint, own, GAMMA)
    assert not weight.requires_grad
    assert not any(result.requires_grad for result in found)
    for before, after in zip(copies, (joint, own), strict=True):
        assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_it_never_waits_for_the_device() -> None:
    """On the meta device there are no numbers to wait for, so reading one would raise."""
    gradients = [g.to("meta") for g in drawn_gradients(0)[0]]
    found, weight = combine(gradients, gradients, GAMMA)
    assert [result.shape for result in found] == [g.shape for g in gradients]
    assert weight.shape == ()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("seed", range(2))
def test_cuda_agrees_with_the_cpu(seed: int) -> None:
    joint, own = drawn_gradients(seed)
    expected, weight = combine(joint, own, GAMMA)
    found, found_weight = combine([g.cuda() for g in joint], [g.cuda() for g in own], GAMMA)
    torch.testing.assert_close(found_weight.cpu(), weight)
    for result, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(result.cpu(), wanted)
