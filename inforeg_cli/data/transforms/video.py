"""Frames of videos, and fields of motion: chosen, then treated as images."""

from typing import Literal

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor

from inforeg_cli.data.transforms import frames
from inforeg_cli.data.transforms.base import Draw, Normalise
from inforeg_cli.data.transforms.images import Pictures
from inforeg_cli.errors import Misuse

#: The side that frames of differing sizes are scaled to, where their own allow it and no size is given.
USUAL_SIDE = 224


class Video(Pictures):
    """`frames` frames of each clip ``[T, C, H, W]``, whose T, H and W may differ: ``[frames, C, size, size]``.

    Training draws them at random without replacement (``sampling = "random"``, as InfoReg on CREMA-D), or one from each
    of as many equal segments (``"segments"``); evaluation takes the middle of each segment. A clip with fewer frames
    repeats some. Without `size`, frames keep their common height and width; where they have none, they become square,
    as large as the shortest side of all, and at most 224.
    """

    ranks = (4,)
    takes = "frames [T, C, H, W]"

    class Config(Pictures.Config):
        kind: Literal["video"] = "video"
        frames: PositiveInt = 3
        sampling: Literal["random", "segments"] = "random"

    def __init__(self, config: Config, shapes: np.ndarray):
        """`shapes` of all clips as stored: int64 ``[N, 4]``."""
        channels = np.unique(shapes[:, 1])
        if len(channels) > 1:
            raise Misuse(f"These clips differ in channels: some have {channels[0]}, others {channels[-1]}.")
        sizes = np.unique(shapes[:, 2:], axis=0)
        side = min(USUAL_SIDE, int(sizes.min()))
        size = (side, side) if len(sizes) > 1 else sizes[0].tolist()
        super().__init__(config, (config.frames, int(channels[0]), *size))
        self.frames, self.sampling = config.frames, config.sampling
        #: Whether training sees other frames of a clip in every epoch.
        self.drawing = bool((shapes[:, 0] > config.frames).any())
        self.random |= self.drawing

    def choose(self, lengths: np.ndarray, keys: Tensor, seed_parts: tuple[str | int, ...] | None = None) -> np.ndarray:
        """The frames to see of clips with `lengths` ``[B]`` frames: ascending ``[B, frames]``.

        In training (`seed_parts` given) a function of these and the clips' `keys`, int64 ``[B]`` on the CPU.
        """
        if seed_parts is None:
            return frames.centres(lengths, self.frames)
        draw = frames.at_random if self.sampling == "random" else frames.one_a_segment
        return draw(lengths, self.frames, keys, *seed_parts, "frames")


class Motion(Video):
    """Fields of motion ``[T, 2, H, W]``, to the right and down: frames whose mirror image moves the other way."""

    takes = "fields of motion [T, 2, H, W]"

    class Config(Video.Config):
        kind: Literal["motion"] = "motion"
        normalise: Normalise = "train"

    def __init__(self, config: Config, shapes: np.ndarray):
        super().__init__(config, shapes)
        if self.shape[1] != 2:
            raise Misuse(f"The kind 'motion' takes {self.takes}, and these have {self.shape[1]} components.")

    def represent(self, raw: Tensor, draw: Draw | None = None, extent: Tensor | None = None) -> Tensor:
        x = super().represent(raw, draw, extent)
        if draw and self.flip:
            mirrored = draw("flip", self.frames)[:, :, None, None] < 0.5
            x = torch.stack([torch.where(mirrored, -x[:, :, 0], x[:, :, 0]), x[:, :, 1]], dim=2)
        return x
