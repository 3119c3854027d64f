"""Damage ladders: which damage each kind of modality is put to, how strong in each step, and in which unit."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from inforeg_cli.data.batches import statistics_of
from inforeg_cli.data.store import Store
from inforeg_cli.data.transforms import Features, Motion, transform_of
from inforeg_cli.data.transforms.damage import At, Chance, Damage, arrays, pictures, sound, words


@dataclass(frozen=True)
class Ladder:
    """`strengths`, from slight to severe, of one damage; below the first stands none at all.

    label: what the strengths are, the axis of a curve. unit: what can be read after one of them.
    """

    name: str
    label: str
    unit: str
    strengths: tuple[float, ...]
    damage: Damage

    def on(self, raw: Tensor, extent: Tensor | None, chance: Chance) -> At:
        """The damage of these clips, with all digits whatever the model computes in."""
        whole = torch.autocast(raw.device.type, enabled=False)
        return whole(whole(self.damage)(raw, extent, chance))


_SHARES = (0.1, 0.25, 0.4, 0.55, 0.7)
_DEVIATIONS = (0.25, 0.5, 1.0, 2.0, 4.0)
_PICTURES = (
    Ladder(
        "noise", "noise std (of the full range)", "of the full range", (0.04, 0.08, 0.16, 0.32, 0.64), pictures.noise
    ),
    Ladder(
        "blur", "blur std (of the shorter side)", "of the shorter side", (0.01, 0.02, 0.04, 0.08, 0.16), pictures.blur
    ),
    Ladder("occlusion", "occluded share of area", "of the area", _SHARES, pictures.occlusion),
    Ladder("jpeg", "JPEG quality", "quality", (80, 40, 20, 10, 5), pictures.jpeg),
)
_FIXED = {
    "audio": (
        Ladder("noise", "signal-to-noise ratio (dB)", "dB", (20, 10, 5, 0, -5), sound.noise),
        Ladder("dropped", "silenced share of time", "of the time", _SHARES, sound.dropped),
        Ladder("low-pass", "cut-off (of Nyquist)", "of Nyquist", (0.9, 0.7, 0.5, 0.3, 0.1), sound.low_pass),
    ),
    "image": _PICTURES,
    "video": _PICTURES,
    "text": (
        Ladder("dropped", "dropped share of words", "of the words", _SHARES, words.dropped),
        Ladder("shuffled", "shuffled share of words", "of the words", (0.2, 0.4, 0.6, 0.8, 1.0), words.shuffled),
    ),
}


def ladders_of(store: Store, name: str, train: np.ndarray, device: torch.device) -> tuple[Ladder, ...]:
    """The ladders of a modality. Features and motion are damaged in units of their statistics over the clips `train`
    (store rows), which are none of a run's: its runs all see the same damage."""
    kind = store.modalities[name].kind
    if kind in _FIXED:
        return _FIXED[kind]
    label = "noise std (of that in train)"
    transform = transform_of(store, name, Motion.Config() if kind == "motion" else Features.Config())
    mean, deviation = (found.float().to(device) for found in statistics_of(transform, store, name, train))
    if kind == "motion":
        return (
            Ladder("noise", label, "std in train", _DEVIATIONS, partial(arrays.motion_noise, deviation=deviation)),
            Ladder("still", "stilled share of cells", "of the cells", _SHARES, arrays.still),
        )
    return (
        Ladder("noise", label, "std in train", _DEVIATIONS, partial(arrays.noise, deviation=deviation)),
        Ladder(
            "dropped", "dropped share of dimensions", "of the dimensions", _SHARES, partial(arrays.dropped, mean=mean)
        ),
    )
