"""Which of a video's frames are kept."""

import numpy as np


def moments(end: float, fps: float, tolerance: float) -> int:
    """How many of the moments 0, 1 / fps, 2 / fps, ... seconds lie before `end`; the first always does."""
    return max(1, int(np.ceil((end - tolerance) * fps)))


def centres(available: int, most: int | None) -> np.ndarray:
    """Of `available` things in a row at most `most`, evenly spaced: the centres of as many equal segments."""
    if most is None or available <= most:
        return np.arange(available)
    return (2 * np.arange(most, dtype=np.int64) + 1) * available // (2 * most)


def shown(times: np.ndarray, moments: np.ndarray, tolerance: float) -> np.ndarray:
    """Which frame is shown at each of the `moments` (seconds): the last whose time, of the ascending `times`, is not
    later. Times are rounded to a container's ticks, so one that is later by no more than `tolerance` counts."""
    return np.maximum(np.searchsorted(times, moments + tolerance, side="right") - 1, 0)
