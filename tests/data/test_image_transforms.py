import pytest
import torch
from transform_factory import PARTS, batches, noise, transform

from inforeg_cli.errors import Misuse


def test_uint8_is_divided_by_255_and_floats_are_taken_as_they_are():
    image = transform("image", (1, 2, 2))
    assert image(torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)).tolist() == [[[[1.0, 1.0], [1.0, 1.0]]]]
    assert torch.equal(image(torch.full((1, 1, 2, 2), 9.0)), torch.full((1, 1, 2, 2), 9.0))


def test_imagenet_normalisation():
    image = transform("image", (3, 4, 4), normalise="imagenet")
    means = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    assert torch.equal(image(means), torch.zeros(2, 3, 4, 4))
    torch.testing.assert_close(image(means + 0.225)[0, 2], torch.ones(4, 4))
    image.fit(batches(noise(4, 3, 4, 4), [4]))
    assert torch.equal(image(means), torch.zeros(2, 3, 4, 4))
    with pytest.raises(Misuse, match="three channels"):
        transform("image", (1, 4, 4), normalise="imagenet")


def test_autocast_does_not_reach_the_data():
    image, raw = transform("image", (3, 12, 9), size=7), noise(2, 3, 12, 9)
    with torch.autocast("cpu", torch.bfloat16):
        out = image(raw)
    assert torch.equal(out, image(raw)) and out.dtype == torch.float32


def test_resizing_takes_the_whole_image():
    image = transform("image", (1, 12, 8), size=4)
    ramp = torch.arange(8.0).expand(1, 1, 12, 8)
    assert image.shape == (1, 4, 4)
    torch.testing.assert_close(image(ramp)[0, 0, 1], torch.tensor([0.5, 2.5, 4.5, 6.5]), atol=0.3, rtol=0)


@pytest.mark.parametrize(("kind", "shape"), [("image", (3, 9, 12)), ("video", (4, 3, 9, 12))])
def test_augmentation_is_a_function_of_seed_and_clip_alone(kind, shape):
    augmenting = transform(kind, shape, crop=True, flip=True, size=8).train()
    raw, keys = noise(6, *shape), torch.tensor([5, 17, 2, 900, 31, 8])
    whole = augmenting(raw, keys=keys, seed_parts=PARTS)
    order = torch.tensor([4, 0, 3, 2, 5, 1])
    parts = [augmenting(raw[part], keys=keys[part], seed_parts=PARTS) for part in order.split([1, 3, 2])]
    assert torch.equal(torch.cat(parts), whole[order])
    assert not torch.equal(augmenting(raw, keys=keys, seed_parts=(8, "augment", 3)), whole)
    assert not torch.equal(augmenting(raw, keys=keys + 1, seed_parts=PARTS), whole)
    assert whole.shape[1:] == augmenting.shape


def test_nothing_is_random_in_evaluation_or_without_augmentation():
    augmenting, plain = transform("image", (1, 8, 8), crop=True, flip=True), transform("image", (1, 8, 8))
    raw = noise(2, 1, 8, 8)
    assert augmenting.random and not plain.random
    assert torch.equal(augmenting.eval()(raw), raw)
    assert torch.equal(plain.train()(raw), raw)
    with pytest.raises(ValueError, match="keys"):
        augmenting.train()(raw)


def test_about_half_of_the_clips_are_mirrored_and_the_rest_left_exactly():
    flipping = transform("image", (1, 3, 4), flip=True).train()
    raw = noise(1, 1, 3, 4).expand(200, 1, 3, 4)
    out = flipping(raw, keys=torch.arange(200), seed_parts=PARTS)
    mirrored = (out == raw.flip(-1)).all(dim=(1, 2, 3))
    assert ((out == raw).all(dim=(1, 2, 3)) | mirrored).all()
    assert 70 < mirrored.sum() < 130


def test_a_crop_is_an_undistorted_part_of_the_image_within_its_scale():
    height, width, count = 40, 60, 300
    cropping = transform("image", (2, height, width), crop=True, crop_scale=(0.2, 0.5), size=16).train()
    rows = (torch.arange(height) + 0.5)[:, None].expand(height, width)
    columns = (torch.arange(width) + 0.5).expand(height, width)
    raw = torch.stack([rows, columns]).expand(count, 2, height, width)
    out = cropping(raw, keys=torch.arange(count), seed_parts=PARTS)
    # Each pixel now says where it was taken from: the crop's sides follow from two pixels away from the border.
    high, wide = (out[:, 0, 14, 8] - out[:, 0, 1, 8]) * 16 / 13, (out[:, 1, 8, 14] - out[:, 1, 8, 1]) * 16 / 13
    assert out[:, 0].min() >= 0.5 and out[:, 0].max() <= height - 0.5
    area, ratio = high * wide / (height * width), wide / high
    assert 0.19 < area.min() < 0.22 and 0.48 < area.max() < 0.51
    assert 0.72 < ratio.min() < 0.8 and 1.25 < ratio.max() < 1.39  # sides are of whole pixels
    top = out[:, 0, 7:9, 8].mean(dim=1) - high / 2
    assert -0.1 < top.min() < 2 and (height - high - top).min() > -0.1
    assert (top / (height - high)).mean() == pytest.approx(0.5, abs=0.06)


def test_frames_of_a_clip_are_augmented_each_by_itself():
    video = transform("video", (6, 1, 8, 8), flip=True).train()
    out = video(noise(1, 1, 1, 8, 8).expand(4, 6, 1, 8, 8), keys=torch.arange(4), seed_parts=PARTS)
    assert any(not torch.equal(clip[0], frame) for clip in out for frame in clip)
    assert len({tuple(tuple(frame.flatten().tolist()) for frame in clip) for clip in out}) > 1
