"""Decoding: sound and video with PyAV, images with Pillow, arrays with NumPy; nothing else opens media.

`look` reads no more than headers, `read` decodes. Both raise MediaError, in words for the person whose file it is.
"""

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
import PIL

from inforeg_cli.data.kinds import (
    AudioSettings,
    FeatureSettings,
    ImageSettings,
    MotionSettings,
    TextSettings,
    VideoSettings,
)
from inforeg_cli.data.media.arrays import check_form, features, open_array
from inforeg_cli.data.media.contents import contents
from inforeg_cli.data.media.errors import MediaError, Unreadable
from inforeg_cli.data.media.images import image, look_image
from inforeg_cli.data.media.lfs import is_lfs_pointer, pointer
from inforeg_cli.data.media.motion import read_motion
from inforeg_cli.data.media.sound import SILENCE, audio, look_wav, silent, to_int16
from inforeg_cli.data.media.video import probe, read_video
from inforeg_cli.data.store import Encoded, Modality

__all__ = [
    "SILENCE",
    "MediaError",
    "Unreadable",
    "audio",
    "check_form",
    "check_shape",
    "check_whole",
    "contents",
    "features",
    "image",
    "is_lfs_pointer",
    "look",
    "open_array",
    "pointer",
    "probe",
    "read",
    "read_motion",
    "read_video",
    "silent",
    "to_int16",
    "versions",
]

DecodedSettings = AudioSettings | ImageSettings | VideoSettings | MotionSettings | FeatureSettings


def look(settings: DecodedSettings | TextSettings, path: Path) -> tuple[int, ...] | None:
    """Check a file's header, and tell the shape that its clip will have (of a sequence, before it is cut or padded);
    None where only decoding tells: of video, motion and text."""
    check_whole(path)
    match settings:
        case AudioSettings():
            look_wav(path)
            return (settings.samples,)
        case ImageSettings():
            return look_image(path, settings)
        case FeatureSettings():
            shape = open_array(path).shape
            check_form(shape, str(list(shape)))
            return shape
    return None


def read(settings: DecodedSettings, source: Path | np.ndarray) -> np.ndarray | Encoded:
    """The clip as it is stored: audio int16 ``[samples]``, image uint8 ``[C, H, W]``, video uint8 ``[T, C, H, W]`` or
    these encoded, motion float16 ``[T, 2, H, W]``, features float32."""
    match settings:
        case AudioSettings():
            return to_int16(audio(source, settings))
        case ImageSettings():
            return image(source, settings)
        case VideoSettings():
            return read_video(source, settings)
        case MotionSettings():
            return read_motion(source, settings)
        case FeatureSettings():
            return features(source if isinstance(source, np.ndarray) else open_array(source), settings)


def check_whole(path: Path) -> None:
    """Raises Unreadable for an empty file and for what Git LFS leaves where it has not fetched the file."""
    with path.open("rb") as handle:
        start = handle.read(64)
    if not start:
        raise Unreadable("the file is empty")
    if is_lfs_pointer(start):
        raise Unreadable("the file is a Git LFS pointer, not the recording itself: fetch it with `git lfs pull`")


def check_shape(array: np.ndarray | Encoded, modality: Modality) -> None:
    """Raises MediaError where a decoded clip is not as its header said."""
    if modality.shape is None:
        return
    expected = (array.shape[0], *modality.shape[1:]) if modality.sequence else modality.shape
    if array.shape != expected or (modality.sequence and array.shape[0] > modality.length):
        raise MediaError("the shape differs", f"{list(array.shape)} instead of {list(modality.shape)}")


def versions(kinds: Iterable[str]) -> dict[str, str]:
    """Of what decodes these kinds, so that a store says what made it. Besides the recipe's kinds there is ``jpeg``, for
    frames stored so."""
    libraries = {name: ".".join(map(str, version)) for name, version in sorted(av.library_versions.items())}
    ffmpeg, pillow = {"av": av.__version__, **libraries}, {"pillow": PIL.__version__}
    decoders = {"audio": ffmpeg, "video": ffmpeg, "motion": ffmpeg, "image": pillow, "jpeg": pillow}
    found = {"numpy": np.__version__}
    for kind in kinds:
        found |= decoders.get(kind, {})
    return found
