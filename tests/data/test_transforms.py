from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from inforeg_cli.data.transforms import InputConfig, build_transform, mel_filters
from inforeg_cli.errors import Misuse

PARTS = (7, "augment", 3)


def transform(kind, shape, sequence=False, rate=8000, **options):
    """One that does not normalise, unless told to."""
    config = TypeAdapter(InputConfig).validate_python({"kind": kind, "normalise": "none", **options})
    settings = {"sample_rate": rate} if kind == "audio" else {}
    return build_transform(config, SimpleNamespace(kind=kind, shape=shape, sequence=sequence, settings=settings))


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batches(raw, sizes, lengths=None):
    split = [None] * len(sizes) if lengths is None else lengths.split(sizes)
    return list(zip(raw.split(sizes), split, strict=True))


# audio


def test_crema_d_of_the_papers_is_257_by_188():
    audio = transform("audio", (66_150,), rate=22_050, representation="log-spectrogram", n_fft=512, hop=353)
    assert audio.shape == (1, 257, 188)
    assert audio(torch.zeros(2, 66_150)).shape == (2, 1, 257, 188)


def test_the_spectrogram_is_the_log_magnitude_of_a_naive_transform():
    n_fft, hop, wave = 64, 23, noise(500).double().numpy()
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    padded = np.pad(wave, n_fft // 2, mode="reflect")
    frames = [padded[start : start + n_fft] * window for start in range(0, len(padded) - n_fft + 1, hop)]
    basis = np.exp(-2j * np.pi * np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) / n_fft)
    expected = np.log(np.abs(basis @ np.stack(frames, axis=1)) + 1e-7)
    audio = transform("audio", (500,), representation="log-spectrogram", n_fft=n_fft, hop=hop)
    assert audio.shape == (1, *expected.shape)
    np.testing.assert_allclose(audio(torch.from_numpy(wave)[None])[0, 0].numpy(), expected, atol=1e-3)


def test_log_mel_sums_magnitudes_in_triangles():
    mel = transform("audio", (2000,), n_fft=256, mels=20)
    linear = transform("audio", (2000,), n_fft=256, representation="log-spectrogram")
    wave = noise(2, 2000)
    expected = (mel_filters(129, 20, 8000) @ (linear(wave).exp() - 1e-7) + 1e-7).log()
    torch.testing.assert_close(mel(wave), expected)
    assert mel.shape == (1, 20, *linear.shape[2:])


def test_mel_filters_peak_at_frequencies_equally_spaced_in_mel():
    filters = mel_filters(4097, 10, 16_000)
    peaks = filters.argmax(dim=1).double() * 16_000 / 8192
    spacing = (2595 * torch.log10(1 + peaks / 700)).diff()
    assert filters.shape == (10, 4097)
    assert (spacing / spacing.mean() - 1).abs().max() < 0.01
    # Neighbouring triangles overlap to a constant between the first and the last peak.
    first, last = filters[0].argmax() + 1, filters[-1].argmax()
    torch.testing.assert_close(filters.sum(dim=0)[first:last], torch.ones(int(last - first)), atol=1e-5, rtol=0)


def test_int16_is_taken_as_full_scale():
    audio = transform("audio", (400,), representation="waveform")
    raw = torch.tensor([[-32768, 0, 16384] + [0] * 397], dtype=torch.int16)
    assert audio(raw)[0, :3].tolist() == [-1.0, 0.0, 0.5]
    spectrogram = transform("audio", (400,))
    torch.testing.assert_close(spectrogram(raw), spectrogram(raw.float() / 32768))


@pytest.mark.parametrize("rate", [1000, 8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_window_hop_and_mels_follow_the_sample_rate(rate):
    audio = transform("audio", (rate,), rate=rate)
    assert 0.02 < audio.n_fft / rate < 0.05 and audio.n_fft & (audio.n_fft - 1) == 0
    assert audio.hop == audio.n_fft // 3
    out = audio(noise(1, rate))
    assert out.shape[1:] == audio.shape and out.isfinite().all()


def test_silence_is_finite():
    assert transform("audio", (800,))(torch.zeros(1, 800)).isfinite().all()


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((100,), {"n_fft": 256}, "too large for clips of 100 samples"),
        ((800,), {"n_fft": 256, "mels": 120}, "choose fewer mels"),
        ((2, 800), {}, "waveforms"),
        (None, {}, "differ in shape"),
    ],
)
def test_audio_that_cannot_be_is_refused(shape, options, said):
    with pytest.raises(Misuse, match=said):
        transform("audio", shape, **options)


# images and video


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
    high, wide = (out[:, 0, 9, 8] - out[:, 0, 6, 8]) * 16 / 3, (out[:, 1, 8, 9] - out[:, 1, 8, 6]) * 16 / 3
    assert out[:, 0].min() >= 0.5 and out[:, 0].max() <= height - 0.5
    area, ratio = high * wide / (height * width), wide / high
    assert 0.19 < area.min() < 0.22 and 0.48 < area.max() < 0.51
    assert 0.74 < ratio.min() < 0.8 and 1.25 < ratio.max() < 1.35
    top = out[:, 0, 7:9, 8].mean(dim=1) - high / 2
    assert -0.1 < top.min() < 2 and (height - high - top).min() > -0.1
    assert (top / (height - high)).mean() == pytest.approx(0.5, abs=0.06)


def test_frames_of_a_clip_are_augmented_each_by_itself():
    video = transform("video", (6, 1, 8, 8), flip=True).train()
    out = video(noise(1, 1, 1, 8, 8).expand(4, 6, 1, 8, 8), keys=torch.arange(4), seed_parts=PARTS)
    assert any(not torch.equal(clip[0], frame) for clip in out for frame in clip)
    assert len({tuple(tuple(frame.flatten().tolist()) for frame in clip) for clip in out}) > 1


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


def test_clips_are_read_for_statistics_only_where_they_are_needed():
    def unread():
        yield pytest.fail("read")

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


# configuration


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "audio", "n_fft": 255},
        {"kind": "audio", "normalise": "imagenet"},
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
