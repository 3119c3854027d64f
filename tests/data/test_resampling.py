import pytest
import torch
import torch.nn.functional as F

from inforeg_cli.data.transforms.resampling import Span, resample, weights


def noise(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def full(number, count=4):
    return torch.full((count,), float(number))


def interpolated(x, size):
    return F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)


@pytest.mark.parametrize("size", [(7, 9), (16, 16), (40, 13), (224, 224), (1, 1), (31, 47)])
@pytest.mark.parametrize("stored", [(31, 47), (64, 20), (5, 5), (300, 341)])
def test_a_whole_image_is_what_interpolate_makes_of_it(stored, size):
    x = noise(4, 3, *stored)
    whole = resample(x, Span.whole(full(stored[0])), Span.whole(full(stored[1])), size)
    torch.testing.assert_close(whole, interpolated(x, size), atol=1e-5, rtol=0)


def test_images_of_different_sizes_on_one_canvas_are_as_each_alone():
    sizes = [(20, 33), (31, 12), (8, 8), (31, 33)]
    images = [noise(1, 3, *size) for size in sizes]
    canvas = torch.full((4, 3, 31, 33), 99.0)  # what stands beside an image has no part in it
    for place, image in zip(canvas, images, strict=True):
        place[:, : image.shape[2], : image.shape[3]] = image[0]
    ends = torch.tensor(sizes, dtype=torch.float32)
    found = resample(canvas, Span.whole(ends[:, 0]), Span.whole(ends[:, 1]), (16, 24))
    expected = torch.cat([interpolated(image, (16, 24)) for image in images])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_box_inside_is_the_same_part_of_the_image_interpolated():
    """Away from the box's own border, where the filter sees what stands beside it."""
    x = noise(4, 2, 40, 60)
    found = resample(x, Span(full(8), full(24), full(40)), Span(full(12), full(36), full(60)), (12, 18))
    expected = interpolated(x[..., 8:32, 12:48], (12, 18))
    torch.testing.assert_close(found[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-5, rtol=0)
    assert not torch.allclose(found, expected, atol=1e-3)


def test_each_image_has_its_own_box_mirrored_or_not():
    x, mirrored = noise(3, 1, 20, 20), torch.tensor([True, False, True])
    down = Span(torch.tensor([0.0, 3.5, 9.0]), torch.tensor([20.0, 11.25, 5.0]), full(20, 3))
    across = Span(torch.tensor([2.0, 0.0, 7.75]), torch.tensor([8.0, 20.0, 12.0]), full(20, 3))
    together = resample(x, down, across, (6, 7), mirrored)
    for row in range(3):
        own = slice(row, row + 1)
        alone = resample(x[own], Span(*(part[own] for part in down)), Span(*(part[own] for part in across)), (6, 7))
        torch.testing.assert_close(together[own], alone.flip(-1) if mirrored[row] else alone, atol=1e-6, rtol=0)


def test_without_a_change_of_size_every_bit_stays():
    x = noise(4, 3, 9, 13)
    assert torch.equal(resample(x, Span.whole(full(9)), Span.whole(full(13)), (9, 13)), x)


def test_weights_are_means_within_the_image():
    part = Span.part(torch.tensor([0.3, 6.0, 50.0]), torch.tensor([1.0, 0.5, 0.0]), torch.tensor([10.0, 9.0, 8.0]))
    assert part.length.tolist() == pytest.approx([0.3, 6.0, 8.0])  # a part is at most the whole
    assert part.start.tolist() == pytest.approx([9.7, 1.5, 0.0])
    found = weights(part, 12, 4)
    assert found.shape == (3, 4, 12) and (found >= 0).all()
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(3, 4))
    assert (found[0, :, 10:] == 0).all() and (found[1, :, 9:] == 0).all() and (found[2, :, 8:] == 0).all()
