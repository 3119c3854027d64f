"""What kinds of data a file holds, as far as its name and header tell."""

from pathlib import Path

from inforeg_cli.data.kinds import ImageSettings
from inforeg_cli.data.media.containers import opened, video_stream
from inforeg_cli.data.media.errors import UNDECODABLE, MediaError, Unreadable
from inforeg_cli.data.media.images import look_image

#: Neither has a header that nothing else could have by chance.
_BY_NAME = {".npy": "features", ".txt": "text"}


def contents(path: Path) -> frozenset[str]:
    """The kinds of modality that can be read from a file: of a video with sound audio, video and motion.

    Raises Unreadable where there is none.
    """
    if kind := _BY_NAME.get(path.suffix.lower()):
        return frozenset([kind])
    found = set()
    try:
        look_image(path, ImageSettings(column=""))
        found.add("image")
    except MediaError:
        pass
    try:
        with opened(path) as container:
            found |= {"audio"} if container.streams.audio else set()
            video_stream(path, container)
            found |= {"video", "motion"}
    except MediaError:
        pass
    if not found:
        raise Unreadable(UNDECODABLE, "neither sound, image nor video")
    return frozenset(found)
