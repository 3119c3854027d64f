"""What every source hands over: the table of a dataset's clips, and the plan that a first look at their files makes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inforeg_cli.data.media import MediaError, Unreadable
from inforeg_cli.data.problems import Problems
from inforeg_cli.data.sources.table import Table
from inforeg_cli.data.store import Modality
from inforeg_cli.settings import Settings


@dataclass(frozen=True)
class Found:
    """A line of what was found in the raw files: how many of what, of how many bytes, and a remark."""

    what: str
    count: int
    bytes: int | None = None
    remark: str = ""


@dataclass
class Scan:
    """A dataset's clips as its publisher's layout tells them, before any of their files is opened.

    table:   one row a clip, with the columns that the recipe names: id, labels, split schemes, group, and for each
             modality its files (relative to `folder`) or texts. An empty cell of a split scheme: not in that scheme's
             lists, so it is carved.
    folder:  no file may lie outside it.
    inputs:  digest of manifest, lists and arrays, to notice that they changed.
    arrays:  by modality, the numbers of each row where they do not lie in a file of their own; None where one lacks.
    schemes: the split schemes there are now; those of the recipe that lack their lists are left out.
    keep:    published lists that were fetched or given, with the paths at which a later look finds them.
    """

    table: Table
    folder: Path
    inputs: str
    schemes: Sequence[str]
    arrays: Mapping[str, Sequence[np.ndarray | None]] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)
    warnings: Problems = field(default_factory=Problems)
    keep: Mapping[Path, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Clip:
    """One clip: its class in each label column, its split (train, val, test) in each scheme, the group it belongs to,
    and for each modality the raw file or the numbers themselves.

    For messages: `where` the clip is written, and how each modality's file is `named` there.
    """

    id: str
    labels: Mapping[str, str]
    splits: Mapping[str, str]
    group: str | None = None
    media: Mapping[str, Path | np.ndarray] = field(default_factory=dict)
    where: str = ""
    named: Mapping[str, str] = field(default_factory=dict)

    def place(self, modality: str) -> str:
        """Where the modality of this clip is written, for messages."""
        return f"{self.where or self.id}, {modality} {self.named.get(modality, '')}".rstrip()


@dataclass(frozen=True)
class Failure:
    """What is wrong with one modality's file of a clip. `missing`: it is absent, empty, cut or cannot be decoded, so
    that --allow-missing may leave the clip out; anything else must be mended."""

    clip: Clip
    modality: str
    what: str
    detail: str
    missing: bool

    @classmethod
    def of(cls, clip: Clip, modality: str, error: MediaError) -> "Failure":
        return cls(clip, modality, error.what, error.detail, isinstance(error, Unreadable))


@dataclass
class Plan:
    """What a first look at the raw files found: the clips to decode and the store they will make.

    clips:       in the order they are stored; their files look sound so far.
    decoding:    the recipe's settings of each modality that must be decoded; the others' numbers are ready.
    classes:     of each label column, in their order, where the recipe fixes it.
    failures:    of clips whose files are already seen to be absent or wrong; these clips are not in `clips`.
    problems:    what makes the whole impossible until it is mended, such as an unknown label.
    attachments: files that go into the store beside the modalities, by name, such as a vocabulary.
    size:        bytes of the store, once they are estimated.
    odd:         why a clip is known to be odd, by id: its audio may be silent, or hold nothing.
    """

    clips: list[Clip]
    modalities: Mapping[str, Modality]
    decoding: Mapping[str, Settings]
    inputs: str
    decoders: Mapping[str, str]
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)
    warnings: Problems = field(default_factory=Problems)
    found: list[Found] = field(default_factory=list)
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    odd: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None

    def wrong(self) -> Problems:
        """The problems and the failures, to be told together."""
        told = Problems()
        told.extend(self.problems)
        for failure in self.failures:
            told.add(failure.clip.place(failure.modality), failure.what, failure.detail)
        return told
