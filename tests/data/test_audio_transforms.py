import numpy as np
import pytest
import torch
from transform_factory import noise, transform

from inforeg_cli.data.transforms import mel_filters
from inforeg_cli.errors import Misuse


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


@pytest.mark.parametrize("representation", ["log-mel", "log-spectrogram", "fbank"])
def test_the_time_axis_is_cut_or_continued_with_zeros(representation):
    raw = noise(2, 800)
    plain = transform("audio", (800,), representation=representation, mels=20)
    for frames in (3, 30):
        fixed = transform("audio", (800,), representation=representation, mels=20, frames=frames)
        out, kept = fixed(raw), min(frames, plain.shape[-1])
        assert out.shape[1:] == fixed.shape == (*plain.shape[:2], frames)
        assert torch.equal(out[..., :kept], plain(raw)[..., :kept]) and (out[..., kept:] == 0).all()
