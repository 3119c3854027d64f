"""From what the store holds to what an encoder receives: batched, on the device, without gradients.

Statistics for normalisation are those of train clips alone, kept as buffers and so saved with the model. Augmentation
is a function of (seed, epoch, clip): neither the other clips of a batch nor the device change it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from math import log, log2, log10
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt, field_validator
from torch import Tensor, nn

from inforeg_cli.errors import Misuse
from inforeg_cli.seeds import uniform
from inforeg_cli.settings import Settings

#: Mean and standard deviation of red, green and blue over ImageNet, for values from 0 to 1.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: The analysis window that n_fft is derived from: the power of two nearest to as many samples.
WINDOW_SECONDS = 0.032
MOST_MELS = 64
#: A random crop is at most this many times wider than high, or higher than wide.
CROP_RATIO = 4 / 3

#: ``draw(name, count)``: that many numbers in [0, 1) for each clip, ``[B, count]``.
Draw = Callable[[str, int], Tensor]


def build_transform(config: "InputConfig", modality: Any) -> "Transform":
    """The transform of a store's modality. Raises Misuse where the configuration does not suit it."""
    if config.kind != modality.kind:
        raise Misuse(f"Inputs of kind {config.kind!r} are configured for a modality of kind {modality.kind!r}.")
    transform = _TRANSFORMS[config.kind]
    if modality.shape is None:
        raise Misuse(
            f"These clips of kind {config.kind!r} differ in shape: prepare them with one shape, or one length."
        )
    if len(modality.shape) not in transform.ranks:
        raise Misuse(f"The kind {config.kind!r} takes {transform.takes}, not clips of shape {tuple(modality.shape)}.")
    return transform(config, modality)


class Transform(nn.Module, ABC):
    """``transform(raw)``: ``[B, *stored shape]`` -> float32 ``[B, *shape]``; `shape` is that of one clip.

    `random` says whether, in training mode, a clip differs from epoch to epoch.
    With ``normalise = "train"`` the output is NaN until `fit` has run or a fitted state was loaded, so that statistics
    that were forgotten cannot pass unnoticed.
    """

    ranks: ClassVar[tuple[int, ...]]
    takes: ClassVar[str]
    random = False

    def __init__(self, shape: tuple[int, ...], normalise: str, statistics: tuple[int, ...]):
        """`statistics` is the shape of mean and standard deviation, broadcast against a clip."""
        super().__init__()
        self.shape = shape
        self.normalise = normalise
        for name in ("mean", "std"):
            self.register_buffer(name, None if normalise == "none" else torch.full(statistics, torch.nan))

    @abstractmethod
    def represent(self, raw: Tensor, draw: Draw | None = None) -> Tensor:
        """The clips in float32 before normalisation ``[B, *shape]``; at random if `draw` is given."""

    @abstractmethod
    def rows(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """What statistics are taken over: ``[N, K]`` for K means and standard deviations."""

    @torch.no_grad()
    def forward(
        self, raw: Tensor, lengths: Tensor | None = None, *, keys: Tensor | None = None, seed_parts: tuple = ()
    ) -> Tensor:
        """In training mode crops and flips are a function of `seed_parts` and the clips' `keys`, int64 ``[B]``."""
        draws = self.training and self.random
        if draws and keys is None:
            raise ValueError("random crops and flips need the keys of their clips")

        def draw(name: str, count: int) -> Tensor:
            return uniform(keys[:, None] * count + torch.arange(count, device=keys.device), *seed_parts, name)

        x = self.represent(raw, draw if draws else None)
        return x if self.normalise == "none" else (x - self.mean) / self.std

    @torch.no_grad()
    def fit(self, raw_batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Take mean and standard deviation over (raw, lengths) pairs, which are read only if they are needed.

        In float64 and merged batch by batch (Chan et al., 1983): the partition into batches does not matter. What does
        not vary is centred only.
        """
        if self.normalise != "train":
            return
        count, mean, squares = 0, torch.zeros(()), torch.zeros(())
        for raw, lengths in raw_batches:
            x = self.represent(raw.to(self.mean.device)).cpu()  # not every device has float64
            rows = self.rows(x, lengths).double()
            if not len(rows):
                continue
            squared, here = torch.var_mean(rows, dim=0, correction=0)
            total, shift = count + len(rows), here - mean
            squares = squares + squared * len(rows) + shift.square() * (count * len(rows) / total)
            mean = mean + shift * (len(rows) / total)
            count = total
        if not count:
            raise Misuse("Normalisation takes its statistics from train clips, and there is none.")
        std = (squares / count).sqrt()
        self.mean.copy_(mean.view_as(self.mean))
        self.std.copy_(torch.where(std > 1e-7 * mean.abs(), std, 1.0).view_as(self.std))


class Audio(Transform):
    """Waveforms ``[samples]`` -> log spectrograms ``[1, frequencies, frames]``, or waveforms.

    Magnitudes |S| of a short-time Fourier transform (periodic Hann window, centred frames, reflected at the ends),
    through HTK mel filters for ``log-mel``, then ``log(x + eps)``. int16 is taken as full scale 32768.
    OGM-GE's CREMA-D is ``log-spectrogram`` with n_fft 512 and hop 353 at 22,050 Hz: 257 x 188 for three seconds.
    """

    ranks = (1,)
    takes = "waveforms [samples]"

    class Config(Settings):
        """n_fft: the power of two nearest to 32 ms; hop: a third of n_fft; mels: n_fft / 8, at most 64."""

        kind: Literal["audio"] = "audio"
        representation: Literal["log-mel", "log-spectrogram", "waveform"] = "log-mel"
        n_fft: int | None = Field(None, ge=2, multiple_of=2)
        hop: PositiveInt | None = None
        mels: PositiveInt | None = None
        eps: PositiveFloat = 1e-7
        normalise: Literal["train", "none"] = "train"

    def __init__(self, config: Config, modality: Any):
        (samples,) = modality.shape
        rate = modality.settings["sample_rate"]
        n_fft = config.n_fft or 2 ** max(4, round(log2(WINDOW_SECONDS * rate)))
        hop = config.hop or n_fft // 3 or 1
        bins, window, filters, shape = n_fft // 2 + 1, None, None, (samples,)
        if config.representation == "log-mel":
            bins = config.mels or max(1, min(MOST_MELS, n_fft // 8))
            filters = mel_filters(n_fft // 2 + 1, bins, rate)
        if config.representation != "waveform":
            if samples <= n_fft // 2:
                raise Misuse(f"n_fft = {n_fft} is too large for clips of {samples} samples: they must exceed its half.")
            window, shape = torch.hann_window(n_fft), (1, bins, 1 + samples // hop)
        super().__init__(shape, config.normalise, ())
        self.n_fft, self.hop, self.eps = n_fft, hop, config.eps
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def represent(self, raw: Tensor, draw: Draw | None = None) -> Tensor:
        wave = raw.float() / 32768 if raw.dtype == torch.int16 else raw.float()
        if self.window is None:
            return wave
        magnitude = torch.stft(wave, self.n_fft, self.hop, window=self.window, return_complex=True).abs()
        bands = magnitude if self.filters is None else self.filters @ magnitude
        return (bands + self.eps).log().unsqueeze(1)

    def rows(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        return x.reshape(-1, 1)


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


class Images(Transform):
    """Images ``[C, H, W]`` or frames ``[T, C, H, W]``: uint8 as 0 to 1, floats as they are.

    In evaluation the whole image, stretched to `size`. With `crop`, in training, a random part of it: its area within
    `crop_scale` of the image's, its sides within 3:4 and 4:3, or the image's own where it would stick out. It is
    sampled bilinearly without smoothing, so images should not be stored many times larger than `size`. Crops and
    flips are drawn for each frame by itself, as in the papers.
    """

    ranks = (3,)
    takes = "images [C, H, W]"

    class Config(Settings):
        kind: Literal["image"] = "image"
        size: PositiveInt | None = None
        normalise: Literal["train", "imagenet", "none"] = "train"
        crop: bool = False
        crop_scale: tuple[PositiveFloat, PositiveFloat] = (0.08, 1.0)
        flip: bool = False

        @field_validator("crop_scale")
        @classmethod
        def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
            if value[0] <= value[1] <= 1:
                return value
            raise ValueError("give the least and the greatest share of the area, up to 1")

    def __init__(self, config: Config, modality: Any):
        *leading, channels, height, width = modality.shape
        self.size = (config.size, config.size) if config.size else (height, width)
        super().__init__((*leading, channels, *self.size), config.normalise, (channels, 1, 1))
        self.crop, self.crop_scale, self.flip = config.crop, config.crop_scale, config.flip
        self.random = config.crop or config.flip
        if config.normalise == "imagenet":
            if channels != 3:
                raise Misuse(f"normalise = 'imagenet' is for three channels, and these images have {channels}.")
            self.mean, self.std = torch.tensor(IMAGENET).view(2, 3, 1, 1).unbind()

    def represent(self, raw: Tensor, draw: Draw | None = None) -> Tensor:
        x = raw.float() / 255 if raw.dtype == torch.uint8 else raw.float()
        frames = x.shape[1] if x.dim() == 5 else 1
        x = x.flatten(0, -4)
        if draw and self.crop:
            x = self._cropped(x, lambda name: draw(name, frames).flatten())
        elif x.shape[-2:] != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        if draw and self.flip:
            x = torch.where(draw("flip", frames).view(-1, 1, 1, 1) < 0.5, x.flip(-1), x)
        return x.reshape(*raw.shape[:-2], *self.size)

    def _cropped(self, x: Tensor, draw: Callable[[str], Tensor]) -> Tensor:
        height, width = x.shape[-2:]
        least, most = self.crop_scale
        area = (least + (most - least) * draw("crop-area")) * height * width
        ratio = torch.exp(log(CROP_RATIO) * (2 * draw("crop-ratio") - 1))
        across = _positions((area * ratio).sqrt() / width, draw("crop-x"), self.size[1])
        down = _positions((area / ratio).sqrt() / height, draw("crop-y"), self.size[0])
        grid = torch.stack(torch.broadcast_tensors(across[:, None, :], down[:, :, None]), dim=-1)
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def rows(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        return x.movedim(-3, -1).flatten(0, -2)


def _positions(share: Tensor, place: Tensor, count: int) -> Tensor:
    """Where, from -1 to 1 along a side, `count` pixels of a crop lie ``[N, count]``: `share` of the side long ``[N]``,
    and at `place` ``[N]`` between one end (0) and the other (1)."""
    share = share.clamp(max=1)[:, None]
    centres = (2 * torch.arange(count, device=share.device) + 1) / count - 1
    return centres * share + (2 * place[:, None] - 1) * (1 - share)


class Video(Images):
    ranks = (4,)
    takes = "frames [T, C, H, W]"

    class Config(Images.Config):
        kind: Literal["video"] = "video"


class Features(Transform):
    """Vectors ``[D]``, sequences ``[T, D]`` or other arrays, each dimension normalised by itself.

    Padding has no part in a sequence's statistics, and stays zero.
    """

    ranks = (1, 2, 3, 4)
    takes = "arrays of one to four dimensions"

    class Config(Settings):
        kind: Literal["features"] = "features"
        normalise: Literal["train", "none"] = "train"

    def __init__(self, config: Config, modality: Any):
        shape = tuple(modality.shape)
        super().__init__(shape, config.normalise, shape[1:] if modality.sequence else shape)
        self.sequence = modality.sequence

    def represent(self, raw: Tensor, draw: Draw | None = None) -> Tensor:
        return raw.float()

    def rows(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if self.sequence:
            x = x.flatten(0, 1) if lengths is None else x[self._valid(x, lengths)]
        return x.flatten(1)

    def forward(self, raw: Tensor, lengths: Tensor | None = None, **random: Any) -> Tensor:
        x = super().forward(raw, lengths, **random)
        if self.sequence and lengths is not None:
            x = torch.where(self._valid(x, lengths).view(*x.shape[:2], *[1] * (x.dim() - 2)), x, 0.0)
        return x

    def _valid(self, x: Tensor, lengths: Tensor) -> Tensor:
        return torch.arange(x.shape[1], device=x.device) < lengths.to(x.device)[:, None]


_TRANSFORMS = {"audio": Audio, "image": Images, "video": Video, "features": Features}

InputConfig = Annotated[Audio.Config | Images.Config | Video.Config | Features.Config, Field(discriminator="kind")]
