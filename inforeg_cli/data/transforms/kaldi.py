"""Kaldi's log mel filter banks (compute-fbank-feats) of whole batches: power spectra, no dither, edges snipped.

As the audio-visual literature calls them: Hann windows of 25 ms every 10 ms, pre-emphasis 0.97, filters from 20 Hz.
"""

import torch
from torch import Tensor

PRE_EMPHASIS = 0.97
LOWEST_HERTZ = 20
#: Below it, an energy counts as this much: the float's own epsilon.
FLOOR = torch.finfo(torch.float32).eps


def window(rate: int) -> Tensor:
    """The symmetric Hann window of 25 ms at `rate` Hz."""
    return torch.hann_window(rate * 25 // 1000, periodic=False)


def shift(rate: int) -> int:
    """Samples from one window to the next: 10 ms."""
    return rate * 10 // 1000


def padded(samples: int) -> int:
    """The power of two that a window is padded to."""
    return 1 << (samples - 1).bit_length()


def mel_filters(n_fft: int, mels: int, rate: int) -> Tensor:
    """Triangles in mel, ``1127 ln(1 + f / 700)``, over the frequencies of a Fourier transform: ``[mels, n_fft / 2 + 1]``.

    Unlike HTK's they are straight in mel, not in Hertz, and the highest frequency has no part. Low filters may be
    narrower than the frequencies are apart: those hold nothing and stay at the floor.
    """

    def mel(hertz: Tensor) -> Tensor:
        return 1127 * torch.log1p(hertz / 700)

    lowest, highest = mel(torch.tensor([LOWEST_HERTZ, rate / 2], dtype=torch.float64))
    step = (highest - lowest) / (mels + 1)
    left = lowest + step * torch.arange(mels, dtype=torch.float64)[:, None]
    here = mel(torch.arange(n_fft // 2, dtype=torch.float64) * rate / n_fft)
    rising = (here - left) / step
    filters = torch.minimum(rising, 2 - rising).clamp(min=0)
    return torch.nn.functional.pad(filters, (0, 1)).float()


def log_mel(wave: Tensor, window: Tensor, shift: int, filters: Tensor) -> Tensor:
    """Waveforms ``[B, samples]`` -> ``[B, mels, frames]``.

    Each frame loses its mean, so that one taken off the waveform before, as some do, makes no difference.
    """
    frames = wave.unfold(-1, len(window), shift)
    frames = frames - frames.mean(dim=-1, keepdim=True)
    before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
    spectrum = torch.fft.rfft((frames - PRE_EMPHASIS * before) * window, n=2 * filters.shape[1] - 2)
    return (filters @ spectrum.abs().square().transpose(-1, -2)).clamp(min=FLOOR).log()
