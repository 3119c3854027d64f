"""MMTM: the exchange between encoders that Greedy needs (Joze et al., CVPR 2020, as in Wu et al., ICML 2022)."""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn
from torch.nn import Parameter


class Mmtm(nn.Module):
    """One block: what all modalities show, pooled, gates the channels of each; any number of modalities.

    e = ReLU(F [s_1; ...; s_M] + f) of width int(2 sum(C_m) / 4), gate_m = sigmoid(E_m e + e_m), as in Greedy's code: MMTM
    itself doubles the sigmoid. More than two modalities are an extension.

    r_m, the mean of gate_m over all training batches so far, stands in buffers; evaluation leaves it alone (the released
    code counts its batches, too, and takes r_1 from the wrong gate).
    """

    means: Tensor
    calls: Tensor

    def __init__(self, channels: Mapping[str, int]):
        """channels: {modality: C_m}, in the order that `caring` counts."""
        super().__init__()
        total = sum(channels.values())
        width = int(2 * total / 4)
        self.squeeze = nn.Linear(total, width)
        self.gates = nn.ModuleDict({name: nn.Linear(width, size) for name, size in channels.items()})
        self.register_buffer("means", torch.zeros(total))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self._sizes = tuple(channels.values())

    def initialise(self, generator: Generator) -> None:
        self.means.zero_()
        self.calls.zero_()

    def forward(self, pooled: Mapping[str, Tensor], caring: Tensor | None = None) -> dict[str, Tensor]:
        """Features averaged over space, ``[B, C_m]``, -> gates ``[B, C_m]``, to be multiplied with every position.

        caring: an integer scalar on the device. The gate of modality `caring` is replaced by r_m, this batch included,
        so that the branch sees nothing of the others and its gate takes no gradient; -1 or None leaves all gates live.
        """
        shown = torch.relu(self.squeeze(torch.cat([pooled[name] for name in self.gates], dim=1)))
        gates = {name: torch.sigmoid(gate(shown)) for name, gate in self.gates.items()}
        if self.training:
            self._remember(gates)
        if caring is None:
            return gates
        means = zip(gates.items(), self.means.split(self._sizes), strict=True)
        return {
            name: torch.where(caring == index, mean.to(gate.dtype), gate)
            for index, ((name, gate), mean) in enumerate(means)
        }

    def bypass_of(self, modality: str) -> list[Parameter]:
        """The parameters through which the others reach this modality: its gate's, and the squeeze, which all share."""
        return [*self.gates[modality].parameters(), *self.squeeze.parameters()]

    @torch.no_grad()
    def _remember(self, gates: Mapping[str, Tensor]) -> None:
        batch = torch.cat([gate.to(self.means.dtype).mean(dim=0) for gate in gates.values()])
        self.calls += 1
        self.means += (batch - self.means) / self.calls
