"""The count-sketch: linear, fixed by its generator, and right about inner products on average and within its error."""

import math

import pytest
import torch

from inforeg_cli.numerics.sketch import COLUMNS, CountSketch, cosines


def sketch_of(length: int, seed: int = 0, columns: int = 64) -> CountSketch:
    return CountSketch(length, torch.Generator().manual_seed(seed), columns)


def vectors(count: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, length, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("length", [1, 63, 64, 65, 1000])
def test_is_linear(length):
    sketch, (a, b) = sketch_of(length), vectors(2, length)
    torch.testing.assert_close(sketch(2 * a - 3 * b), 2 * sketch(a) - 3 * sketch(b), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [1, 63, 64])
def test_no_longer_than_the_sketch_is_exact(length):
    sketch, (a, b) = sketch_of(length), vectors(2, length)
    assert float(sketch(a) @ sketch(b)) == pytest.approx(float(a @ b), rel=1e-5)


def test_every_entry_counts_once_with_a_sign():
    sketch = sketch_of(1000)
    images = torch.stack([sketch(unit) for unit in torch.eye(1000)])
    assert torch.equal(images.abs().sum(dim=1), torch.ones(1000))
    assert 400 < int((images.sum(dim=1) > 0).sum()) < 600


def test_the_same_generator_makes_the_same_map_and_another_one_another():
    (a,) = vectors(1, 500)
    assert torch.equal(sketch_of(500)(a), sketch_of(500)(a))
    assert not torch.equal(sketch_of(500)(a), sketch_of(500, seed=1)(a))


@pytest.mark.parametrize("kind", ["dense", "every 64th entry"])
def test_inner_products_are_unbiased_and_vary_as_stated(kind):
    """Over many maps; also where all the weight stands in entries that would share a column, were rows not turned."""
    a, b = vectors(2, 6400)
    if kind != "dense":
        mask = torch.arange(6400) % 64 == 0
        a, b = a * mask, b * mask
    exact = float(a @ b)
    bound = math.sqrt((float(a @ a) * float(b @ b) + exact**2) / 64)
    found = torch.tensor([float(sketch(a) @ sketch(b)) for sketch in (sketch_of(6400, seed) for seed in range(300))])
    assert abs(float(found.mean()) - exact) < 4 * bound / math.sqrt(300)
    assert 0.7 * bound < float(found.std()) < 1.2 * bound


def test_cosines_of_many_at_once():
    a = vectors(5, 40)
    found = cosines(a)
    torch.testing.assert_close(found, torch.nn.functional.cosine_similarity(a[:, None], a[None], dim=-1))
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(cosines(a[order]), found[order][:, order])
    torch.testing.assert_close(cosines(torch.stack([a, 7 * a]))[1], found)


def test_a_zero_vector_has_no_direction():
    found = cosines(torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]]))
    assert found[1].isnan().all()
    assert found[0, 2] == 0


def test_as_long_as_the_recording_says():
    assert len(sketch_of(9000, columns=COLUMNS)(torch.ones(9000))) == 4096
