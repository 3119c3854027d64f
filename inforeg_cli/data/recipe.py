"""What a dataset is: which files and columns, which modalities of which kind, which splits."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from inforeg_cli.data.kinds import ModalitySettings, VideoSettings
from inforeg_cli.errors import Misuse
from inforeg_cli.files import canonical_json, digest
from inforeg_cli.settings import Settings

#: Raised when the same recipe and the same files would give other bytes than before: every store is then out of date.
PREPARATION_VERSION = 1

#: What a recipe says to people, or about places: no prepared byte depends on it.
_FOR_PEOPLE = frozenset({"name", "origin", "licence", "download_size", "get", "manifest", "lists_url"})

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

Fraction = Annotated[float, Field(gt=0, lt=1)]
Columns = Annotated[list[str], Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Splits(Settings):
    """How missing splits are carved: shares of the clips that carving starts from, and the seed that orders them."""

    val: Fraction = 0.15
    test: Fraction = 0.15
    seed: int = 0

    @model_validator(mode="after")
    def _leave_train(self) -> "Splits":
        if self.val + self.test >= 1:
            raise ValueError(f"val {self.val} and test {self.test} leave nothing to train on")
        return self


class Recipe(Settings):
    """What every recipe says. For people: `origin` tells where the raw data comes from, with its `licence` and
    `download_size`, and `get` the commands that fetch it into the folder RAW."""

    name: str
    source: str
    origin: str = ""
    licence: str = ""
    download_size: str = ""
    get: tuple[str, ...] = ()
    splits: Splits = Splits()

    @field_validator("name")
    @classmethod
    def _usable_as_folder(cls, value: str) -> str:
        if not _SLUG.fullmatch(value):
            raise ValueError("use lower-case letters, digits, '-', '_' and '.', at most 63, a letter or digit first")
        return value

    @property
    def digest(self) -> str:
        """Names everything in the recipe that can change the prepared bytes; not its name, place or origin."""
        content = self.model_dump(mode="json", exclude=_FOR_PEOPLE)
        # The order of the modalities matters to some fusions, and a sorted dictionary would forget it.
        content["modalities"] = list(content.get("modalities", {}).items())
        return digest(canonical_json({"preparation": PREPARATION_VERSION, **content}))


class TableRecipe(Recipe):
    """A dataset whose clips make a table, one row a clip.

    `labels` are the columns to classify by, the first by default, and `classes` fixes the order of a column's classes
    and that there are no others; `split` names one column a split scheme (default: the column "split" if there is one;
    missing splits are carved); clips that share a value of the column `group` are kept together when splits are carved.
    `odd` says of clips, by id, what is known to be odd about them: their audio may be silent or hold nothing.
    """

    labels: Columns = Field(["label"])
    classes: dict[str, Columns] = Field({})
    split: Columns | None = None
    group: str | None = None
    odd: dict[str, str] = Field({})
    modalities: dict[str, ModalitySettings] = Field(min_length=1)

    @field_validator("labels", "split", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> "TableRecipe":
        if self.name == "digits":
            raise ValueError("the name 'digits' belongs to the embedded dataset: choose another")
        columns = [*self.labels, *(self.split or [])]
        if len(set(columns)) != len(columns):
            raise ValueError("a column is named twice among labels and split")
        if unknown := set(self.classes) - set(self.labels):
            raise ValueError(f"classes are given for {', '.join(sorted(unknown))}, no column of labels")
        return self

    @property
    def columns(self) -> dict[str, str]:
        """The column of file names, or of texts, of each modality that has one."""
        return {name: settings.column for name, settings in self.modalities.items() if settings.column is not None}

    @property
    def arrays(self) -> dict[str, str]:
        """The array of each modality that lies in one file."""
        return {name: settings.array for name, settings in self.modalities.items() if name not in self.columns}

    def with_frames(self, codec: str) -> "TableRecipe":
        """The same recipe with all video frames stored as `codec`. Raises Misuse where there are none."""
        videos = {name: settings for name, settings in self.modalities.items() if isinstance(settings, VideoSettings)}
        if not videos:
            raise Misuse(f"--frames {codec}: {self.name} has no modality of kind 'video'")
        changed = {name: settings.model_copy(update={"codec": codec}) for name, settings in videos.items()}
        return self.model_copy(update={"modalities": {**self.modalities, **changed}})


class ManifestRecipe(TableRecipe):
    """Your own data: a CSV `manifest` beside the recipe with one row a clip."""

    source: Literal["manifest"] = "manifest"
    manifest: str = "manifest.csv"


class CremaDRecipe(TableRecipe):
    """CREMA-D as its repository lays it out. The scheme ``paper`` has published `lists`, by file name the SHA-256 of
    each, and `lists_url` is the folder they can be fetched from; ``speaker`` keeps the clips of an actor together."""

    source: Literal["crema-d"]
    labels: Columns = Field(["emotion"])
    split: list[Literal["paper", "speaker"]] = Field(["paper", "speaker"], min_length=1)
    group: Literal["actor"] = "actor"
    lists: dict[Literal["train.csv", "test.csv"], Sha256] = Field(min_length=2)
    lists_url: str = Field(pattern="^https://")


class KineticsSoundsRecipe(TableRecipe):
    """A tree of videos named by YouTube id, start and end, and a list file for each of the splits in `lists`, which are
    published at `lists_url`."""

    source: Literal["kinetics-sounds"]
    lists: dict[Literal["train", "val", "test"], str] = Field(min_length=1)
    lists_url: str = ""


class CmuMosiRecipe(TableRecipe):
    """CMU-MOSI as aligned sequences: the first of the `pickles` that is there, whose keys are the modalities; else the
    computational sequences that the modalities' `array` name, as file names or patterns, and the file of `scores`;
    all are then aligned to the steps of the modality `words`.
    `folds` are the standard folds' videos of val and test, for those; train is the rest."""

    source: Literal["cmu-mosi"]
    pickles: Columns
    scores: str
    words: str
    folds: dict[Literal["val", "test"], list[str]]

    @model_validator(mode="after")
    def _arrays_only(self) -> "CmuMosiRecipe":
        if other := {*self.modalities} - {*self.arrays}:
            raise ValueError(f"{', '.join(sorted(other))}: modalities here are of kind 'features' and have an array")
        return self


class HatefulMemesRecipe(TableRecipe):
    """Lists in JSON lines and the images that they name. `lists` are each split's possible names, of which the first
    that is there is taken."""

    source: Literal["hateful-memes"]
    lists: dict[Literal["train", "val", "test"], Columns]


class ViolentFlowsRecipe(TableRecipe):
    """AVI clips in five folders, one a fold, each with a folder a class; the schemes fold-1 to fold-5 test on one each."""

    source: Literal["violent-flows"]


class DigitsRecipe(Recipe):
    """The embedded default: scikit-learn's handwritten digits, each with the telephone tone pair of its digit.

    `tone_to_noise_db` is the power of the tone pair over the noise's, in decibels; `image_noise` the standard
    deviation of the image noise, in standard deviations of all pixels; `seed` draws both noises and the phases.
    """

    source: Literal["digits"]
    tone_to_noise_db: float = Field(-6.0, ge=-60, le=60)
    image_noise: float = Field(2.0, ge=0, le=100)
    seconds: float = Field(0.1, ge=0.001, le=10)
    seed: int = Field(0, ge=0)
