"""The filter banks are those of Kaldi, as torchaudio has them one waveform at a time."""

from math import pi
from types import SimpleNamespace

import pytest
import torch

from inforeg_cli.data.transforms import Audio, build_transform
from inforeg_cli.errors import Misuse


def fbank(samples, rate, **options):
    config = Audio.Config(**{"representation": "fbank", "normalise": "none", **options})
    return build_transform(
        config, SimpleNamespace(kind="audio", shape=(samples,), sequence=False, settings={"sample_rate": rate})
    )


def reference(wave, rate, mels):
    from torchaudio.compliance import kaldi

    return kaldi.fbank(
        wave[None], htk_compat=True, sample_frequency=rate, use_energy=False, window_type="hanning",
        num_mel_bins=mels, dither=0.0, frame_shift=10,
    ).T  # fmt: skip


def noises(count, samples):
    return (
        torch.randn(count, samples, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 0, count)[:, None]
    )


@pytest.mark.parametrize(("rate", "mels"), [(16_000, 128), (16_000, 23), (22_050, 64), (8000, 40), (44_100, 128)])
def test_equals_torchaudio_on_noise_and_silence(rate, mels):
    waves = torch.cat([noises(4, rate // 2), torch.zeros(1, rate // 2)])
    audio = fbank(rate // 2, rate, mels=mels)
    out = audio(waves)
    assert out.shape[1:] == audio.shape
    for wave, found in zip(waves, out, strict=True):
        torch.testing.assert_close(found[0], reference(wave, rate, mels), atol=5e-4, rtol=0)


@pytest.mark.parametrize("hertz", [300, 1000, 5000])
def test_equals_torchaudio_on_tones(hertz):
    """Where a tone leaves next to nothing, both are rounding of 32-bit numbers: those cells are compared as energies."""
    wave = 0.5 * torch.sin(2 * pi * hertz * torch.arange(16_000) / 16_000)
    found, expected = fbank(16_000, 16_000)(wave[None])[0, 0], reference(wave, 16_000, 128)
    loud = expected > expected.max() - 14  # 60 dB
    torch.testing.assert_close(found[loud], expected[loud], atol=1e-4, rtol=0)
    torch.testing.assert_close(found.exp(), expected.exp(), atol=1e-5 * float(expected.exp().max()), rtol=0)
    assert float((found - expected).abs().mean()) < 1e-4


def test_a_mean_taken_off_the_waveform_makes_no_difference():
    waves = noises(3, 8000)
    shifted = fbank(8000, 16_000)(waves + 0.25)
    torch.testing.assert_close(shifted, fbank(8000, 16_000)(waves + 0.25 - 0.25), atol=2e-2, rtol=0)


def test_kinetics_sounds_is_128_by_1024():
    audio = fbank(160_000, 16_000, frames=1024, normalise=[-4.503877, 10.282552])
    assert audio.shape == (1, 128, 1024)
    wave = noises(1, 160_000)
    out, expected = audio(wave)[0, 0], (reference(wave[0], 16_000, 128) + 4.503877) / (2 * 5.141276)
    torch.testing.assert_close(out[:, :998], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(out[:, 998:], torch.full((128, 26), 4.503877 / 10.282552))


def test_clips_shorter_than_a_window_are_refused():
    with pytest.raises(Misuse, match=r"25 ms \(400 samples\) or more, and these have 399"):
        fbank(399, 16_000)
    assert fbank(400, 16_000).shape == (1, 128, 1)
