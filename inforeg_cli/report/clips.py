"""What runs said of each test clip, and their scores in resamples of those clips, which intervals over clips are made of."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inforeg_cli.errors import InforegError, first_line
from inforeg_cli.report import statistics
from inforeg_cli.report.runs import Run

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Said:
    """Of N clips in the order of their `ids`: `labels` ``[N]``, and by output the probabilities ``[N, C]``."""

    ids: tuple[str, ...]
    labels: np.ndarray
    outputs: dict[str, np.ndarray]


class Wanted(NamedTuple):
    """A score of a run: `output` is ``fused``, ``head.<modality>`` or ``own_head.<modality>``."""

    run: Run
    output: str
    metric: str


def read(path: Path) -> Said:
    """The predictions file of a run. Raises InforegError where it is absent, damaged, or lacks what it should hold."""
    import pyarrow.parquet as parquet

    try:
        table = parquet.ParquetFile(path).read(use_threads=False)
    except FileNotFoundError:
        raise InforegError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise InforegError(f"{path} cannot be read: {first_line(error)}") from None
    columns: dict[str, list[str]] = {}
    for name in table.column_names:
        if re.fullmatch(r".+\.\d+", name):
            columns.setdefault(name.rpartition(".")[0], []).append(name)
    if not {"id", "label"} <= {*table.column_names} or "fused" not in columns:
        raise InforegError(f"{path} lacks columns id, label or fused.0, ...")
    ids = table["id"].to_pylist()
    if len({*ids}) != len(ids):
        raise InforegError(f"{path} has clips twice")
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=int)
    outputs = {
        output: np.column_stack([_array(table, f"{output}.{index}") for index in range(len(names))])[order]
        for output, names in columns.items()
        if {*names} == {f"{output}.{index}" for index in range(len(names))}
    }
    return Said(tuple(ids[index] for index in order), _array(table, "label")[order], outputs)


def _array(table: "pyarrow.Table", name: str) -> np.ndarray:
    """A column of numbers. Pyarrow's own way there would import pandas, which takes as long as all the rest."""
    return np.from_dlpack(table[name].combine_chunks())


class ResampledScores:
    """Scores of runs at one of their epochs (``best``, ``last``, ``test-best``) in each resample of the test clips.

    All runs on the same clips share the resamples, so their differences are paired. What is asked for is made at once.
    """

    def __init__(self, epoch: str):
        self._epoch = epoch
        self._said: dict[Path, Said] = {}
        self._made: dict[tuple[Path, str, str], np.ndarray] = {}

    def make(self, wanted: Iterable[Wanted]) -> list[str]:
        """Have these scores at hand. Returns what stood in the way of some."""
        problems, by_clips = {}, {}
        for one in wanted:
            if _key(one) in self._made or one.run.path in problems:
                continue
            try:
                said = self._of(one.run)
            except InforegError as error:
                problems[one.run.path] = str(error)
                continue
            if one.output in said.outputs and len(said.ids) > 1:
                by_clips.setdefault(said.ids, []).append(one)
        for clips, some in by_clips.items():
            scores = [_Score(self._said[one.run.path], one) for one in some]
            columns = np.hstack([score.columns for score in scores])  # of zeros and ones: float32 counts them exactly
            ends = np.cumsum([score.columns.shape[1] for score in scores])
            parts = []
            for counts in statistics.resamples_of(len(clips), np.float32):
                sums = np.split(counts @ columns, ends[:-1], axis=1)  # one product for all runs
                parts.append([score.of(own, counts) for score, own in zip(scores, sums, strict=True)])
            for one, values in zip(some, zip(*parts, strict=True), strict=True):
                self._made[_key(one)] = np.concatenate(values)
        return list(problems.values())

    def difference(self, ours: Sequence[Wanted], theirs: Sequence[Wanted], mean: float) -> statistics.Difference | None:
        """The interval over clips of the difference `mean`, pair by pair; None where scores are missing or other clips'."""
        pairs = list(zip(ours, theirs, strict=True))
        if not all(_key(one) in self._made for pair in pairs for one in pair):
            return None
        if len({self._of(one.run).ids for pair in pairs for one in pair}) > 1:
            return None
        resamples = [self._made[_key(one)] - self._made[_key(other)] for one, other in pairs]
        return statistics.difference_over_resamples(mean, np.mean(resamples, axis=0))

    def _of(self, run: Run) -> Said:
        if run.path not in self._said:
            self._said[run.path] = read(run.path / f"predictions-test-{self._epoch}.parquet")
        return self._said[run.path]


class _Score:
    """One score as a function of how often each clip counts, ``[resamples, N]``, and of the sums of `columns` ``[N, K]``
    so weighted, ``[resamples, K]``."""

    def __init__(self, said: Said, wanted: Wanted):
        probabilities, labels = said.outputs[wanted.output], said.labels
        predicted = probabilities.argmax(axis=1)
        self.columns = np.empty((len(labels), 0), dtype=np.float32)
        if wanted.metric == "accuracy":
            self.columns = (predicted == labels)[:, None].astype(np.float32)
            self.of = self._accuracy
        elif wanted.metric == "macro_f1":
            of_class = np.arange(probabilities.shape[1])
            is_label, is_predicted = labels[:, None] == of_class, predicted[:, None] == of_class
            self.columns = np.hstack([is_label & is_predicted, is_label, is_predicted]).astype(np.float32)
            self.of = self._macro_f1
        else:
            score = probabilities[:, 1] - probabilities[:, 0]
            self._order = np.argsort(score, kind="stable")
            ranked = score[self._order]
            self._ties = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
            self._positive = (labels[self._order] == 1).astype(float)
            self.of = self._auroc

    def _accuracy(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return sums[:, 0].astype(float) / counts.shape[1]

    def _macro_f1(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The mean over the classes that occur in the resample, or are predicted in it."""
        correct, labelled, predicted = np.split(sums.astype(float), 3, axis=1)
        sizes = labelled + predicted
        present = sizes > 0
        return (2 * correct / np.where(present, sizes, 1)).sum(axis=1) / present.sum(axis=1)

    def _auroc(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Ties count half; a resample with clips of one class only says nothing, so it counts as chance."""
        ranked = counts[:, self._order].astype(float)
        positive = np.add.reduceat(ranked * self._positive, self._ties, axis=1)
        negative = np.add.reduceat(ranked * (1 - self._positive), self._ties, axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        return np.where(pairs > 0, (positive * below).sum(axis=1) / np.where(pairs > 0, pairs, 1), 0.5)


def _key(wanted: Wanted) -> tuple[Path, str, str]:
    return wanted.run.path, wanted.output, wanted.metric
