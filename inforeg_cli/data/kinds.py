"""The kinds of data that a modality can be, and what a recipe says about each."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from inforeg_cli.settings import Settings

#: How frames can lie in a store.
FRAME_CODECS = ("raw", "jpeg")


class AudioSettings(Settings):
    """Any file PyAV decodes, as mono at `sample_rate` Hz, exactly `seconds` long: longer is cut, shorter is
    repeated (``fit = "tile"``, as the papers do) or ended with silence (``"pad"``)."""

    kind: Literal["audio"] = "audio"
    column: str
    sample_rate: int = Field(ge=1000, le=384_000)
    seconds: float = Field(gt=0, le=3600)
    fit: Literal["tile", "pad"] = "tile"

    @property
    def samples(self) -> int:
        return max(1, round(self.sample_rate * self.seconds))


class _Sized(Settings):
    @field_validator("size", check_fields=False)
    @classmethod
    def _sensible(cls, value: Any) -> Any:
        if value and not all(1 <= side <= 8192 for side in (value if isinstance(value, tuple) else (value,))):
            raise ValueError("each side must lie between 1 and 8192 pixels")
        return value


class ImageSettings(_Sized):
    """Any file Pillow opens, as ``[C, H, W]``: `mode` L (grey) or RGB, stretched to `size` (one number, or height
    and width) where it is given; without it all images must have one size."""

    kind: Literal["image"] = "image"
    column: str
    mode: Literal["L", "RGB"] = "RGB"
    size: tuple[int, int] | None = None

    @field_validator("size", mode="before")
    @classmethod
    def _square(cls, value: Any) -> Any:
        return (value, value) if isinstance(value, int) else value


class VideoSettings(_Sized):
    """Any file PyAV decodes, as frames ``[T, C, H, W]``, upright as the file's rotation flag says.

    Kept are the frames shown at 0, 1 / fps, 2 / fps, ... seconds (without `fps`: all), and of these at most `frames`,
    evenly spaced. `size`: one number is the shorter side, the aspect being kept; two are height and width. `codec`:
    ``raw`` pixels, or ``jpeg`` of `quality`.
    """

    kind: Literal["video"] = "video"
    column: str
    mode: Literal["L", "RGB"] = "RGB"
    fps: float | None = Field(None, gt=0, le=1000)
    frames: int | None = Field(None, ge=1)
    size: int | tuple[int, int] | None = None
    codec: Literal["raw", "jpeg"] = "raw"
    quality: int = Field(95, ge=1, le=100)


class MotionSettings(Settings):
    """The motion vectors of a video's codec as ``[T, 2, H, W]``, right and down, in pixels a frame.

    One field for each 1 / fps seconds, the mean over the frames in it; at most `frames` fields, evenly spaced. One
    cell for each 16 x 16 pixels of the video, averaged to `grid` (rows, columns) where that is given. Only codecs that
    predict frames from frames have such vectors (MPEG-4, H.264; not Motion JPEG).
    """

    kind: Literal["motion"] = "motion"
    column: str
    fps: float = Field(gt=0, le=1000)
    frames: int | None = Field(None, ge=1)
    grid: tuple[int, int] | None = None


class FeatureSettings(Settings):
    """Ready vectors ``[D]`` or sequences ``[T, D]``: a `column` of .npy paths, or one `array` whose row i belongs to
    the manifest's row i. Sequences are zero-padded to `length` steps (default: the longest) and cut where longer."""

    kind: Literal["features"] = "features"
    column: str | None = None
    array: str | None = None
    length: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_origin(self) -> "FeatureSettings":
        if (self.column is None) == (self.array is None):
            raise ValueError("give either column or array, not both")
        return self


class TextSettings(Settings):
    """A `column` of text, or with ``files = true`` of UTF-8 text files, as token ids: 0 pads, 1 stands for the unknown.

    The vocabulary is built on the clips that stand in train in every split scheme: of words (letters and digits, or
    one other character), those that occur at least `least` times, or of byte pairs. It has at most `vocabulary`
    entries. Texts are cut to `length` tokens (default: the longest in train).
    """

    kind: Literal["text"] = "text"
    column: str
    files: bool = False
    tokens: Literal["word", "bpe"] = "word"
    vocabulary: int = Field(10_000, ge=8, le=1_000_000)
    least: int = Field(1, ge=1)
    length: int | None = Field(None, ge=1, le=100_000)
    lowercase: bool = True


ModalitySettings = Annotated[
    AudioSettings | ImageSettings | VideoSettings | MotionSettings | FeatureSettings | TextSettings,
    Field(discriminator="kind"),
]
KINDS: dict[str, type[Settings]] = {
    "audio": AudioSettings,
    "image": ImageSettings,
    "video": VideoSettings,
    "motion": MotionSettings,
    "features": FeatureSettings,
    "text": TextSettings,
}
