"""Motion without optical flow: the vectors by which a video's codec predicts blocks of pixels from earlier frames."""

from pathlib import Path

import numpy as np
from av.video.frame import PictureType

from inforeg_cli.data.kinds import MotionSettings
from inforeg_cli.data.media.containers import opened
from inforeg_cli.data.media.errors import LARGE_CLIP, NO_MOTION, MediaError
from inforeg_cli.data.media.geometry import Upright
from inforeg_cli.data.media.reel import Reel
from inforeg_cli.data.media.sampling import centres, moments

#: Pixels of a cell's side: MPEG-4 and H.264 predict in macroblocks of this size and parts of them.
CELL = 16
#: A clip's fields may be as many bytes in memory.
MOST_BYTES = 256 * 1024 * 1024


def read_motion(path: Path, settings: MotionSettings) -> np.ndarray:
    """Fields float16 ``[T, 2, H, W]`` in pixels a frame: how far what is seen in a cell has moved right, and down.

    A codec says of a block where in an earlier frame it lies; the motion is the way from there to here (minus FFmpeg's
    ``motion_x / motion_scale``), divided by the frames between the two, and counts for each of these. Which frame it is
    FFmpeg does not export: taken is the last one before that is no B-frame. An H.264 encoder may choose an older one, and
    then the motion comes out too large by as many times. Vectors that point to later frames are left out, and so are
    those of MPEG-4's B-frames, where FFmpeg exports zeros for the blocks that move as in the next frame. A field is the
    mean over all vectors in its 1 / fps seconds, weighted by their blocks' areas; where nothing is predicted (keyframes,
    new content) it is zero. Pixels are the file's, before any change of aspect.

    Raises MediaError where the codec exports no vectors, and what `read_video` raises.
    """
    with opened(path) as container:
        reel = Reel(path, container, motion=True)
        fields = _Fields(settings, reel)
        fields.collect()
        return fields.result()


class _Fields:
    """Sums of the vectors of one reel, by field and cell."""

    def __init__(self, settings: MotionSettings, reel: Reel):
        self._settings, self._reel = settings, reel
        self._cells = tuple(-(-side // CELL) for side in reel.size)
        available = moments(reel.end, settings.fps, reel.tolerance)
        count = min(available, settings.frames or available)
        size = count * max(np.prod(self._cells), np.prod(settings.grid or 1)) * 2 * np.float64().nbytes
        if size > MOST_BYTES:
            raise MediaError(LARGE_CLIP, f"{count} fields, {size / 2**20:.0f} MiB")
        self._places = {int(moment): place for place, moment in enumerate(centres(available, settings.frames))}
        self._sums = np.zeros((count, 2, *self._cells))
        self._areas = np.zeros((count, *self._cells))
        self._upright = Upright()

    def collect(self) -> None:
        """Raises MediaError where no frame after the first has vectors."""
        reel, reference, found = self._reel, None, False
        for number, frame in reel.all_frames():
            if number == 0:
                self._upright = Upright.of(frame)
            vectors = frame.side_data.get("MOTION_VECTORS")
            found = found or vectors is not None
            if vectors is not None and not (frame.pict_type == PictureType.B and reel.codec == "mpeg4"):
                self._add(vectors.to_ndarray(), number if reference is None else reference, number)
            if frame.pict_type != PictureType.B:
                reference = number
        if not found and len(reel.times) > 1:
            raise MediaError(NO_MOTION, reel.codec)

    def result(self) -> np.ndarray:
        means = self._sums / np.maximum(self._areas, 1)[:, None]
        right, down = self._upright.turn_vectors(means[:, 0], means[:, 1])
        fields = self._upright.turn(np.stack([right, down], axis=1))
        if self._settings.grid is not None:
            rows, columns = map(_overlaps, fields.shape[2:], self._settings.grid)
            fields = rows @ fields @ columns.T
        largest = np.finfo(np.float16).max
        return np.ascontiguousarray(fields.clip(-largest, largest), dtype=np.float16)

    def _add(self, vectors: np.ndarray, reference: int, number: int) -> None:
        """The vectors of a frame, which lead from another to it."""
        moments = (self._reel.times[reference + 1 : number + 1] + self._reel.tolerance) * self._settings.fps
        places = [self._places[moment] for moment in moments.astype(int).tolist() if moment in self._places]
        if not places:
            return
        vectors = vectors[(vectors["source"] < 0) & (vectors["motion_scale"] > 0)]
        rows, columns = self._cells
        # The block's centre; parts of blocks may lie beyond the picture's edge.
        row = np.clip(vectors["dst_y"] // CELL, 0, rows - 1).astype(np.intp)
        column = np.clip(vectors["dst_x"] // CELL, 0, columns - 1).astype(np.intp)
        cell = row * columns + column
        area = vectors["w"].astype(np.float64) * vectors["h"]
        share = area / (vectors["motion_scale"] * float(number - reference))
        right, down, areas = (
            np.bincount(cell, weights, rows * columns).reshape(rows, columns)
            for weights in (-vectors["motion_x"] * share, -vectors["motion_y"] * share, area)
        )
        for place in places:
            self._sums[place] += right, down
            self._areas[place] += areas


def _overlaps(cells: int, wanted: int) -> np.ndarray:
    """``[wanted, cells]``: the share that each cell has in each of `wanted` equal stretches over all of them."""
    edges = np.arange(wanted + 1) * (cells / wanted)
    left = np.maximum(edges[:-1, None], np.arange(cells))
    right = np.minimum(edges[1:, None], np.arange(1, cells + 1))
    return np.maximum(right - left, 0) * (wanted / cells)
