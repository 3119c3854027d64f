"""What can be wrong with a media file, in words for the person whose file it is."""

from collections.abc import Iterator
from contextlib import contextmanager

UNDECODABLE = "the file cannot be decoded"
CUT = "the file is cut short"
NO_VIDEO = "the file holds no video"
NO_AUDIO = "the file holds no audio"
NO_TIMES = "the video has no timestamps"
NO_MOTION = "the codec has no motion vectors"
LARGE_PICTURE = "the picture is too large"
LARGE_CLIP = "the clip is too large: give the recipe fewer fps or frames, or a smaller size"
NOT_FINITE = "NaN or infinite values"


class MediaError(Exception):
    """`what` is wrong with a file, in words that are the same for every such file, and the `detail` of this one."""

    def __init__(self, what: str, detail: str = ""):
        super().__init__(what, detail)
        self.what, self.detail = what, detail


class Unreadable(MediaError):
    """The file is absent, empty, cut short or cannot be decoded: `--allow-missing` may leave its clip out."""


@contextmanager
def decoding() -> Iterator[None]:
    """Decoders meet damaged and hostile files and raise whatever their parsing runs into, not only their own errors."""
    try:
        yield
    except MediaError:
        raise
    except Exception as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unreadable(UNDECODABLE, said) from error
