"""Feature arrays in .npy files."""

from pathlib import Path

import numpy as np

from inforeg_cli.data.kinds import FeatureSettings
from inforeg_cli.data.media.errors import NOT_FINITE, MediaError, decoding


def features(array: np.ndarray, settings: FeatureSettings) -> np.ndarray:
    """float32 ``[D]`` or, cut to the recipe's length, ``[T, D]``."""
    values = array[: settings.length] if array.ndim == 2 else array
    with np.errstate(over="ignore"), decoding():
        values = np.ascontiguousarray(values, dtype=np.float32)
    wrong = values.size - int(np.count_nonzero(np.isfinite(values)))
    if wrong:
        raise MediaError(NOT_FINITE, f"{wrong} of {values.size}")
    return values


def open_array(path: Path) -> np.ndarray:
    """The numbers in a .npy file, memory-mapped, not read."""
    with decoding():
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise MediaError("not a .npy file of one array")
    if array.dtype.kind not in "fiub":
        raise MediaError("the array does not hold real numbers", f"dtype {array.dtype}")
    return array


def check_form(shape: tuple[int, ...], shown: str) -> None:
    """Raises MediaError unless a clip's features are a vector ``[D]`` or a sequence ``[T, D]``."""
    if len(shape) not in (1, 2):
        raise MediaError("the features are neither vectors [D] nor sequences [T, D]", f"shape {shown}")
    if 0 in shape:
        raise MediaError("the array is empty", f"shape {shown}")
