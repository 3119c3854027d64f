"""PMR's prototypes: the printed numbers, classes that are missing, distances of zero, and who is pushed how hard."""

import math

import pytest
import torch

from inforeg_cli.numerics.prototypes import (
    class_sums,
    entropies,
    entropy_weights,
    prototype_losses,
    similarities,
    true_class_probabilities,
    update,
    weights_clip,
    weights_hard,
)


def double(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


TARGET = torch.tensor([0, 1])
SEEN = torch.tensor([True, True])
FEATURES = {"a": double([0, 0], [3, 4]), "b": double([1, 0], [0, 2])}
PROTOTYPES = {"a": double([0, 1], [3, 3]), "b": double([0, 0], [1, 1])}


def example(features: dict[str, torch.Tensor] = FEATURES, shift: float = 0.0) -> torch.Tensor:
    return torch.stack([similarities(features[m] + shift, PROTOTYPES[m] + shift, SEEN) for m in features])


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# Scores, losses and entropies.


def test_the_example() -> None:
    found = example()
    probabilities = true_class_probabilities(found, TARGET)
    torch.testing.assert_close(probabilities, double([0.962408, 0.5], [0.962408, 0.642398]), atol=5e-7, rtol=0)
    scores = probabilities.mean(dim=0)
    assert (scores[0] / scores[1]).item() == pytest.approx(1.684891, abs=5e-7)
    torch.testing.assert_close(prototype_losses(found, TARGET, SEEN), double(0.038317, 0.567847), atol=1e-6, rtol=0)
    torch.testing.assert_close(entropies(found), double(0.160215, 0.672587), atol=5e-7, rtol=0)
    torch.testing.assert_close(weights_hard(scores, 2.0), double(0, 2))
    torch.testing.assert_close(weights_clip(scores, 1.0), double(0, 0.684891), atol=5e-7, rtol=0)
    torch.testing.assert_close(entropy_weights(scores, 1.0), double(0.684891, 0), atol=5e-7, rtol=0)


def test_gradients_of_the_example() -> None:
    features = {name: value.clone().requires_grad_() for name, value in FEATURES.items()}
    found = example(features)
    weights = weights_hard(true_class_probabilities(found, TARGET).mean(dim=0), 1.0)
    (weights * prototype_losses(found, TARGET, SEEN)).sum().backward()
    torch.testing.assert_close(features["b"].grad, double([0.25, 0.25], [-0.1264, -0.0524]), atol=5e-5, rtol=0)
    assert torch.equal(features["a"].grad, torch.zeros(2, 2, dtype=torch.float64))


def test_only_the_place_relative_to_the_prototypes_counts() -> None:
    torch.testing.assert_close(example(shift=7.5), example())


def test_against_loops() -> None:
    features, prototypes, target = drawn(3, 8, 5), drawn(3, 4, 5, seed=1), torch.arange(8) % 4
    seen = torch.ones(4, dtype=torch.bool)
    found = torch.stack([similarities(z, c, seen) for z, c in zip(features, prototypes, strict=True)])
    losses, entropy, scores = [0.0] * 3, [0.0] * 3, [0.0] * 3
    for m in range(3):
        for z, label in zip(features[m].tolist(), target.tolist(), strict=True):
            exponentials = [math.exp(-math.dist(z, c)) for c in prototypes[m].tolist()]
            q = [value / sum(exponentials) for value in exponentials]
            losses[m] -= math.log(q[label]) / 8
            scores[m] += q[label] / 8
            entropy[m] -= sum(value * math.log(value) for value in q) / 8
    torch.testing.assert_close(prototype_losses(found, target, seen), double(*losses))
    torch.testing.assert_close(true_class_probabilities(found, target).mean(dim=0), double(*scores))
    torch.testing.assert_close(entropies(found), double(*entropy))


def test_scores_carry_no_gradient() -> None:
    features = drawn(2, 2).requires_grad_()
    found = similarities(features, PROTOTYPES["a"], SEEN)[None]
    assert found.requires_grad
    assert not true_class_probabilities(found, TARGET).requires_grad


def test_a_feature_on_a_prototype_has_a_finite_gradient() -> None:
    features = double([0, 1], [0.5, 0.5]).requires_grad_()
    found = similarities(features, PROTOTYPES["a"], SEEN)
    assert found[0, 0] == 0
    found[0, 0].backward(retain_graph=True)
    assert torch.equal(features.grad, torch.zeros(2, 2, dtype=torch.float64))
    prototype_losses(found[None], TARGET, SEEN).sum().backward()
    assert features.grad.isfinite().all()
    assert features.grad[0].norm() > 0  # the other prototype still pushes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_class_that_was_never_seen_takes_part_in_nothing(dtype: torch.dtype) -> None:
    """As if the class did not exist, and a clip of it had not been in the batch."""
    features, prototypes = drawn(4, 3).to(dtype).requires_grad_(), drawn(3, 3, seed=1).to(dtype)
    seen, target = torch.tensor([True, False, True]), torch.tensor([0, 1, 2, 0])
    found = similarities(features, prototypes, seen)[None]
    loss = prototype_losses(found, target, seen) + entropies(found[:, [0, 2, 3]])
    loss.sum().backward()

    others = features.detach().clone().requires_grad_()
    both = torch.ones(2, dtype=torch.bool)
    without = similarities(others[[0, 2, 3]], prototypes[[0, 2]], both)[None]
    expected = prototype_losses(without, torch.tensor([0, 1, 0]), both) + entropies(without)
    expected.sum().backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(features.grad, others.grad)
    assert torch.equal(features.grad[1], torch.zeros(3, dtype=dtype))
    scores = true_class_probabilities(found, target)[:, 0]
    assert scores[1] == 0
    assert (scores[[0, 2, 3]] > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_before_any_class_was_seen_nothing_is_learned_and_nobody_leads(dtype: torch.dtype) -> None:
    features, none = drawn(2, 4, 3).to(dtype).requires_grad_(), torch.zeros(3, dtype=torch.bool)
    target = torch.tensor([0, 1, 2, 0])
    found = torch.stack([similarities(z, torch.zeros(3, 3, dtype=dtype), none) for z in features])
    losses = prototype_losses(found, target, none)
    (losses + entropies(found)).sum().backward()
    assert torch.equal(losses, torch.zeros(2, dtype=dtype))
    assert torch.equal(features.grad, torch.zeros_like(features))
    scores = true_class_probabilities(found, target).mean(dim=0)
    assert torch.equal(weights_hard(scores, 2.0), torch.zeros(2, dtype=dtype))
    assert torch.equal(weights_clip(scores, 2.0), torch.zeros(2, dtype=dtype))


def test_half_precision_features_are_measured_in_single() -> None:
    features = drawn(4, 3).bfloat16()
    found = similarities(features, drawn(3, 3, seed=1).float(), torch.ones(3, dtype=torch.bool))
    assert found.dtype == torch.float32
    assert torch.equal(found, similarities(features.float(), drawn(3, 3, seed=1).float(), torch.tensor([True] * 3)))


# Prototypes.


def test_sums_and_counts_against_loops_and_over_batches() -> None:
    features, target = drawn(11, 4), torch.tensor([0, 2, 2, 4, 0, 2, 4, 0, 0, 4, 2])
    sums, counts = class_sums(features, target, 5)
    for label in range(5):
        chosen = [row for row, other in zip(features, target.tolist(), strict=True) if other == label]
        torch.testing.assert_close(sums[label], sum(chosen, torch.zeros(4, dtype=torch.float64)))
        assert counts[label] == len(chosen)
    parts = [class_sums(features[part], target[part], 5) for part in (slice(0, 4), slice(4, 11))]
    torch.testing.assert_close(parts[0][0] + parts[1][0], sums)
    assert torch.equal(parts[0][1] + parts[1][1], counts)


def test_many_clips_in_half_precision_are_summed_in_single() -> None:
    sums, counts = class_sums(torch.ones(1000, 2).bfloat16(), torch.zeros(1000, dtype=torch.int64), 2)
    assert torch.equal(sums, torch.tensor([[1000.0, 1000.0], [0, 0]]))
    assert torch.equal(counts, torch.tensor([1000.0, 0]))


def test_sums_carry_no_gradient() -> None:
    assert not any(part.requires_grad for part in class_sums(drawn(3, 2).requires_grad_(), torch.tensor([0, 1, 1]), 2))


def test_a_prototype_is_the_mean_and_momentum_keeps_the_old() -> None:
    old, every = double([4.0]), torch.tensor([True])
    found, _ = update(old, every, double([24.0]), double(3), momentum=0.25)
    assert found.item() == 7
    assert update(old, every, double([24.0]), double(3), momentum=0.25, replace=True)[0].item() == 8
    assert update(old, every, double([24.0]), double(3), momentum=0.0)[0].item() == 8
    assert old.item() == 4


@pytest.mark.parametrize("replace", [True, False])
def test_a_class_that_is_absent_keeps_its_prototype(replace: bool) -> None:
    old, seen = double([1, 2], [3, 4], [0, 0]), torch.tensor([True, True, False])
    found, now = update(old, seen, double([10, 10], [0, 0], [0, 0]), double(2, 0, 0), 0.5, replace)
    torch.testing.assert_close(found, double([5, 5] if replace else [3, 3.5], [3, 4], [0, 0]))
    assert torch.equal(now, seen)


def test_a_class_seen_for_the_first_time_is_not_smoothed_with_nothing() -> None:
    old, seen = double([1, 2], [0, 0]), torch.tensor([True, False])
    found, now = update(old, seen, double([3, 4], [6, 8]), double(1, 2), momentum=0.5)
    torch.testing.assert_close(found, double([2, 3], [3, 4]))
    assert torch.equal(now, torch.tensor([True, True]))


# Weights.


def test_three_modalities() -> None:
    scores = double(0.6, 0.4, 0.2)
    torch.testing.assert_close(weights_hard(scores, 2.0), double(0, 2, 2))
    torch.testing.assert_close(weights_clip(scores, 2.0), double(0, 1, 2))
    torch.testing.assert_close(entropy_weights(scores, 2.0), double(1.5, 0, 0))


@pytest.mark.parametrize("ratio", [0.2, 0.7, 1.0, 1.4, 3.0])
def test_two_modalities_are_the_released_switch_and_the_papers_clip(ratio: float) -> None:
    scores = double(0.3 * ratio, 0.3)
    hard = {True: (0.0, 2.0), False: (2.0, 0.0)}[ratio > 1] if ratio != 1 else (0.0, 0.0)
    clip = min(max(1 / ratio - 1, 0), 1), min(max(ratio - 1, 0), 1)
    torch.testing.assert_close(weights_hard(scores, 2.0), double(*hard))
    torch.testing.assert_close(weights_clip(scores, 2.0), 2 * double(*clip), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(entropy_weights(scores, 2.0), 2 * double(*clip).flip(0), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("weights", [weights_hard, weights_clip, entropy_weights])
@pytest.mark.parametrize("modalities", range(2, 7))
def test_order_and_unit_of_scores_do_not_matter(weights, modalities: int) -> None:
    scores = drawn(modalities, seed=modalities).abs() + 0.05
    order = torch.randperm(modalities, generator=torch.Generator().manual_seed(0))
    found = weights(scores, 1.7)
    torch.testing.assert_close(weights(scores[order], 1.7), found[order])
    torch.testing.assert_close(weights(64 * scores, 1.7), found)
    assert found.max() > 0
    assert torch.equal(weights(scores, 0.0), torch.zeros(modalities, dtype=torch.float64))


@pytest.mark.parametrize("weights", [weights_hard, weights_clip, entropy_weights])
@pytest.mark.parametrize("modalities", range(1, 7))
def test_where_nobody_leads_nobody_is_pushed(weights, modalities: int) -> None:
    for score in (0.0, 0.37):
        assert torch.equal(weights(torch.full((modalities,), score), 2.0), torch.zeros(modalities))


def test_a_score_that_vanishes_leaves_no_nan() -> None:
    scores = torch.tensor([0.0, 0.5, 0.5])
    assert torch.equal(weights_hard(scores, 2.0), torch.tensor([2.0, 0, 0]))
    assert torch.equal(weights_clip(scores, 2.0), torch.tensor([2.0, 0, 0]))
    assert torch.equal(entropy_weights(scores, 2.0), torch.tensor([0, 1.0, 1.0]))


def test_it_never_waits_for_the_device() -> None:
    """On the meta device there are no numbers to wait for, so reading one would raise."""
    features, target = torch.empty(2, 8, 5, device="meta"), torch.empty(8, dtype=torch.int64, device="meta")
    prototypes, seen = torch.empty(3, 5, device="meta"), torch.empty(3, dtype=torch.bool, device="meta")
    prototypes, seen = update(prototypes, seen, *class_sums(features[0], target, 3), momentum=0.2)
    found = torch.stack([similarities(z, prototypes, seen) for z in features])
    scores = true_class_probabilities(found, target).mean(dim=0)
    weights = weights_hard(scores, 2.0) + weights_clip(scores, 2.0) + entropy_weights(scores, 2.0)
    assert (weights * prototype_losses(found, target, seen) * entropies(found)).shape == (2,)
