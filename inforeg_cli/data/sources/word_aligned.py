"""CMU-MOSI's computational sequences, cut into scored segments and aligned to the words."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from inforeg_cli.data.sources import csd
from inforeg_cli.data.sources.segments import Cleaning, Segment, Segments, numbers
from inforeg_cli.errors import Misuse
from inforeg_cli.naming import count


def read(scores: Path, files: Mapping[str, Path], words: str, split_of: Mapping[str, str], segments: Segments) -> None:
    """Add the segments that `scores` lists, with the sequences of `files`, by modality.

    A segment's steps are its words: the steps of the modality `words` whose middle lies in it. Each other modality has,
    for each word, the mean of the steps whose middle lies in the word, or zeros. `split_of` tells the split of the
    videos that are not in train. Raises Misuse where a file is damaged.
    """
    cleaning = {name: Cleaning() for name in files}
    wordless = 0
    with ExitStack() as stack:
        listed = stack.enter_context(csd.opened(scores))
        opened = {name: stack.enter_context(csd.opened(path)) for name, path in files.items()}
        for video in listed.videos:
            opinions = listed[video]
            if opinions.features.shape[1] != 1:
                raise Misuse(f"{scores}: video {video} has {opinions.features.shape[1]} scores a segment")
            steps = {name: _steps(sequence, video, cleaning[name]) for name, sequence in opened.items()}
            rows = zip(opinions.intervals.tolist(), opinions.features[:, 0].tolist(), strict=True)
            for index, ((begin, end), score) in enumerate(rows):
                spoken = steps[words] and steps[words].within(begin, end)
                if spoken is None or not spoken.features.any():
                    wordless += 1
                    continue
                split = split_of.get(video, "train")
                segments.rows.append(
                    Segment(f"{video}_{index}", f"{video} segment {index}", video, split, float(score))
                )
                for name, arrays in segments.arrays.items():
                    own = spoken.features if name == words else steps[name] and steps[name].averaged(spoken.intervals)
                    arrays.append(None if own is None else cleaning[name].stripped(own))
    if wordless:
        segments.warnings.add(count(wordless, "segment"), "without words, and left out")
    for name, done in cleaning.items():
        done.tell(files[name].name, segments.warnings)


def _steps(sequence: csd.ComputationalSequence, video: str, cleaning: Cleaning) -> csd.Steps | None:
    """A video's steps in the order of time, finite; None where the sequence lacks it."""
    if video not in sequence:
        return None
    found = sequence[video].sorted()
    return replace(found, features=cleaning.finite(numbers(found.features, f"{sequence.path}: video {video}")))
