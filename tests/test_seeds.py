"""The one source of random numbers: stable, fair, and a function of what they are for alone."""

import pytest
import torch

from inforeg_cli import seeds

ORDER, WEIGHT = 6961858436693055502, 8571394770476383765
PERMUTATION = [5, 4, 0, 2, 1, 6, 7, 3]
UNIFORM = [0.686215, 0.5298848, 0.107567]


def test_the_scheme_is_pinned() -> None:
    """Another value here is another model from the same seed: every method's version would have to be raised."""
    assert seeds.derive(0, "order", 0) == ORDER
    assert seeds.derive(7, "encoders.image.0.weight") == WEIGHT
    assert seeds.permutation(8, 0, "order", 0).tolist() == PERMUTATION
    assert seeds.uniform(torch.arange(3), 0, "augment", 0).tolist() == pytest.approx(UNIFORM, abs=1e-7)


def test_seeds_tell_their_parts_apart() -> None:
    parts = [
        (),
        (1,),
        ("1",),
        (1, 1),
        (11,),
        ("1", 1),
        (1, "1"),
        (0, "order", 1),
        (1, "order", 0),
        ("order", 1),
        ("ord", "er", 1),
    ]
    assert len({seeds.derive(*each) for each in parts}) == len(parts)


def test_seeds_fill_63_bits() -> None:
    found = [seeds.derive(index, "x") for index in range(2000)]
    assert all(0 <= seed < 1 << 63 for seed in found)
    assert len(set(found)) == len(found)
    for bit in range(63):
        assert 850 < sum(seed >> bit & 1 for seed in found) < 1150


def test_generators_are_fresh_and_leave_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    first, second = (torch.randn(5, generator=seeds.generator(3, "noise", 1)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.randn(5, generator=seeds.generator(3, "noise", 2)))
    seeds.permutation(10, 1)
    seeds.uniform(torch.arange(4), 1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("length", [0, 1, 2, 97])
def test_a_permutation_holds_everything_once(length: int) -> None:
    order = seeds.permutation(length, 4, "order", 2)
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(length))


def test_permutations_differ_and_each_place_is_fair() -> None:
    orders = torch.stack([seeds.permutation(5, 0, "order", epoch) for epoch in range(2000)])
    counts = torch.stack([torch.bincount(orders[:, place], minlength=5) for place in range(5)])
    assert (counts - 400).abs().max() < 5 * (2000 * 0.2 * 0.8) ** 0.5


def splitmix64(key: int, seed: int) -> float:
    """The same generator in unbounded integers."""
    mask = (1 << 64) - 1
    value = (key * 0x9E3779B97F4A7C15 + seed) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    value ^= value >> 31
    return (value >> 40) / (1 << 24)


def test_uniform_is_splitmix64() -> None:
    keys = [0, 1, 2, 12345, 2**31, 2**62, -1]
    found = seeds.uniform(torch.tensor(keys), 5, "crop", 3)
    assert found.dtype == torch.float32
    assert found.tolist() == [splitmix64(key, seeds.derive(5, "crop", 3)) for key in keys]


def test_uniform_does_not_depend_on_the_batch() -> None:
    keys = torch.arange(200)
    whole = seeds.uniform(keys, 0, "augment", 4)
    order = seeds.permutation(200, 9)
    assert torch.equal(torch.cat([seeds.uniform(part, 0, "augment", 4) for part in order.split(7)]), whole[order])
    assert torch.equal(seeds.uniform(keys.view(10, 20), 0, "augment", 4), whole.view(10, 20))
    assert torch.equal(seeds.uniform(keys.int(), 0, "augment", 4), whole)


@pytest.mark.parametrize("parts", [(0, "crop", 0), (0, "crop", 1), (1, "flip", 30)])
def test_uniform_is_uniform(parts: tuple) -> None:
    count, bins = 64_000, 64
    found = seeds.uniform(torch.arange(count), *parts).double()
    assert found.min() >= 0
    assert found.max() < 1
    observed = torch.bincount((found * bins).long(), minlength=bins)
    expected = count / bins
    chi_square = ((observed - expected) ** 2 / expected).sum().item()
    assert 25 < chi_square < 115  # 63 degrees of freedom: 63 +- 11
    assert abs(found.mean().item() - 0.5) < 5 / (12 * count) ** 0.5


def test_neighbouring_clips_epochs_and_purposes_are_independent() -> None:
    keys = torch.arange(20_000)
    base = seeds.uniform(keys, 0, "crop", 0)
    others = [seeds.uniform(keys, *parts) for parts in ((0, "crop", 1), (1, "crop", 0), (0, "flip", 0))]
    for other in (base.roll(1), *others):
        assert abs(torch.corrcoef(torch.stack([base, other]))[0, 1].item()) < 5 / len(keys) ** 0.5
