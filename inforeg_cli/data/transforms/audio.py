"""Waveforms as pictures of time and frequency, or as they are."""

from math import log2, log10
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from inforeg_cli.data.transforms import kaldi
from inforeg_cli.data.transforms.base import Draw, Normalise, Transform
from inforeg_cli.errors import Misuse
from inforeg_cli.settings import Settings

#: The analysis window that n_fft is derived from: the power of two nearest to as many samples.
WINDOW_SECONDS = 0.032
MOST_MELS = 64
FBANK_MELS = 128


class Audio(Transform):
    """Waveforms ``[samples]`` -> log spectrograms ``[1, frequencies, frames]``, or waveforms.

    Magnitudes |S| of a short-time Fourier transform (periodic Hann window, centred frames, reflected at the ends),
    through HTK mel filters for ``log-mel``, then ``log(x + eps)``. int16 is taken as full scale 32768.
    OGM-GE's CREMA-D is ``log-spectrogram`` with n_fft 512 and hop 353 at 22,050 Hz: 257 x 188 for three seconds.

    ``fbank`` are Kaldi's log mel filter banks (see `kaldi`). OGM-GE's Kinetics-Sounds has 1,024 frames of them at
    16 kHz and ``normalise = [-4.503877, 10.282552]``.
    """

    ranks = (1,)
    takes = "waveforms [samples]"

    class Config(Settings):
        """n_fft: the power of two nearest to 32 ms; hop: a third of n_fft; mels: n_fft / 8, at most 64.

        For fbank, 25 ms every 10 ms are given, and mels are 128.
        frames: the time axis is cut to so many, or continued with zeros (before normalisation).
        """

        kind: Literal["audio"] = "audio"
        representation: Literal["log-mel", "log-spectrogram", "fbank", "waveform"] = "log-mel"
        n_fft: int | None = Field(None, ge=2, multiple_of=2)
        hop: PositiveInt | None = None
        mels: PositiveInt | None = None
        eps: PositiveFloat = 1e-7
        frames: PositiveInt | None = None
        normalise: Normalise = "train"

        @model_validator(mode="after")
        def _applies(self) -> "Audio.Config":
            if self.representation == "fbank" and (self.n_fft or self.hop):
                raise ValueError("n_fft and hop are not fbank's: its window is 25 ms long and moves by 10 ms")
            if self.representation == "waveform" and self.frames:
                raise ValueError("a waveform has no frames")
            return self

    def __init__(self, config: Config, modality: Any):
        (samples,) = modality.shape
        rate = modality.settings["sample_rate"]
        self.fbank = config.representation == "fbank"
        if self.fbank:
            window, hop = kaldi.window(rate), kaldi.shift(rate)
            n_fft = kaldi.padded(len(window))
            filters = kaldi.mel_filters(n_fft, config.mels or FBANK_MELS, rate)
            if samples < len(window):
                raise Misuse(f"fbank needs clips of 25 ms ({len(window)} samples) or more, and these have {samples}.")
            shape = (1, len(filters), 1 + (samples - len(window)) // hop)
        else:
            n_fft = config.n_fft or 2 ** max(4, round(log2(WINDOW_SECONDS * rate)))
            hop = config.hop or n_fft // 3 or 1
            bins, window, filters, shape = n_fft // 2 + 1, None, None, (samples,)
            if config.representation == "log-mel":
                bins = config.mels or max(1, min(MOST_MELS, n_fft // 8))
                filters = mel_filters(n_fft // 2 + 1, bins, rate)
            if config.representation != "waveform":
                if samples <= n_fft // 2:
                    raise Misuse(
                        f"n_fft = {n_fft} is too large for clips of {samples} samples: they must exceed its half."
                    )
                window, shape = torch.hann_window(n_fft), (1, bins, 1 + samples // hop)
        self.missing = config.frames - shape[-1] if config.frames else 0
        super().__init__((*shape[:-1], shape[-1] + self.missing), config.normalise, ())
        self.n_fft, self.hop, self.eps = n_fft, hop, config.eps
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def represent(self, raw: Tensor, draw: Draw | None = None, extent: Tensor | None = None) -> Tensor:
        wave = raw.float() / 32768 if raw.dtype == torch.int16 else raw.float()
        if self.window is None:
            return wave
        if self.fbank:
            bands = kaldi.log_mel(wave, self.window, self.hop, self.filters)
        else:
            magnitude = torch.stft(wave, self.n_fft, self.hop, window=self.window, return_complex=True).abs()
            bands = ((magnitude if self.filters is None else self.filters @ magnitude) + self.eps).log()
        return (F.pad(bands, (0, self.missing)) if self.missing else bands).unsqueeze(1)


def mel_filters(bins: int, mels: int, rate: int) -> Tensor:
    """Triangles of height 1, equally spaced on the HTK mel scale from 0 to rate / 2: float32 ``[mels, bins]``."""
    top = 2595 * log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, mels + 2, dtype=torch.float64) / 2595) - 1)
    frequencies = torch.linspace(0, rate / 2, bins, dtype=torch.float64)
    left, centre, right = (edges[start : mels + start, None] for start in range(3))
    rising, falling = (frequencies - left) / (centre - left), (right - frequencies) / (right - centre)
    filters = torch.minimum(rising, falling).clamp(min=0)
    if empty := int((filters.sum(dim=1) == 0).sum()):
        raise Misuse(f"{empty} of {mels} mel filters hold no frequency: choose fewer mels, or a larger n_fft.")
    return filters.float()
