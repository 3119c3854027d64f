"""Encoders: one clip of one modality in, one feature vector out."""

from collections.abc import Sequence
from math import prod
from typing import Annotated, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, model_validator
from torch import Generator, Tensor, nn

from inforeg_cli.errors import Misuse
from inforeg_cli.settings import Settings

Probability = Annotated[float, Field(ge=0, lt=1)]
Sizes = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]

#: Images up to this side are small: a network that halves them five times would leave nothing to look at.
SMALL_SIDE = 64


def default_encoder(kind: str, shape: Sequence[int], sequence: bool) -> "Encoder":
    """The encoder of a modality for which none is named.

    `shape` is one clip's, as the encoder receives it. Spectrograms and images up to 64 pixels get ``cnn``, larger
    images and frames ``resnet18``, sequences and texts ``transformer``, anything else ``mlp``.
    """
    if kind == "text" or (sequence and len(shape) == 2):
        return Transformer.Config()
    if len(shape) not in _Convolutional.ranks:
        return Mlp.Config()
    return Cnn.Config() if kind == "audio" or max(shape[-2:]) <= SMALL_SIDE else ResNet18.Config()


def build_encoder(config: "Encoder", shape: Sequence[int], vocabulary: int | None = None) -> nn.Module:
    """The encoder for clips of `shape`: ``[D]``, ``[T, D]``, ``[C, H, W]`` or ``[T, C, H, W]``.

    It maps ``[B, *shape]`` (and, for sequences, their lengths ``[B]``) to ``[B, dim]``. With `vocabulary`, clips are
    texts ``[T]`` of token ids below that number, embedded in front of an encoder of sequences.
    Raises Misuse where the encoder does not take such clips.
    """
    shape = tuple(shape)
    encoder = _ENCODERS[config.name]
    rank, clips = (len(shape), f"clips of shape {shape}") if vocabulary is None else (2, "texts")
    if rank not in encoder.ranks:
        fitting = [name for name, other in _ENCODERS.items() if rank in other.ranks]
        raise Misuse(
            f"The encoder {config.name} takes {encoder.takes}, not {clips}. "
            f"Encoders that fit: {', '.join(fitting) or 'none'}."
        )
    if vocabulary is None:
        return encoder(config, shape)
    return _Embedded(encoder(config, (*shape, config.dim)), vocabulary)


def masked_mean(steps: Tensor, lengths: Tensor | None) -> Tensor:
    """The mean over the first `lengths` of the steps, ``[B, T, D]`` -> ``[B, D]``: zeros where a length is 0."""
    if lengths is None:
        return steps.mean(dim=1)
    kept = torch.where(_valid(steps, lengths)[..., None], steps, 0.0)
    return kept.sum(dim=1) / lengths.clamp(min=1)[:, None]


def _valid(steps: Tensor, lengths: Tensor) -> Tensor:
    return torch.arange(steps.shape[1], device=steps.device) < lengths[:, None]


class _Convolutional(nn.Module):
    """Stages of a 2-d network, averaged over the image, and for frames ``[B, T, C, H, W]`` over the frames, too.

    The frames of all clips go through the stages as one batch. Those past a clip's length are left out of its average,
    but in training they do enter the statistics of batch norm: prepare clips with equally many frames.
    """

    ranks: ClassVar = (3, 4)
    takes: ClassVar = "images [C, H, W] and frames [T, C, H, W]"
    dim: int
    stages: nn.Sequential
    #: Channels after each stage.
    widths: tuple[int, ...]

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.pool(self.stages(self.fold(x)), self.frames(x), lengths)

    def frames(self, x: Tensor) -> int | None:
        """How many frames a clip has; None for images."""
        return x.shape[1] if x.dim() == 5 else None

    def fold(self, x: Tensor) -> Tensor:
        """What the stages take, ``[N, C, H, W]``: images, or the frames of all clips one after the other."""
        return x if self.frames(x) is None else x.flatten(0, 1)

    def pool(self, maps: Tensor, frames: int | None = None, lengths: Tensor | None = None) -> Tensor:
        """Feature maps ``[N, D, H, W]`` -> features ``[B, D]``: the mean over the image and the valid frames."""
        features = maps.mean(dim=(-2, -1))
        return features if frames is None else masked_mean(features.unflatten(0, (-1, frames)), lengths)


class ResNet18(_Convolutional):
    """ResNet-18 from scratch without its classifier (He et al., CVPR 2016), a stem for any channels."""

    class Config(Settings):
        name: Literal["resnet18"] = "resnet18"

    def __init__(self, config: Config, shape: tuple[int, ...]):
        from torchvision.models import resnet18  # takes seconds to import, and most encoders do without

        super().__init__()
        network = resnet18(weights=None)
        network.conv1 = nn.Conv2d(shape[-3], 64, kernel_size=7, stride=2, padding=3, bias=False)
        stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        self.stages = nn.Sequential(stem, network.layer1, network.layer2, network.layer3, network.layer4)
        self.widths = (64, 64, 128, 256, 512)
        self.dim = self.widths[-1]


class Cnn(_Convolutional):
    """A small convolutional network for 8 to 64 pixels: 3x3 convolutions, halved between stages."""

    class Config(Settings):
        name: Literal["cnn"] = "cnn"
        channels: Sizes = (32, 64, 128)

    def __init__(self, config: Config, shape: tuple[int, ...]):
        super().__init__()
        channels, side = shape[-3], min(shape[-2:])
        self.stages = nn.Sequential()
        for width in config.channels:
            stage = nn.Sequential(
                nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
            )
            if len(self.stages) and side >= 2:
                stage.insert(0, nn.MaxPool2d(2))
                side //= 2
            self.stages.append(stage)
            channels = width
        self.widths = config.channels
        self.dim = channels


class Mlp(nn.Module):
    """Fully connected layers over the flattened clip; of a sequence ``[T, D]``, over the mean of its valid steps."""

    ranks: ClassVar = (1, 2, 3, 4)
    takes: ClassVar = "clips of one to four dimensions"

    class Config(Settings):
        name: Literal["mlp"] = "mlp"
        hidden: tuple[PositiveInt, ...] = (256,)
        dim: PositiveInt = 128
        dropout: Probability = 0.0

    def __init__(self, config: Config, shape: tuple[int, ...]):
        super().__init__()
        self.sequence = len(shape) == 2
        self.dim = config.dim
        self.layers = nn.Sequential()
        width = shape[-1] if self.sequence else prod(shape)
        for size in (*config.hidden, config.dim):
            self.layers.extend([nn.Linear(width, size), nn.ReLU(), nn.Dropout(config.dropout)])
            width = size

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.layers(masked_mean(x, lengths) if self.sequence else x.flatten(1))


class Transformer(nn.Module):
    """A pre-norm transformer over a sequence of features (Vaswani et al., 2017; Xiong et al., ICML 2020).

    Linear projection, learned positions, self-attention among the valid steps, mean over the valid steps. A clip of
    length 0 has the feature zero.
    """

    ranks: ClassVar = (2,)
    takes: ClassVar = "sequences [T, D]"

    class Config(Settings):
        name: Literal["transformer"] = "transformer"
        dim: PositiveInt = 128
        depth: PositiveInt = 2
        heads: PositiveInt = 4
        dropout: Probability = 0.1

        @model_validator(mode="after")
        def _heads_divide_dim(self) -> Self:
            if self.dim % self.heads:
                raise ValueError(f"dim = {self.dim} is not a multiple of heads = {self.heads}")
            return self

    def __init__(self, config: Config, shape: tuple[int, ...]):
        super().__init__()
        steps, width = shape
        self.dim = config.dim
        self.project = nn.Linear(width, config.dim)
        self.positions = nn.Parameter(torch.empty(steps, config.dim))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim)

    def initialise(self, generator: Generator) -> None:
        nn.init.normal_(self.positions, std=0.02, generator=generator)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """``[B, T, D]``, T at most that of the shape it was built for -> ``[B, dim]``."""
        attended = None
        if lengths is not None:
            x = torch.where(_valid(x, lengths)[..., None], x, 0.0)
            # The first step may always be attended to: not every kernel defines a softmax over nothing.
            attended = _valid(x, lengths.clamp(min=1))[:, None, None]
        x = self.dropout(self.project(x) + self.positions[: x.shape[1]])
        for block in self.blocks:
            x = block(x, attended)
        return masked_mean(self.norm(x), lengths)


class _Block(nn.Module):
    def __init__(self, config: Transformer.Config):
        super().__init__()
        self.heads = config.heads
        self.rate = config.dropout
        self.attention_norm = nn.LayerNorm(config.dim)
        self.attention_in = nn.Linear(config.dim, 3 * config.dim)
        self.attention_out = nn.Linear(config.dim, config.dim)
        self.norm = nn.LayerNorm(config.dim)
        self.layers = nn.Sequential(
            nn.Linear(config.dim, 4 * config.dim),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(4 * config.dim, config.dim),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, attended: Tensor | None) -> Tensor:
        """``[B, T, dim]`` and the mask of steps that may be attended to, ``[B, 1, 1, T]`` -> ``[B, T, dim]``."""
        query, key, value = (
            self.attention_in(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attended, self.rate if self.training else 0.0)
        x = x + self.dropout(self.attention_out(mixed.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.layers(self.norm(x)))


class _Embedded(nn.Module):
    """Token ids ``[B, T]`` as learned vectors, as wide as its feature, into an encoder of sequences.

    The id 0 pads: its vector is zero and no parameter, so that nothing that changes parameters can move it. The others
    begin as N(0, 1): from a standard deviation of 0.02, as language models trained with Adam take, plain SGD hardly moves.
    """

    def __init__(self, encoder: nn.Module, vocabulary: int):
        super().__init__()
        self.table = nn.Parameter(torch.empty(vocabulary - 1, encoder.dim))
        self.encoder = encoder
        self.dim = encoder.dim

    def initialise(self, generator: Generator) -> None:
        nn.init.normal_(self.table, generator=generator)

    def forward(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        vectors = F.embedding((ids - 1).clamp(min=0), self.table)
        return self.encoder(torch.where((ids > 0)[..., None], vectors, 0.0), lengths)


_ENCODERS = {"resnet18": ResNet18, "cnn": Cnn, "mlp": Mlp, "transformer": Transformer}

Encoder = Annotated[ResNet18.Config | Cnn.Config | Mlp.Config | Transformer.Config, Field(discriminator="name")]
