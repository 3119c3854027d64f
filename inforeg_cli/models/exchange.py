"""The exchange between encoders that Greedy needs: MMTM blocks after their last stages."""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn
from torch.nn import Parameter

from inforeg_cli.models.mmtm import Mmtm

#: At most this many last stages of the encoders exchange, and of several never the first (Wu et al., ICML 2022: stages
#: 2, 3, 4).
DEPTH = 3


class Exchange(nn.Module):
    """Runs the encoders side by side; after each of their last stages a block gates the channels of all of them.

    Encoders of different depth are aligned at their ends. Where one has no stages (mlp, transformer) there is a single
    block, on the features. The gates of clips with frames come from the mean over the frames and are the same for all.
    A single encoder has nobody to exchange with, and no block.

    `caring`, an integer scalar on the device, is the modality whose gates are replaced by their means while training
    (see `Mmtm`), -1 for none. It belongs to whoever sets it before a step, and is not part of the model's state.
    """

    caring: Tensor

    def __init__(self, encoders: Mapping[str, nn.Module]):
        super().__init__()
        staged = len(encoders) > 1 and all(hasattr(encoder, "stages") for encoder in encoders.values())
        self._depth = max(1, min(DEPTH, *(len(e.widths) - 1 for e in encoders.values()))) if staged else 0
        if staged:
            levels = range(self._depth, 0, -1)
            sizes = [{name: encoder.widths[-level] for name, encoder in encoders.items()} for level in levels]
        else:
            sizes = [{name: encoder.dim for name, encoder in encoders.items()}] if len(encoders) > 1 else []
        self.blocks = nn.ModuleList(map(Mmtm, sizes))
        self.register_buffer("caring", torch.tensor(-1), persistent=False)

    def initialise(self, generator: Generator) -> None:
        self.caring.fill_(-1)

    def forward(
        self, encoders: Mapping[str, nn.Module], inputs: Mapping[str, Tensor], lengths: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Each encoder's features ``[B, D_m]``."""
        caring = self.caring if self.training else None
        if not self._depth:
            features = {name: encoder(inputs[name], lengths.get(name)) for name, encoder in encoders.items()}
            for block in self.blocks:
                gates = block(features, caring)
                features = {name: feature * gates[name] for name, feature in features.items()}
            return features
        maps = {name: encoder.stages[: -self._depth](encoder.fold(inputs[name])) for name, encoder in encoders.items()}

        def pooled(name: str) -> Tensor:
            return encoders[name].pool(maps[name], encoders[name].frames(inputs[name]), lengths.get(name))

        for level, block in enumerate(self.blocks):
            maps = {name: encoder.stages[level - self._depth](maps[name]) for name, encoder in encoders.items()}
            gates = block({name: pooled(name) for name in maps}, caring)
            for name, gate in gates.items():
                frames = len(maps[name]) // len(gate)
                maps[name] = maps[name] * gate.repeat_interleave(frames, dim=0)[:, :, None, None]
        return {name: pooled(name) for name in maps}

    def bypass_of(self, modality: str) -> list[Parameter]:
        """The parameters through which the others reach this modality, over all blocks."""
        return [parameter for block in self.blocks for parameter in block.bypass_of(modality)]
