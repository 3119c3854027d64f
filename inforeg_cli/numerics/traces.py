"""Traces: how much each modality's parameters are moved by the loss, the signal that opens the prime learning window."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import Parameter

Reduction = Literal["sum", "layer-mean"]


class GradientTrace:
    """Sums squared gradient norms over the batches of an epoch, a group of parameters at a time, without a host sync.

    groups: {name: parameters}, e.g. one a modality and one for the whole model; a parameter may stand in several.
    reduction: ``sum`` is the trace over all entries (eq. 7 on batch gradients); ``layer-mean`` is what the released code
        sums instead, the mean over the entries of each convolution and linear weight.
    """

    def __init__(self, groups: Mapping[str, Sequence[Parameter]], reduction: Reduction = "sum"):
        self.names = tuple(groups)
        self.parameters = list(dict.fromkeys(parameter for group in groups.values() for parameter in group))
        column = {parameter: index for index, parameter in enumerate(self.parameters)}
        member = torch.zeros(len(groups), len(self.parameters))
        for row, group in enumerate(groups.values()):
            member[row, [column[parameter] for parameter in group]] = 1
        weight = torch.ones(len(self.parameters))
        if reduction == "layer-mean":
            weight = torch.tensor([1 / p.numel() if p.ndim >= 2 else 0.0 for p in self.parameters])
        device = self.parameters[0].device
        # One product turns the norms of all tensors into every group's sum: deterministic, unlike a scatter on CUDA.
        self._weights = torch.cat([member * weight, member]).to(device)
        self._sums = torch.zeros(2, len(groups), device=device)
        self._zero = torch.zeros((), device=device)
        self._steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Add the gradients as they stand; a parameter without one counts as zero."""
        present = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if not present:
            return
        norms = iter(torch._foreach_norm(present))
        found = torch.stack([self._zero if p.grad is None else next(norms).float() for p in self.parameters])
        traces, squares = (self._weights @ found.square()).view(2, -1)
        self._sums[0] += traces
        self._sums[1] += squares.sqrt()
        self._steps += 1

    def traces(self) -> dict[str, float]:
        """The sum over the epoch's batches so far. Waits for the device."""
        return dict(zip(self.names, self._sums[0].tolist(), strict=True))

    def gradient_norms(self) -> dict[str, float]:
        """The mean over the updates so far of each group's gradient norm. Waits for the device."""
        return dict(zip(self.names, (self._sums[1] / max(self._steps, 1)).tolist(), strict=True))

    def reset(self) -> None:
        """Start a new epoch."""
        self._sums.zero_()
        self._steps = 0

    def state_dict(self) -> dict[str, Tensor | int]:
        return {"sums": self._sums.clone(), "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Tensor | int]) -> None:
        self._sums.copy_(state["sums"])
        self._steps = state["steps"]
