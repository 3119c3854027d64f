"""CMU-MOSI: spoken opinions with a score from -3 to 3, as sequences of text, audio and vision features.

Zadeh et al., "MOSI: Multimodal Corpus of Sentiment Intensity and Subjectivity Analysis in Online Opinion Videos", 2016
(https://arxiv.org/abs/1606.06259): 2,199 segments of 93 videos. Two forms circulate, and both are read: MultiBench's
pickles, aligned and split, and the computational sequences of the CMU Multimodal SDK, which are aligned here.
"""

import fnmatch
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from inforeg_cli.data.problems import Problems
from inforeg_cli.data.recipe import CmuMosiRecipe
from inforeg_cli.data.sources import Found, Scan, multibench
from inforeg_cli.data.sources.lists import files_digest
from inforeg_cli.data.sources.segments import Segment, Segments
from inforeg_cli.data.sources.table import Row, Table
from inforeg_cli.data.store import SPLITS
from inforeg_cli.errors import Misuse
from inforeg_cli.naming import count

#: The split scheme of the pickles, and of the SDK's standard folds.
SCHEME = "standard"
GROUP = "video"
BINARY, SEVEN = "sentiment", "sentiment7"
#: The farthest that a score lies from 0; a mean in float32 may exceed it by rounding.
_MOST, _ROUNDING = 3, 1e-3
#: What the files are, beside the modalities.
_PICKLE, _SCORES = "pickle", "scores"
_EXAMPLES = 8


def scan(recipe: CmuMosiRecipe, raw: Path, splits: Path | None) -> Scan:
    """Raises Misuse where there is neither form, or one that is damaged."""
    if splits is not None:
        raise Misuse(f"--splits: {recipe.name} has no split lists; its folds stand in the pickles and in the recipe")
    files = _files(recipe, raw)
    segments = Segments({name: [] for name in recipe.modalities})
    if _PICKLE in files:
        multibench.read(files[_PICKLE], segments)
        if left := [name for name in recipe.pickles if name != files[_PICKLE].name and (raw / name).is_file()]:
            segments.warnings.add(", ".join(left), "not read", f"{files[_PICKLE].name} comes first in the recipe")
    else:
        from inforeg_cli.data.sources import word_aligned  # h5py takes a while to import

        split_of = {video: split for split, videos in recipe.folds.items() for video in videos}
        sequences = {name: files[name] for name in recipe.modalities}
        word_aligned.read(files[_SCORES], sequences, recipe.words, split_of, segments)
    problems = Problems()
    return Scan(
        table=_table(" and ".join(path.name for path in files.values()), segments.rows, problems),
        folder=raw,
        inputs=files_digest(files),
        schemes=tuple(recipe.split or (SCHEME,)),
        arrays=segments.arrays,
        found=_found(files, segments.rows),
        problems=problems,
        warnings=segments.warnings,
    )


def inputs(recipe: CmuMosiRecipe, raw: Path, splits: Path | None) -> str:
    """Names the pickle, or all sequences and the scores."""
    return files_digest(_files(recipe, raw))


def _files(recipe: CmuMosiRecipe, raw: Path) -> dict[str, Path]:
    """The first of the recipe's pickles; or each modality's sequence, and the scores."""
    try:
        there = sorted(entry.name for entry in os.scandir(raw) if entry.is_file())
    except OSError as error:
        raise Misuse(f"{raw}: cannot be read: {error.strerror}") from None
    for name in recipe.pickles:
        if name in there:
            return {_PICKLE: raw / name}
    if recipe.words not in recipe.arrays:
        raise Misuse(
            f"{recipe.name}: sequences are aligned to the words, so the recipe needs a modality {recipe.words!r}"
        )
    files, missing = {}, []
    for what, pattern in {**recipe.arrays, _SCORES: recipe.scores}.items():
        fitting = [name for name in there if fnmatch.fnmatchcase(name, pattern)]
        if len(fitting) > 1:
            raise Misuse(f"{raw} holds {', '.join(fitting)}: keep one of them, or name it for {what} in the recipe")
        if fitting:
            files[what] = raw / fitting[0]
        else:
            missing.append(f"{pattern} ({what})")
    if not missing:
        return files
    shown = ", ".join([*there[:_EXAMPLES], *(["..."] if len(there) > _EXAMPLES else [])]) or "no file"
    raise Misuse(
        f"{raw} holds {shown}: needed is a pickle ({' or '.join(recipe.pickles)}), or all sequences; "
        f"missing is {', '.join(missing)}"
    )


def _table(name: str, segments: Sequence[Segment], problems: Problems) -> Table:
    if not segments:
        raise Misuse(f"{name}: no segment has both words and a score")
    rows = []
    for index, segment in enumerate(segments):
        if not abs(segment.score) <= _MOST + _ROUNDING:  # NaN, too
            problems.add(segment.where, f"the score does not lie between -{_MOST} and {_MOST}", f"{segment.score:g}")
        cells = {"id": segment.id, GROUP: segment.video, SCHEME: segment.split}
        rows.append(Row(index, segment.where, {**cells, BINARY: binary(segment.score), SEVEN: seven(segment.score)}))
    return Table(name, ("id", GROUP, SCHEME, BINARY, SEVEN), tuple(rows), len(rows))


def binary(score: float) -> str:
    """As MultiBench's classification: what is not above 0 is negative."""
    return "positive" if score > 0 else "negative"


def seven(score: float) -> str:
    """The nearest whole number, halves away from 0."""
    nearest = math.floor(min(abs(score), _MOST) + 0.5) if math.isfinite(score) else 0
    return f"-{nearest}" if score < 0 and nearest else str(nearest)


def _found(files: Mapping[str, Path], segments: Sequence[Segment]) -> list[Found]:
    lines = [Found(path.name, 1, path.stat().st_size, what) for what, path in files.items()]
    for split in SPLITS:
        own = [segment for segment in segments if segment.split == split]
        videos = {segment.video for segment in own}
        lines.append(Found(f"segments in {split}", len(own), None, f"of {count(len(videos), 'video')}"))
    return lines
