"""Damage to waveforms ``[B, samples]``: noise, gaps, and a narrower band."""

import torch
from torch import Tensor

from inforeg_cli.data.transforms.damage import At
from inforeg_cli.data.transforms.damage.chance import Chance, least, normal, share_of

#: A clip is lost in so many equal stretches of time.
STRETCHES = 20


def noise(raw: Tensor, extent: None, chance: Chance) -> At:
    """White Gaussian noise at a signal-to-noise ratio in dB, by the power of the clip itself over its whole length.

    The sum is not clipped, so that the ratio is what it says; silence stays silent.
    """
    wave = _waveform(raw)
    scaled = normal(chance.numbers("noise", wave.shape[1])) * wave.square().mean(dim=1, keepdim=True).sqrt()
    return lambda decibels: (wave + scaled * 10 ** (-decibels / 20), None)


def dropped(raw: Tensor, extent: None, chance: Chance) -> At:
    """Silence in a share of the time: in so many of the clip's twenty equal stretches."""
    samples = raw.shape[1]
    stretch = torch.arange(samples, device=raw.device) * STRETCHES // samples
    numbers = chance.numbers("dropped", STRETCHES)
    counts = torch.full_like(chance.keys, STRETCHES)
    return lambda share: (raw.masked_fill(least(numbers, share_of(share, counts))[:, stretch], 0), None)


def low_pass(raw: Tensor, extent: None, chance: Chance) -> At:
    """Nothing above a cut-off frequency, given as a fraction of half the sample rate: an ideal filter.

    The result is as long in bits as the recording: what is left above the cut-off is the noise of rounding, as in any
    recording of a narrow band, and not the bottomless silence that no microphone has.
    """
    wave = raw.float()
    spectrum = torch.fft.rfft(wave)
    frequency = torch.linspace(0, 1, spectrum.shape[1], device=wave.device)

    def at(fraction: float) -> tuple[Tensor, None]:
        # What is above is taken away, so that taking nothing away leaves every bit as it was.
        left = wave - torch.fft.irfft(spectrum * (frequency > fraction), n=wave.shape[1])
        return (left.round().clamp(-32768, 32767).to(raw.dtype) if raw.dtype == torch.int16 else left), None

    return at


def _waveform(raw: Tensor) -> Tensor:
    """As `Audio` scales it, which leaves floats as they are."""
    return raw.float() / 32768 if raw.dtype == torch.int16 else raw.float()
