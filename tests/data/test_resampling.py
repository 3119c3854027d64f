import pytest
import torch
import torch.nn.functional as F

from inforeg_cli.data.transforms.resampling import Span, by_products, resample, weights

#: Both ways of doing it, of which each device takes one.
WAYS = pytest.mark.parametrize("way", [resample, by_products])


def noise(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def full(number, count=4):
    return torch.full((count,), float(number))


def interpolated(x, size):
    return F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)


@WAYS
@pytest.mark.parametrize("size", [(7, 9), (16, 16), (40, 13), (224, 224), (1, 1), (31, 47)])
@pytest.mark.parametrize("stored", [(31, 47), (64, 20), (5, 5), (300, 341)])
def test_a_whole_image_is_what_interpolate_makes_of_it(stored, size, way):
    x = noise(4, 3, *stored)
    whole = way(x, Span.whole(full(stored[0])), Span.whole(full(stored[1])), size)
    torch.testing.assert_close(whole, interpolated(x, size), atol=1e-5, rtol=0)


@WAYS
def test_images_of_different_sizes_on_one_canvas_are_as_each_alone(way):
    sizes = [(20, 33), (31, 12), (8, 8), (31, 33)]
    images = [noise(1, 3, *size) for size in sizes]
    canvas = torch.full((4, 3, 31, 33), 99.0)  # what stands beside an image has no part in it
    for place, image in zip(canvas, images, strict=True):
        place[:, : image.shape[2], : image.shape[3]] = image[0]
    ends = torch.tensor(sizes, dtype=torch.float32)
    found = way(canvas, Span.whole(ends[:, 0]), Span.whole(ends[:, 1]), (16, 24))
    expected = torch.cat([interpolated(image, (16, 24)) for image in images])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@WAYS
def test_a_box_is_interpolated_as_if_nothing_stood_beside_it(way):
    x = noise(4, 2, 40, 60)
    found = way(x, Span(full(8), full(24)), Span(full(12), full(36)), (12, 18))
    torch.testing.assert_close(found, interpolated(x[..., 8:32, 12:48], (12, 18)), atol=1e-5, rtol=0)


@WAYS
def test_each_image_has_its_own_box_mirrored_or_not(way):
    x, mirrored = noise(3, 1, 20, 20), torch.tensor([True, False, True])
    down = Span(torch.tensor([0.0, 3.0, 9.0]), torch.tensor([20.0, 11.0, 5.0]))
    across = Span(torch.tensor([2.0, 0.0, 7.0]), torch.tensor([8.0, 20.0, 12.0]))
    together = way(x, down, across, (6, 7), mirrored)
    boxes = [x[:1, :, :20, 2:10].flip(-1), x[1:2, :, 3:14, :20], x[2:, :, 9:14, 7:19].flip(-1)]
    expected = torch.cat([interpolated(box, (6, 7)) for box in boxes])
    torch.testing.assert_close(together, expected, atol=1e-5, rtol=0)


@WAYS
def test_without_a_change_of_size_every_bit_stays(way):
    x = noise(4, 3, 9, 13)
    assert torch.equal(way(x, Span.whole(full(9)), Span.whole(full(13)), (9, 13)), x)
    box = way(x, Span(full(2), full(6)), Span(full(5), full(7)), (6, 7))
    assert torch.equal(box, x[..., 2:8, 5:12])


def test_a_part_is_of_whole_pixels_anywhere_within_the_image():
    length, place = torch.tensor([2.6, 0.2, 50.0]), torch.tensor([1.0, 0.5, 0.7])
    part = Span.part(length, place, torch.tensor([10.0, 9.0, 8.0]))
    assert part.length.tolist() == [3, 1, 8]
    assert part.start.tolist() == [7, 4, 0]
    places = torch.arange(0, 1, 1 / 512)
    starts = Span.part(torch.full_like(places, 5), places, torch.full_like(places, 8)).start
    assert starts.unique(return_counts=True)[1].tolist() == [128] * 4  # each of the four equally likely


def test_weights_are_means_within_the_box():
    found = weights(Span(torch.tensor([3.0, 0.0, 7.0]), torch.tensor([6.0, 12.0, 1.0])), 12, 4)
    assert found.shape == (3, 4, 12) and (found >= 0).all()
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(3, 4))
    assert (found[0, :, :3] == 0).all() and (found[0, :, 9:] == 0).all() and (found[2, :, 7] == 1).all()
