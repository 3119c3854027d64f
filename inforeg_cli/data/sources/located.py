"""One modality of a manifest: where each row's file lies, what its header says, and the shape they must share."""

import os
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

import numpy as np

from inforeg_cli.data import media
from inforeg_cli.data.kinds import (
    AudioSettings,
    FeatureSettings,
    ImageSettings,
    ModalitySettings,
    MotionSettings,
    TextSettings,
    VideoSettings,
)
from inforeg_cli.data.media import MediaError, Unreadable
from inforeg_cli.data.parallel import threaded_map
from inforeg_cli.data.sources.table import Table
from inforeg_cli.data.store import Modality
from inforeg_cli.data.vocabulary import VOCABULARY, Vocabulary


@dataclass(frozen=True)
class Located:
    """By row of the manifest: the raw file, or the row of an array, or else what is wrong with it.

    modality: how the clips will lie in the store; None where nothing sound was found.
    problem:  what is wrong with the modality as a whole.
    ready:    whether the sources are the numbers to store, so that nothing is left to decode.
    files:    what goes into the store beside the clips, by name.
    """

    modality: Modality | None
    sources: Mapping[int, Path | np.ndarray] = field(default_factory=dict)
    errors: Mapping[int, MediaError] = field(default_factory=dict)
    problem: MediaError | None = None
    ready: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)


def locate(
    settings: ModalitySettings,
    table: Table,
    folder: Path,
    given: Sequence[np.ndarray | None] | None,
    train: Container[int],
    workers: int,
) -> Located:
    """No file may lie outside `folder`. `given` are the rows' numbers where they lie in no file of their own; `train`
    the rows that a vocabulary may be built on."""
    if given is not None:
        return _locate_given(settings, given)
    if settings.column is None:
        return _locate_array(settings, table, folder)
    if settings.column not in table.columns:  # the manifest is reported for that
        return Located(None)
    if isinstance(settings, TextSettings):
        return _locate_text(settings, table, folder, train)
    base = os.path.realpath(folder)

    def look(cell: str) -> tuple[Path | None, tuple[int, ...] | None, MediaError | None]:
        try:
            path = inside(base, cell)
            return path, media.look(settings, path), None
        except MediaError as error:
            return None, None, error

    found = zip(
        table.rows, threaded_map(look, [row.cells[settings.column] for row in table.rows], workers), strict=True
    )
    sources, shapes, errors = {}, {}, {}
    for row, (path, shape, error) in found:
        if error is None:
            sources[row.index], shapes[row.index] = path, shape
        else:
            errors[row.index] = error
    if isinstance(settings, VideoSettings | MotionSettings):
        return Located(_frames(settings), sources, errors)
    return _agreed(settings, sources, shapes, errors)


def _frames(settings: VideoSettings | MotionSettings) -> Modality:
    """Clips differ in their number of frames, and may differ in size."""
    rate = {} if settings.fps is None else {"fps": settings.fps}
    if isinstance(settings, MotionSettings):
        return Modality("motion", np.dtype(np.float16), None, settings=rate)
    return Modality("video", np.dtype(np.uint8), None, settings.codec, settings={"mode": settings.mode, **rate})


def _locate_text(settings: TextSettings, table: Table, folder: Path, train: Container[int]) -> Located:
    texts, errors = {}, {}
    for row in table.rows:
        try:
            texts[row.index] = text_of(settings, row.cells[settings.column], os.path.realpath(folder))
        except MediaError as error:
            errors[row.index] = error
    learned = [text for index, text in texts.items() if index in train]
    if not learned:
        none = MediaError("no text stands in train in every split scheme, to build a vocabulary on")
        return Located(None, errors=errors, problem=none)
    vocabulary = Vocabulary.build(learned, settings)
    tokens = {index: vocabulary.encode(text) for index, text in texts.items()}
    length = settings.length or max((len(found) for index, found in tokens.items() if index in train), default=1)
    sources = {index: token_ids(found, length) for index, found in tokens.items()}
    modality = Modality(
        "text",
        np.dtype(np.int32),
        (max(1, length),),
        sequence=True,
        length=max(1, length),
        settings={"tokens": settings.tokens, "vocabulary": vocabulary.size},
    )
    return Located(modality, sources, errors, ready=True, files={VOCABULARY: vocabulary.to_bytes()})


def token_ids(tokens: Sequence[int], length: int) -> np.ndarray:
    """A text as it is stored, int32 ``[1 .. length]``. A sequence has a step at least: of an empty text, the unknown
    token."""
    return np.array(tokens[:length] or [Vocabulary.UNKNOWN], np.int32)


def text_of(settings: TextSettings, cell: str, base: str) -> str:
    """The text that a cell of a manifest in the folder `base` holds, or names the file of. Raises MediaError."""
    return read_text(inside(base, cell)) if settings.files else cell


def read_text(path: Path) -> str:
    """Raises MediaError where the file is not text in UTF-8."""
    media.check_whole(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise MediaError("the text is not UTF-8", f"byte {error.start}") from None
    except OSError as error:
        raise Unreadable("the file cannot be read", error.strerror or "") from None


def _locate_given(settings: FeatureSettings, given: Sequence[np.ndarray | None]) -> Located:
    sources = {index: array for index, array in enumerate(given) if array is not None}
    errors = {index: Unreadable("no features") for index, array in enumerate(given) if array is None}
    return _agreed(settings, sources, {index: array.shape for index, array in sources.items()}, errors)


def inside(base: str, cell: str) -> Path:
    """The file that a manifest in the folder `base` names, symbolic links resolved. Raises MediaError."""
    if not cell:
        raise Unreadable("no file is named")
    if Path(cell).is_absolute() or PureWindowsPath(cell).drive:
        raise MediaError("the path is absolute: name files relative to the manifest's folder")
    try:
        path = os.path.realpath(Path(base, cell))
        if os.path.commonpath([base, path]) != base:
            raise MediaError("the path leaves the manifest's folder", f"to {path}")
        if not Path(path).is_file():
            raise Unreadable("no such file" if not Path(path).exists() else "not a file")
        if not os.access(path, os.R_OK):
            raise Unreadable("the file may not be read")
    except PermissionError:  # its folder's
        raise Unreadable("the file may not be read") from None
    except (ValueError, OSError) as error:  # a NUL in the name, a name too long, a loop of links
        raise Unreadable("no such file", str(error)) from None
    return Path(path)


def _locate_array(settings: FeatureSettings, table: Table, folder: Path) -> Located:
    try:
        path = inside(os.path.realpath(folder), settings.array)
        media.check_whole(path)
        array = media.open_array(path)
        media.check_form(array.shape[1:], f"{list(array.shape)} for all rows")
        if len(array) != table.count:
            detail = f"{settings.array}: {len(array)}, {table.name}: {table.count}"
            raise MediaError("the array and the manifest differ in the number of rows", detail)
    except MediaError as error:
        # The array serves every clip, so none can be spared: --allow-missing has no say here.
        return Located(None, problem=MediaError(error.what, error.detail or settings.array))
    sources = {row.index: array[row.index] for row in table.rows}
    return _agreed(settings, sources, dict.fromkeys(sources, array.shape[1:]), {})


def _agreed(
    settings: AudioSettings | ImageSettings | FeatureSettings,
    sources: Mapping[int, Path | np.ndarray],
    shapes: Mapping[int, tuple[int, ...]],
    errors: Mapping[int, MediaError],
) -> Located:
    """All clips must have the shape that most have; of sequences, all but the number of steps."""
    forms = Counter(_form(settings, shape) for shape in shapes.values())
    if not forms:
        return Located(None, sources, errors)
    common, number = forms.most_common(1)[0]
    hint = ": give the recipe a size" if isinstance(settings, ImageSettings) else ""
    differing = {
        index: MediaError("the shape differs", f"{_shown(form)}, where {number} have {_shown(common)}{hint}")
        for index, shape in shapes.items()
        if (form := _form(settings, shape)) != common
    }
    steps = max(shape[0] for index, shape in shapes.items() if index not in differing)
    try:
        modality = _modality(settings, common, steps)
    except MediaError as error:
        return Located(None, errors={**errors, **differing}, problem=error)
    sound = {index: source for index, source in sources.items() if index not in differing}
    return Located(modality, sound, {**errors, **differing})


def _form(settings: AudioSettings | ImageSettings | FeatureSettings, shape: tuple[int, ...]) -> tuple[int | None, ...]:
    """The shape, less what may differ from clip to clip: the number of steps of a sequence."""
    return (None, *shape[1:]) if isinstance(settings, FeatureSettings) and len(shape) == 2 else shape


def _shown(form: tuple[int | None, ...]) -> str:
    return f"[{', '.join('T' if side is None else str(side) for side in form)}]"


def _modality(
    settings: AudioSettings | ImageSettings | FeatureSettings, form: tuple[int | None, ...], steps: int
) -> Modality:
    match settings:
        case AudioSettings():
            return Modality("audio", np.dtype(np.int16), form, settings={"sample_rate": settings.sample_rate})
        case ImageSettings():
            return Modality("image", np.dtype(np.uint8), form, settings={"mode": settings.mode})
        case FeatureSettings() if form[0] is None:
            length = settings.length or steps
            shape = (length, *form[1:])
            return Modality("features", np.dtype(np.float32), shape, sequence=True, length=length)
        case FeatureSettings():
            if settings.length is not None:
                raise MediaError("length is for sequences", f"these are vectors {_shown(form)}")
            return Modality("features", np.dtype(np.float32), form)
