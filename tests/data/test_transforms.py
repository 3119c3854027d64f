"""What all transforms share: statistics, configuration; and those of features and text."""

from types import SimpleNamespace

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from transform_factory import batches, noise, transform

from inforeg_cli.data.transforms import Audio, InputConfig, build_transform
from inforeg_cli.errors import Misuse

# features


def test_padding_stays_zero_and_has_no_part_in_the_statistics():
    features = transform("features", (4, 2), sequence=True, normalise="train")
    raw, lengths = noise(3, 4, 2) + 5, torch.tensor([4, 2, 0])
    features.fit([(raw, lengths)])
    valid = torch.cat([raw[0], raw[1, :2]])
    torch.testing.assert_close(features.mean, valid.mean(dim=0))
    torch.testing.assert_close(features.std, valid.std(dim=0, correction=0))
    spoilt = raw.clone()
    spoilt[1, 2:] = torch.nan
    out = features(spoilt, lengths)
    assert (out[1, 2:] == 0).all() and (out[2] == 0).all()
    torch.testing.assert_close(out[0], (raw[0] - valid.mean(dim=0)) / valid.std(dim=0, correction=0))


def test_raw_clips_are_never_written_to():
    features = transform("features", (4, 2), sequence=True)
    raw = torch.ones(1, 4, 2)
    assert features(raw, torch.tensor([2])).sum() == 4
    assert raw.sum() == 8


# text


def test_text_is_ids_and_zeros_past_its_end():
    config = TypeAdapter(InputConfig).validate_python({"kind": "text"})
    text = build_transform(config, SimpleNamespace(kind="text", shape=(4,), sequence=True, settings={}))
    raw = torch.tensor([[5, 1, 7, 9], [2, 3, 4, 5], [1, 1, 1, 1]], dtype=torch.int32)
    out = text(raw, torch.tensor([4, 2, 0]))
    assert out.tolist() == [[5, 1, 7, 9], [2, 3, 0, 0], [0, 0, 0, 0]] and out.dtype == torch.int64
    assert text.shape == (4,) and not text.random and not text.state_dict()
    text.fit(unread())


# statistics


@pytest.mark.parametrize(
    ("kind", "shape", "over"),
    [
        ("audio", (600,), None),
        ("image", (3, 5, 4), (0, 2, 3)),
        ("video", (2, 3, 5, 4), (0, 1, 3, 4)),
        ("features", (6,), 0),
    ],
)
def test_statistics_are_exact_for_any_partition_into_batches(kind, shape, over):
    raw = noise(40, *shape) * 0.01 + 100
    represented = transform(kind, shape)(raw).double()
    std, mean = torch.std_mean(represented, dim=over, correction=0)
    for sizes in ([40], [1] * 40, [7, 32, 1]):
        fitted = transform(kind, shape, normalise="train")
        fitted.fit(batches(raw, sizes))
        torch.testing.assert_close(fitted.mean.flatten().double(), mean.flatten(), rtol=1e-6, atol=0)
        torch.testing.assert_close(fitted.std.flatten().double(), std.flatten(), rtol=1e-6, atol=0)
    out = fitted(raw)
    assert out.shape == (40, *fitted.shape) and out.dtype == torch.float32
    assert abs(float(out.mean())) < 0.01 and abs(float(out.std()) - 1) < 0.01


def test_what_does_not_vary_is_centred_only():
    features = transform("features", (2,), normalise="train")
    constant = torch.full((1000,), 0.3)
    constant[::2] = torch.nextafter(constant[::2], torch.tensor(1.0))  # but for its last bit
    raw = torch.stack([constant, noise(1000)], dim=1)
    features.fit(batches(raw, [333, 667]))
    assert features.std[0] == 1
    assert features(raw)[:, 0].abs().max() < 1e-7


def test_a_forgotten_fit_shows_and_a_fitted_state_is_carried_over():
    fresh, fitted = (transform("features", (3,), normalise="train") for _ in range(2))
    raw = noise(9, 3)
    assert fresh(raw).isnan().all()
    fitted.fit([(raw, None)])
    fresh.load_state_dict(fitted.state_dict())
    assert torch.equal(fresh(raw), fitted(raw))
    assert set(transform("audio", (800,), normalise="train").state_dict()) == {"mean", "std"}


def unread():
    yield pytest.fail("read")


def test_clips_are_read_for_statistics_only_where_they_are_needed():
    transform("features", (3,)).fit(unread())
    with pytest.raises(Misuse, match="there is none"):
        transform("features", (3,), normalise="train").fit([])


def test_statistics_are_of_the_image_as_it_is_evaluated():
    augmenting = transform("image", (1, 8, 8), normalise="train", crop=True, flip=True, size=4).train()
    plain = transform("image", (1, 8, 8), normalise="train", size=4)
    for each in (augmenting, plain):
        each.fit(batches(noise(5, 1, 8, 8), [5]))
    assert torch.equal(augmenting.mean, plain.mean) and torch.equal(augmenting.std, plain.std)


def test_no_gradient_passes():
    raw = noise(2, 3, 4, 4).requires_grad_()
    assert not transform("image", (3, 4, 4), normalise="imagenet")(raw).requires_grad


def test_fixed_numbers_need_no_statistics():
    for given in ((-4.5, 10.0), [-4.5, 10]):
        audio = transform("audio", (800,), representation="waveform", normalise=given)
        audio.fit(unread())
        raw = noise(3, 800)
        torch.testing.assert_close(audio(raw), (raw + 4.5) / 10)
    dumped = Audio.Config(normalise=[-4.5, 10]).model_dump(mode="json")
    assert dumped["normalise"] == [-4.5, 10.0] and Audio.Config.model_validate(dumped).normalise == (-4.5, 10.0)


# configuration


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "audio", "n_fft": 255},
        {"kind": "audio", "normalise": "imagenet"},
        {"kind": "audio", "normalise": [0.0, 0.0]},
        {"kind": "audio", "normalise": [1.0]},
        {"kind": "audio", "normalise": [True, 1.0]},
        {"kind": "audio", "normalise": [float("nan"), 1.0]},
        {"kind": "audio", "representation": "fbank", "n_fft": 512},
        {"kind": "audio", "representation": "waveform", "frames": 9},
        {"kind": "motion", "normalise": "imagenet"},
        {"kind": "video", "sampling": "first"},
        {"kind": "video", "frames": 0},
        {"kind": "text", "normalise": "train"},
        {"kind": "image", "crop_scale": [0.5, 0.2]},
        {"kind": "image", "crop_scale": [0.5, 1.2]},
        {"kind": "features", "flip": True},
        {"kind": "smell"},
    ],
)
def test_impossible_configurations_are_refused(options):
    with pytest.raises(ValidationError):
        TypeAdapter(InputConfig).validate_python(options)


def test_inputs_of_another_kind_or_shape_are_refused():
    config = TypeAdapter(InputConfig).validate_python({"kind": "image"})
    for kind, shape in (("features", (3,)), ("image", (8, 8))):
        with pytest.raises(Misuse, match="kind 'image'"):
            build_transform(config, SimpleNamespace(kind=kind, shape=shape, sequence=False, settings={}))
