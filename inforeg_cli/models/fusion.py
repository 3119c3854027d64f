"""Fusions: the features of all modalities in, the joint logits and each modality's share of them out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Generator, Tensor, nn

from inforeg_cli.settings import Settings

Features = Mapping[str, Tensor]

#: The weight of a new batch in the running mean of a feature: batch norm's.
MOMENTUM = 0.1


def build_fusion(config: "FusionConfig", dims: Mapping[str, int], classes: int) -> "Fusion":
    """The fusion of features ``[B, dims[m]]``, modalities in the given order, into logits ``[B, classes]``."""
    return fusion_class(config)(config, dims, classes)


def fusion_class(config: "FusionConfig") -> type["Fusion"]:
    return _FUSIONS[config.name]


class Fusion(nn.Module, ABC):
    """``forward(features)`` gives the joint logits ``[B, C]`` and each modality's share of them ``[B, C]``.

    `additive`: the shares sum to the logits, so that a loss of a share (``unimodal_losses = "slice"``) has a meaning.
    """

    additive: ClassVar[bool]
    #: Whether `features` are the logits of the modalities' own heads instead of their features.
    over_heads: ClassVar[bool] = False

    @abstractmethod
    def forward(self, features: Features) -> tuple[Tensor, dict[str, Tensor]]: ...

    @abstractmethod
    def alone(self, features: Features, shares: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The joint head's logits ``[B, C]`` with the features of all other modalities absent."""


class Concat(Fusion):
    """``o = W [z_1; ...; z_M] + b``, share ``o_m = W_m z_m + b / M`` (OGM-GE, CVPR 2022)."""

    additive = True

    class Config(Settings):
        name: Literal["concat"] = "concat"

    def __init__(self, config: Config, dims: Mapping[str, int], classes: int):
        super().__init__()
        self.head = nn.Linear(sum(dims.values()), classes)
        self._dims = dict(dims)

    def forward(self, features: Features) -> tuple[Tensor, dict[str, Tensor]]:
        weights = self.head.weight.split(tuple(self._dims.values()), dim=1)
        bias = self.head.bias / len(weights)
        shares = {
            name: F.linear(features[name], weight, bias) for name, weight in zip(self._dims, weights, strict=True)
        }
        return sum(shares.values()), shares

    def alone(self, features: Features, shares: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rest = self.head.bias * (1 - 1 / len(shares))
        return {name: share + rest for name, share in shares.items()}


class Sum(Fusion):
    """``o = sum_m (W_m z_m + b_m)``, share ``o_m = W_m z_m + b_m`` (OGM-GE, CVPR 2022)."""

    additive = True

    class Config(Settings):
        name: Literal["sum"] = "sum"

    def __init__(self, config: Config, dims: Mapping[str, int], classes: int):
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Linear(dim, classes) for name, dim in dims.items()})

    def forward(self, features: Features) -> tuple[Tensor, dict[str, Tensor]]:
        shares = {name: head(features[name]) for name, head in self.heads.items()}
        return sum(shares.values()), shares

    def alone(self, features: Features, shares: Mapping[str, Tensor]) -> dict[str, Tensor]:
        biases = sum(head.bias for head in self.heads.values())
        return {name: share + (biases - self.heads[name].bias) for name, share in shares.items()}


class Branches(Fusion):
    """``o = (1 / M) sum_m o_m``, the mean of the own heads' logits, share ``o_m / M`` (Wu et al., ICML 2022)."""

    additive = True
    over_heads = True

    class Config(Settings):
        name: Literal["branches"] = "branches"

    def __init__(self, config: Config, dims: Mapping[str, int], classes: int):
        super().__init__()

    def forward(self, features: Features) -> tuple[Tensor, dict[str, Tensor]]:
        shares = {name: logits / len(features) for name, logits in features.items()}
        return sum(shares.values()), shares

    def alone(self, features: Features, shares: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A branch by itself is its own head."""
        return {name: share * len(shares) for name, share in shares.items()}


class _Interacting(Fusion):
    """A fusion whose logits do not separate: a share is the head's answer with the other features absent.

    Absent is by default the running training mean of a feature, on request zeros. Zeros are what the InfoReg paper
    words, but they turn the shares of all modalities but one into a constant. Shares carry no gradient.
    """

    additive = False

    class Config(Settings):
        absent: Literal["mean", "zero"] = "mean"

    def __init__(self, config: Config, dims: Mapping[str, int]):
        super().__init__()
        absent = {"mean": _RunningMean, "zero": _Zero}[config.absent]
        self.absent = nn.ModuleDict({name: absent(dim) for name, dim in dims.items()})

    @abstractmethod
    def logits(self, features: Features) -> Tensor:
        """Features ``[B, D_m]``, or ``[1, D_m]`` for one that is the same in every clip -> logits ``[B, C]``."""

    def forward(self, features: Features) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.logits(features)
        with torch.no_grad():
            absent = {name: module(features[name]) for name, module in self.absent.items()}
            shares = {name: self.logits({**absent, name: features[name]}) for name in self.absent}
        return logits, shares

    def alone(self, features: Features, shares: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(shares)


class Gated(_Interacting):
    """``o = W (prod_{m<M} sigmoid(F_m z_m) * F_M z_M) + b``.

    For two modalities the gated fusion of Kiela et al., AAAI 2018. More than two are an extension.
    """

    class Config(_Interacting.Config):
        name: Literal["gated"] = "gated"
        dim: PositiveInt = 512

    def __init__(self, config: Config, dims: Mapping[str, int], classes: int):
        super().__init__(config, dims)
        self.project = nn.ModuleDict({name: nn.Linear(dim, config.dim, bias=False) for name, dim in dims.items()})
        self.head = nn.Linear(config.dim, classes)

    def logits(self, features: Features) -> Tensor:
        *gates, last = (project(features[name]) for name, project in self.project.items())
        for gate in gates:
            last = torch.sigmoid(gate) * last
        return self.head(last)


class Film(_Interacting):
    """``o = W z + b``: z starts as z_M, then ``z <- gamma * z + beta``, ``[gamma; beta] = F_m z_m``, for m = 1 .. M-1.

    For two modalities the feature-wise linear modulation of Perez et al., AAAI 2018. More than two are an extension.
    """

    class Config(_Interacting.Config):
        name: Literal["film"] = "film"

    def __init__(self, config: Config, dims: Mapping[str, int], classes: int):
        super().__init__(config, dims)
        *conditions, self._last = dims
        size = dims[self._last]
        self.condition = nn.ModuleDict({name: nn.Linear(dims[name], 2 * size, bias=False) for name in conditions})
        self.head = nn.Linear(size, classes)

    def logits(self, features: Features) -> Tensor:
        z = features[self._last]
        for name, condition in self.condition.items():
            gamma, beta = condition(features[name]).chunk(2, dim=-1)
            z = gamma * z + beta
        return self.head(z)


class _RunningMean(nn.Module):
    """The running mean of a feature over training batches: ``[B, D]`` -> ``[1, D]``, in evaluation left as it is."""

    mean: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))

    def initialise(self, generator: Generator) -> None:
        self.mean.zero_()

    def forward(self, feature: Tensor) -> Tensor:
        if self.training:
            self.mean.lerp_(feature.to(self.mean.dtype).mean(dim=0), MOMENTUM)
        return self.mean[None]


class _Zero(nn.Module):
    """Zeros in the place of a feature: ``[B, D]`` -> ``[1, D]``."""

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def forward(self, feature: Tensor) -> Tensor:
        return feature.new_zeros(1, self.dim)


_FUSIONS = {"concat": Concat, "sum": Sum, "gated": Gated, "film": Film, "branches": Branches}

FusionConfig = Annotated[
    Concat.Config | Sum.Config | Gated.Config | Film.Config | Branches.Config, Field(discriminator="name")
]
