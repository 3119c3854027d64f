"""What every source hands over: a dataset's clips, how to decode them, and all that is wrong with the raw files."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inforeg_cli.data.media import MediaError, Unreadable
from inforeg_cli.data.problems import Problems
from inforeg_cli.data.store import Modality
from inforeg_cli.settings import Settings


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


@dataclass
class Plan:
    """What a first look at the raw files found: the clips and the store they will make.

    decoding: the recipe's settings of each modality that must be decoded; the others' numbers are ready.
    inputs:   digest of the manifest and the arrays, to notice that they changed.
    dropped:  clips left out since a file is absent or unreadable, by reason, where that was allowed.
    rejected: clips with problems, and those of their media that may still have others.
    """

    clips: list[Clip]
    modalities: Mapping[str, Modality]
    decoding: Mapping[str, Settings]
    inputs: str
    decoders: Mapping[str, str]
    problems: Problems = field(default_factory=Problems)
    warnings: Problems = field(default_factory=Problems)
    dropped: Counter[str] = field(default_factory=Counter)
    rejected: list[Clip] = field(default_factory=list)

    def reject(self, clip: Clip, errors: Mapping[str, MediaError], allow_missing: bool) -> None:
        """Leave a clip out for what is wrong with its modalities: only counted where that is allowed, else as problems."""
        if allow_missing and all(isinstance(error, Unreadable) for error in errors.values()):
            modality, error = next(iter(errors.items()))
            self.dropped[f"{modality}: {error.what}"] += 1
            return
        self.rejected.append(clip)
        for modality, error in errors.items():
            self.problems.add(clip.place(modality), error.what, error.detail)
