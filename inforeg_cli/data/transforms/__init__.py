"""From what the store holds to what an encoder receives: batched, on the device, without gradients.

Statistics for normalisation are those of train clips alone, kept as buffers and so saved with the model. Augmentation
and the choice of frames are functions of (seed, epoch, clip): neither the other clips of a batch nor the device change
them.
"""

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from inforeg_cli.data.transforms.audio import Audio, mel_filters
from inforeg_cli.data.transforms.base import Transform
from inforeg_cli.data.transforms.features import Features, Text
from inforeg_cli.data.transforms.images import IMAGENET, Images
from inforeg_cli.data.transforms.video import Motion, Video
from inforeg_cli.errors import Misuse

__all__ = [
    "IMAGENET",
    "Audio",
    "Features",
    "Images",
    "InputConfig",
    "Motion",
    "Text",
    "Transform",
    "Video",
    "build_transform",
    "mel_filters",
    "transform_of",
]

_TRANSFORMS = {"audio": Audio, "image": Images, "features": Features, "text": Text}
#: Of these only chosen frames are read, and clips may differ in shape.
_OF_FRAMES = {"video": Video, "motion": Motion}

InputConfig = Annotated[
    Audio.Config | Images.Config | Video.Config | Motion.Config | Features.Config | Text.Config,
    Field(discriminator="kind"),
]


def transform_of(store: Any, name: str, config: InputConfig) -> Transform:
    """The transform of a store's modality. Raises Misuse where the configuration does not suit it."""
    modality = store.modalities[name]
    return build_transform(config, modality, store.shapes(name) if modality.kind in _OF_FRAMES else None)


def build_transform(config: InputConfig, modality: Any, shapes: np.ndarray | None = None) -> Transform:
    """The transform of clips stored as `modality` says; `shapes`, int64 ``[N, 4]``, are those of all clips, where they
    are video or motion. Raises Misuse where the configuration does not suit them."""
    if config.kind != modality.kind:
        raise Misuse(f"Inputs of kind {config.kind!r} are configured for a modality of kind {modality.kind!r}.")
    framed = config.kind in _OF_FRAMES
    transform = _OF_FRAMES[config.kind] if framed else _TRANSFORMS[config.kind]
    shape = tuple(shapes[0].tolist()) if framed else modality.shape
    if shape is None:
        raise Misuse(
            f"These clips of kind {config.kind!r} differ in shape: prepare them with one shape, or one length."
        )
    if len(shape) not in transform.ranks:
        raise Misuse(f"The kind {config.kind!r} takes {transform.takes}, not clips of shape {shape}.")
    return transform(config, shapes if framed else modality)
