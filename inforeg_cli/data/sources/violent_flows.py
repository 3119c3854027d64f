"""Violent-Flows: clips of crowds in five folders, one a fold, each with a folder a class.

Hassner, Itcher and Kliper-Gross, "Violent Flows: Real-Time Detection of Violent Crowd Behavior", CVPR workshops 2012.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inforeg_cli.data.problems import Problems
from inforeg_cli.data.recipe import ViolentFlowsRecipe
from inforeg_cli.data.sources import Found, Scan
from inforeg_cli.data.sources.table import Row, Table
from inforeg_cli.data.sources.tree import Video, videos
from inforeg_cli.errors import Misuse
from inforeg_cli.files import digest
from inforeg_cli.naming import count

FOLDS = ("1", "2", "3", "4", "5")
#: The split schemes: each tests on one fold.
SCHEMES = {fold: f"fold-{fold}" for fold in FOLDS}
#: The column of both modalities: pictures and motion lie in one file.
VIDEO = "video"
LABEL = "class"
#: By the name of their folder, without case and punctuation.
_CLASSES = {
    "violence": "Violence",
    "violent": "Violence",
    "nonviolence": "NonViolence",
    "nonviolent": "NonViolence",
}  # fmt: skip
_CLIPS = 246
_EXAMPLES = 3


@dataclass(frozen=True)
class _Clip:
    video: Video
    fold: str
    label: str

    @property
    def id(self) -> str:
        """Fold, class and name: names alone need not differ."""
        return f"{self.fold}/{self.label}/{self.name}"

    @property
    def name(self) -> str:
        """Of one that is not UTF-8 the bytes are shown, so that any file can hold it."""
        return self.video.path.stem.encode(errors="surrogateescape").decode(errors="backslashreplace")


def scan(recipe: ViolentFlowsRecipe, raw: Path, splits: Path | None) -> Scan:
    """Raises Misuse where split lists are given: the folds are folders."""
    problems, warnings = Problems(), Problems()
    clips, others = _clips(recipe, raw, splits)
    if others:
        examples = ", ".join(str(video.path) for video in others[:_EXAMPLES])
        said = "outside the folders FOLD/Violence and FOLD/NonViolence, and left out"
        warnings.add(count(len(others), "video"), said, examples)
    _check(clips, problems, warnings)
    return Scan(
        table=_table(clips),
        folder=raw,
        inputs=_digest(clips),
        schemes=tuple(recipe.split or SCHEMES.values()),
        found=_found(clips),
        problems=problems,
        warnings=warnings,
    )


def inputs(recipe: ViolentFlowsRecipe, raw: Path, splits: Path | None) -> str:
    """Names the clips that lie there: no list does. Raises Misuse where the folder cannot be read."""
    return _digest(_clips(recipe, raw, splits)[0])


def _digest(clips: Sequence[_Clip]) -> str:
    return digest(*(clip.id for clip in clips))


def _clips(recipe: ViolentFlowsRecipe, raw: Path, splits: Path | None) -> tuple[list[_Clip], list[Video]]:
    """The clips of the five folds, and the videos that lie in none, such as those in the publisher's sixth folder."""
    if splits is not None:
        raise Misuse(f"--splits: {recipe.name} has no split lists; its folds are the folders {', '.join(FOLDS)}")
    clips, others = [], []
    for video in videos(raw):
        *_, fold, folder, _ = ("", "", *video.path.parts)
        label = _CLASSES.get(re.sub(r"[^a-z]", "", folder.lower()))
        if label and fold in FOLDS:
            clips.append(_Clip(video, fold, label))
        else:
            others.append(video)
    return clips, others


def _check(clips: Sequence[_Clip], problems: Problems, warnings: Problems) -> None:
    there = Counter((clip.fold, clip.label) for clip in clips)
    for fold in FOLDS:
        for label in dict.fromkeys(_CLASSES.values()):
            if not there[fold, label]:
                problems.add(f"folder {fold}/{label}", "there are no videos: the five folds belong together")
    if len(clips) != _CLIPS:
        warnings.add(count(len(clips), "clip"), f"the published set has {_CLIPS}")
    folds: defaultdict[str, set[str]] = defaultdict(set)
    for clip in clips:
        folds[clip.name].add(clip.fold)
    for name, every in folds.items():
        if len(every) > 1:
            said = "a clip of one name stands in several folds, so that it may be both trained and tested on"
            warnings.add(name, said, f"folds {', '.join(sorted(every))}")


def _table(clips: Sequence[_Clip]) -> Table:
    rows = [
        Row(
            index,
            clip.id,
            {
                "id": clip.id,
                LABEL: clip.label,
                VIDEO: str(clip.video.path),
                **{scheme: "test" if clip.fold == fold else "train" for fold, scheme in SCHEMES.items()},
            },
        )
        for index, clip in enumerate(clips)
    ]
    return Table("the folders", ("id", LABEL, VIDEO, *SCHEMES.values()), tuple(rows), len(rows))


def _found(clips: Sequence[_Clip]) -> list[Found]:
    lines = []
    for fold in FOLDS:
        own = [clip for clip in clips if clip.fold == fold]
        violent = sum(clip.label == "Violence" for clip in own)
        size = sum(clip.video.bytes for clip in own)
        lines.append(Found(f"clips in fold {fold}", len(own), size, f"{violent} of them of class Violence"))
    return lines
