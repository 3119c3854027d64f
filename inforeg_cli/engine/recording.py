"""Recordings of a training that choose nothing in it: here, how alike the gradients of an epoch's batches are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import Parameter

from inforeg_cli import seeds
from inforeg_cli.numerics.sketch import COLUMNS, CountSketch, cosines
from inforeg_cli.step import Epoch

#: Batches of an epoch that are compared, evenly spread over it: 1,128 pairs.
MOST_BATCHES = 48


class GradientCosines:
    """Cosine similarities between the gradients of an epoch's batches, an encoder at a time, on count-sketches.

    The gradients are those of what is trained, before the method adjusts them. In an epoch's steps nothing waits for the
    device; of all batches where there are at most `MOST_BATCHES`, else of that many, evenly spread.
    """

    def __init__(self, encoders: Mapping[str, Sequence[Parameter]], steps: int, seed: int):
        """encoders: the parameters of each modality's. steps: batches an epoch."""
        self._encoders = {name: list(parameters) for name, parameters in encoders.items()}
        chosen = min(steps, MOST_BATCHES)
        self._batches = torch.tensor([slot * steps // chosen for slot in range(chosen)])
        self._slots = {step: slot for slot, step in enumerate(self._batches.tolist())}
        device = next(iter(self._encoders.values()))[0].device
        self._sketch = {
            name: CountSketch(
                sum(parameter.numel() for parameter in parameters),
                seeds.generator(seed, "gradient sketch", name),
                device=device,
            )
            for name, parameters in self._encoders.items()
        }
        self._sketches = torch.zeros(len(self._encoders), chosen, COLUMNS, device=device)
        self._filled = 0
        self._past: list[dict[str, Any]] = []

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Keep the sketch of the gradients as they stand in step `step` of the epoch, if it is one of those compared."""
        if (slot := self._slots.get(step)) is None:
            return
        for row, (name, parameters) in enumerate(self._encoders.items()):
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            self._sketches[row, slot] = self._sketch[name](flat)
        self._filled = slot + 1

    def close(self, epoch: Epoch) -> None:
        """After the epoch's last step: compare its batches and start anew. Waits for the device."""
        pairs = torch.triu_indices(len(self._batches), len(self._batches), offset=1)
        found = cosines(self._sketches)[:, pairs[0], pairs[1]].cpu()
        self._past.append({"epoch": epoch.index, "open": sorted(epoch.open), "cosines": found})
        self._filled = 0

    def table(self) -> pd.DataFrame:
        """Of the closed epochs, a row a pair of batches (numbers of steps, a < b): epoch, modality, batch_a, batch_b,
        cosine, and ``open``, whether the modality's window was."""
        first, second = self._batches[torch.triu_indices(len(self._batches), len(self._batches), offset=1)].numpy()
        names, pairs, epochs = list(self._encoders), len(first), len(self._past)
        cosine = torch.stack([past["cosines"] for past in self._past]) if self._past else torch.zeros(0)
        opened = [name in past["open"] for past in self._past for name in names]
        return pd.DataFrame(
            {
                "epoch": np.repeat([past["epoch"] for past in self._past], pairs * len(names)).astype("int32"),
                "modality": pd.Categorical.from_codes(
                    np.tile(np.repeat(np.arange(len(names)), pairs), epochs), categories=names
                ),
                "batch_a": np.tile(first, epochs * len(names)).astype("int32"),
                "batch_b": np.tile(second, epochs * len(names)).astype("int32"),
                "cosine": cosine.flatten().numpy(),
                "open": np.repeat(np.array(opened, dtype=bool), pairs),
            }
        )

    def state_dict(self) -> dict[str, Tensor | list]:
        return {"sketches": self._sketches[:, : self._filled].clone(), "past": list(self._past)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._filled = state["sketches"].shape[1]
        self._sketches[:, : self._filled].copy_(state["sketches"])
        self._past = list(state["past"])
