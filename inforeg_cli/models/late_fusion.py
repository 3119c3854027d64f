"""The model every method trains: an encoder a modality, one fusion, and unimodal heads where a run has them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inforeg_cli.models.encoders import Encoder, build_encoder
from inforeg_cli.models.exchange import Exchange
from inforeg_cli.models.fusion import Fusion, FusionConfig, build_fusion
from inforeg_cli.models.initialise import initialised
from inforeg_cli.step import Outputs


class LateFusion(nn.Module):
    """Encoders and, where given, heads by modality, in the order of the recipe; `fusion` joins their features.

    With an `exchange` the encoders see something of each other.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fusion: Fusion,
        heads: Mapping[str, nn.Module] | None = None,
        exchange: Exchange | None = None,
    ):
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion
        self.heads = nn.ModuleDict(heads)
        self.exchange = exchange

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.encoders)

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        lengths: Mapping[str, Tensor] | None = None,
        absent: frozenset[str] = frozenset(),
    ) -> Outputs:
        """`inputs` are ``[B, ...]`` after the transforms, `lengths` the valid steps ``[B]`` of sequences.

        A modality in `absent` is zeros to its encoder, and a sequence of length 0.
        """
        lengths = lengths or {}
        if absent:
            inputs = {name: torch.zeros_like(x) if name in absent else x for name, x in inputs.items()}
            lengths = {name: torch.zeros_like(n) if name in absent else n for name, n in lengths.items()}
        return self.join(self.encode(inputs, lengths))

    def encode(self, inputs: Mapping[str, Tensor], lengths: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each encoder's features ``[B, D_m]``."""
        if self.exchange is not None:
            return self.exchange(self.encoders, inputs, lengths)
        return {name: encoder(inputs[name], lengths.get(name)) for name, encoder in self.encoders.items()}

    def join(self, features: Mapping[str, Tensor]) -> Outputs:
        heads = {name: head(features[name]) for name, head in self.heads.items()}
        fused, shares = self.fusion(heads if self.fusion.over_heads else features)
        return Outputs(fused, shares, heads, dict(features))

    def parameters_of(self, modality: str) -> list[nn.Parameter]:
        """The parameters of the modality's encoder: those that a method regulates."""
        return list(self.encoders[modality].parameters())

    def parts(self, names: Collection[str]) -> dict[str, Any]:
        """What a method may require of the model, by the name under which its `setup` receives it."""
        parts: dict[str, Any] = {}
        if "own heads" in names:
            parts["heads"] = {name: list(head.parameters()) for name, head in self.heads.items()}
        if "exchange" in names:
            parts["exchange"] = self.exchange
        if "all parameters" in names:
            parts |= {"everything": list(self.parameters()), "fusion": list(self.fusion.parameters())}
        return parts

    def encoder_parameters(self) -> dict[str, list[nn.Parameter]]:
        return {name: self.parameters_of(name) for name in self.encoders}


def build(
    encoder_configs: Mapping[str, Encoder],
    fusion_config: FusionConfig,
    shapes: Mapping[str, Sequence[int]],
    classes: int,
    own_heads: bool,
    seed: int,
    vocabularies: Mapping[str, int] | None = None,
    exchange: bool = False,
) -> LateFusion:
    """A model on the CPU, its weights a function of `seed`; `shapes` are those of one clip after the transforms, and
    `vocabularies` the number of different token ids of each modality that is text.

    Raises Misuse where an encoder does not take what its modality gives.
    """

    vocabularies = vocabularies or {}

    def construct() -> LateFusion:
        encoders = {
            name: build_encoder(config, shapes[name], vocabularies.get(name))
            for name, config in encoder_configs.items()
        }
        dims = {name: encoder.dim for name, encoder in encoders.items()}
        heads = {name: nn.Linear(dim, classes) for name, dim in dims.items()} if own_heads else None
        fusion = build_fusion(fusion_config, dims, classes)
        return LateFusion(encoders, fusion, heads, Exchange(encoders) if exchange else None)

    return initialised(construct, seed)
