"""Shapley values and AGM's coefficients: the printed numbers, the axioms, and what the gradient becomes."""

import math
from itertools import permutations

import pytest
import torch

from inforeg_cli.numerics.shapley import (
    coefficients,
    discrepancies,
    kappa,
    response_losses,
    subsets,
    upstream,
    values,
)

#: The shared example, used as the responses of two modalities on four clips.
RESPONSES = torch.tensor(
    [[[2, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 3]], [[0.5, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]]],
    dtype=torch.float64,
)
TARGET = torch.tensor([0, 1, 2, 2])


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def exact(modalities: int) -> torch.Tensor:
    return coefficients(modalities, dtype=torch.float64)


def drawn_outputs(modalities: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(modalities)
    return torch.randn(2**modalities - 1, *shape, dtype=torch.float64, generator=generator)


def additive(parts: torch.Tensor) -> torch.Tensor:
    """f(S), the sum of the parts of S, for every S."""
    return torch.stack([parts[list(subset)].sum(dim=0) for subset in subsets(len(parts))])


def test_the_order_of_subsets() -> None:
    assert subsets(1) == [(0,)]
    assert subsets(2) == [(0,), (1,), (0, 1)]
    assert subsets(3) == [(0,), (1,), (0, 1), (2,), (0, 2), (1, 2), (0, 1, 2)]


@pytest.mark.parametrize("modalities", range(1, 7))
def test_every_non_empty_subset_stands_once_and_the_full_one_last(modalities: int) -> None:
    found = subsets(modalities)
    assert len(set(found)) == len(found) == 2**modalities - 1
    assert found[-1] == tuple(range(modalities))
    assert all(found)


def test_two_modalities() -> None:
    a, b, ab = drawn_outputs(2, 4, 3)
    phi = values(torch.stack([a, b, ab]), exact(2))
    torch.testing.assert_close(phi, torch.stack([(ab - b + a) / 2, (ab - a + b) / 2]))


def test_three_modalities() -> None:
    outputs = drawn_outputs(3, 4, 3)
    a, v, av, t, at, vt, avt = outputs
    expected = [
        (avt - vt) / 3 + (av - v) / 6 + (at - t) / 6 + a / 3,
        (avt - at) / 3 + (av - a) / 6 + (vt - t) / 6 + v / 3,
        (avt - av) / 3 + (at - a) / 6 + (vt - v) / 6 + t / 3,
    ]
    torch.testing.assert_close(values(outputs, exact(3)), torch.stack(expected))


@pytest.mark.parametrize("modalities", range(1, 6))
def test_against_the_mean_over_all_orders_of_joining(modalities: int) -> None:
    outputs = drawn_outputs(modalities).tolist()
    f = {frozenset(): 0.0, **{frozenset(s): value for s, value in zip(subsets(modalities), outputs, strict=True)}}
    expected = [0.0] * modalities
    for order in permutations(range(modalities)):
        for place, m in enumerate(order):
            before = frozenset(order[:place])
            expected[m] += (f[before | {m}] - f[before]) / math.factorial(modalities)
    torch.testing.assert_close(values(double(*outputs), exact(modalities)), double(*expected))


@pytest.mark.parametrize("modalities", range(1, 7))
def test_values_sum_to_the_output_of_the_full_set(modalities: int) -> None:
    outputs = drawn_outputs(modalities, 4, 3)
    torch.testing.assert_close(values(outputs, exact(modalities)).sum(dim=0), outputs[-1])


@pytest.mark.parametrize("modalities", range(1, 7))
def test_in_an_additive_model_each_gets_its_part(modalities: int) -> None:
    parts = drawn_outputs(modalities, 4, 3)[:modalities]
    torch.testing.assert_close(values(additive(parts), exact(modalities)), parts)


def test_a_modality_that_changes_nothing_gets_nothing_and_equals_get_the_same() -> None:
    outputs = {(): 0.0, (0,): 1.5, (1,): 1.5, (0, 1): 4.0}
    found = values(double(*(outputs[tuple(m for m in subset if m < 2)] for subset in subsets(3))), exact(3))
    torch.testing.assert_close(found, double(2.0, 2.0, 0.0))


def test_half_precision_outputs_are_weighted_in_single() -> None:
    outputs = drawn_outputs(3, 4, 3).bfloat16()
    assert values(outputs, coefficients(3)).dtype == torch.float32


def test_scores_of_the_example() -> None:
    scores = response_losses(RESPONSES, TARGET).mean(dim=0)
    torch.testing.assert_close(scores, double(0.496131, 1.248970), atol=5e-7, rtol=0)
    torch.testing.assert_close(discrepancies(scores), double(2.123018, 0.471028), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("running", "expected"), [((0, 0), (0.185532, 2.211030)), ((1.0, 1.2), (0.258613, 1.684645))])
def test_kappa_of_the_example(running: tuple[float, ...], expected: tuple[float, ...]) -> None:
    scores = response_losses(RESPONSES, TARGET).mean(dim=0)
    torch.testing.assert_close(kappa(scores, double(*running), 1.5), double(*expected), atol=1e-6, rtol=0)


def test_discrepancies_of_three_modalities() -> None:
    found = discrepancies(double(0.5, 1, 1.5))
    torch.testing.assert_close(found, double(2.117000, 1, 0.472367), atol=5e-7, rtol=0)


@pytest.mark.parametrize("modalities", range(2, 7))
def test_discrepancies_against_loops(modalities: int) -> None:
    scores = drawn_outputs(modalities)[:modalities].abs()
    mean = sum(scores.tolist()) / modalities
    expected = [math.exp(modalities / (modalities - 1) * (mean - score)) for score in scores.tolist()]
    torch.testing.assert_close(discrepancies(scores), double(*expected))


def test_only_differences_between_scores_count_and_order_does_not() -> None:
    scores, running, order = double(1.3, 0.2, 0.9, 2.4), double(0.3, 0.1, 1.9, 1.0), [3, 1, 0, 2]
    found = kappa(scores, running, 1.5)
    torch.testing.assert_close(kappa(scores + 7, running - 2, 1.5), found)
    torch.testing.assert_close(kappa(scores[order], running[order], 1.5), found[order])


def test_kappa_is_one_where_the_gap_is_what_it_has_been_where_alpha_is_zero_and_for_one_modality() -> None:
    scores = double(1.3, 0.2, 0.9)
    assert torch.equal(kappa(scores, scores, 2.5), torch.ones_like(scores))
    assert torch.equal(kappa(scores, double(9, 0, 1), 0.0), torch.ones_like(scores))
    assert torch.equal(kappa(double(3.0), double(0.0), 2.5), double(1.0))


def test_kappa_damps_whoever_is_further_ahead_than_so_far() -> None:
    ahead, behind = kappa(double(0.5, 1.5), double(1.0, 1.5), 1.0)
    assert ahead < 1 < behind


def test_kappa_is_capped() -> None:
    tau = 52.0  # over r = 2, so the gap is 50
    found = kappa(double(0.0, math.log(2)), double(0.0, math.log(tau)), 0.3)
    assert found[0].item() == pytest.approx(math.exp(10 * 0.3))


def test_a_score_has_a_floor_and_no_gradient() -> None:
    responses = torch.tensor([[[0.0, 60.0]], [[0.0, 5.0]]], requires_grad=True)
    found = response_losses(responses, torch.tensor([0]))
    assert found.shape == (1, 2)
    assert found[0, 0].item() == pytest.approx(-math.log(1e-8))
    assert found[0, 1].item() == pytest.approx(math.log1p(math.exp(5)))
    assert not found.requires_grad
    assert response_losses(responses.bfloat16(), torch.tensor([0])).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("modalities", range(1, 7))
def test_at_kappa_one_the_gradient_is_the_joint_one_exactly(modalities: int, dtype: torch.dtype) -> None:
    found = upstream(torch.ones(modalities, dtype=dtype), coefficients(modalities, dtype))
    assert torch.equal(found, torch.tensor([0.0] * (2**modalities - 2) + [1.0], dtype=dtype))


def test_upstream_of_two_modalities() -> None:
    a, b = 0.25, 1.75
    torch.testing.assert_close(upstream(double(a, b), exact(2)), double((a - b) / 2, (b - a) / 2, (a + b) / 2))


@pytest.mark.parametrize("modalities", range(1, 7))
def test_upstream_is_what_hooks_on_the_responses_do(modalities: int) -> None:
    outputs = drawn_outputs(modalities, 4, 3).requires_grad_()
    factors = torch.linspace(0.3, 2.1, modalities, dtype=torch.float64)
    phi = values(outputs, exact(modalities)).unbind()
    for response, factor in zip(phi, factors, strict=True):
        response.register_hook(lambda gradient, factor=factor: factor * gradient)
    target = torch.tensor([0, 1, 2, 2])
    torch.nn.functional.cross_entropy(sum(phi), target).backward()
    full = outputs[-1].detach().requires_grad_()
    torch.nn.functional.cross_entropy(full, target).backward()
    torch.testing.assert_close(outputs.grad, upstream(factors, exact(modalities)).view(-1, 1, 1) * full.grad)


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_in_an_additive_model_each_gradient_is_kappa_times_the_joint_one(modalities: int) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(modalities, 6, 5, dtype=torch.float64, generator=generator)
    weights = torch.randn(modalities, 5, 3, dtype=torch.float64, generator=generator).requires_grad_()
    target = torch.tensor([0, 1, 2, 2, 1, 0])

    def outputs() -> torch.Tensor:
        return additive(torch.bmm(inputs, weights))

    full = outputs()[-1]
    by_output = torch.autograd.grad(torch.nn.functional.cross_entropy(full, target), full)[0]
    (joint,) = torch.autograd.grad(outputs()[-1], weights, by_output)
    factors = torch.linspace(0.4, 1.9, modalities, dtype=torch.float64)
    into = upstream(factors, exact(modalities)).view(-1, 1, 1) * by_output
    (found,) = torch.autograd.grad(outputs(), weights, into)
    torch.testing.assert_close(found, factors.view(-1, 1, 1) * joint)


def test_it_never_waits_for_the_device() -> None:
    """On the meta device there are no numbers to wait for, so reading one would raise."""
    matrix = coefficients(3, device="meta")
    phi = values(torch.empty(7, 4, 3, device="meta"), matrix)
    scores = response_losses(phi, TARGET.to("meta")).mean(dim=0)
    assert upstream(kappa(scores, torch.zeros_like(scores), 1.5), matrix).shape == (7,)
