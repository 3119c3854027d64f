from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report.paper_factory import make_row_run

from inforeg_cli.engine.metrics import auroc
from inforeg_cli.errors import InforegError
from inforeg_cli.report import statistics
from inforeg_cli.report.clips import ResampledScores, Wanted, read
from inforeg_cli.report.runs import read_run


@pytest.fixture
def make_said(tmp_path):
    """A run whose predictions on `clips` clips of three classes, or of two, are drawn from `seed`."""

    def make(seed, clips=40, classes=3, order=None):
        run = read_run(make_row_run(tmp_path, 2, "joint", seed))
        generator = np.random.default_rng(seed)
        frame = pd.DataFrame({"id": [f"c{index}" for index in range(clips)], "label": np.arange(clips) % classes})
        for index, column in enumerate(generator.dirichlet(np.ones(classes), clips).round(1).T):
            frame[f"fused.{index}"] = column
        frame = frame if order is None else frame.iloc[order]
        frame.to_parquet(run.path / "predictions-test-best.parquet", index=False)
        return run, frame.sort_values("id")

    return make


def counts_of(clips):
    return np.concatenate(list(statistics.resamples_of(clips, int)))


def by_hand(metric, frame, counts):
    """The score of the clips as often as `counts` says, by its definition."""
    rows = np.repeat(np.arange(len(frame)), counts)
    label = frame["label"].to_numpy()[rows]
    probabilities = frame.filter(like="fused").to_numpy()[rows]
    predicted = probabilities.argmax(axis=1)
    if metric == "accuracy":
        return np.mean(predicted == label)
    if metric == "auroc":
        return auroc(probabilities[:, 1] - probabilities[:, 0], label == 1)
    f1 = []
    for one in {*label} | {*predicted}:
        hits = np.sum((label == one) & (predicted == one))
        f1.append(2 * hits / (np.sum(label == one) + np.sum(predicted == one)))
    return np.mean(f1)


@pytest.mark.parametrize(("metric", "classes"), [("accuracy", 3), ("macro_f1", 3), ("macro_f1", 2), ("auroc", 2)])
def test_a_score_in_a_resample_is_the_score_of_the_clips_in_it(make_said, monkeypatch, metric, classes):
    monkeypatch.setattr(statistics, "RESAMPLES", 300)
    (ours, frame), (theirs, other) = make_said(1, classes=classes), make_said(2, classes=classes)
    scores = ResampledScores("best")
    pair = [Wanted(run, "fused", metric) for run in (ours, theirs)]
    assert scores.make(pair) == []
    counts = counts_of(len(frame))
    mean = by_hand(metric, frame, 1) - by_hand(metric, other, 1)
    found = scores.difference(pair[:1], pair[1:], mean)
    some = [by_hand(metric, frame, one) - by_hand(metric, other, one) for one in counts]
    expected = statistics.difference_over_resamples(mean, np.array(some))
    assert (found.mean, found.low, found.high, found.p) == pytest.approx(
        (mean, expected.low, expected.high, expected.p), abs=1e-9
    )
    assert found.low < mean < found.high


def test_accuracies_have_the_interval_that_comparisons_of_runs_have(make_said):
    runs = [make_said(seed)[0] for seed in range(6)]
    wanted = [Wanted(run, "fused", "accuracy") for run in runs]
    scores = ResampledScores("best")
    scores.make(wanted)
    said = [read(run.path / "predictions-test-best.parquet") for run in runs]
    correct = np.array([one.outputs["fused"].argmax(axis=1) == one.labels for one in said])
    expected = statistics.difference_over_clips(correct[:3], correct[3:])
    found = scores.difference(wanted[:3], wanted[3:], expected.mean)
    assert (found.low, found.high, found.p) == pytest.approx((expected.low, expected.high, expected.p))


def test_the_order_of_clips_in_a_file_does_not_matter(make_said):
    (one, frame), (same, _) = make_said(3), make_said(4)
    shuffled = frame.sample(frac=1, random_state=0)
    shuffled.to_parquet(same.path / "predictions-test-best.parquet", index=False)
    pair = [Wanted(run, "fused", "accuracy") for run in (one, same)]
    scores = ResampledScores("best")
    scores.make(pair)
    assert scores.difference(pair[:1], pair[1:], 0.0) == statistics.Difference(0, 0, 0, 1)


def test_runs_on_other_clips_are_never_paired(make_said):
    pair = [Wanted(make_said(1)[0], "fused", "accuracy"), Wanted(make_said(2, clips=41)[0], "fused", "accuracy")]
    scores = ResampledScores("best")
    assert scores.make(pair) == []
    assert scores.difference(pair[:1], pair[1:], 0.1) is None


def test_a_missing_output_has_no_interval(make_said):
    pair = [Wanted(make_said(seed)[0], output, "accuracy") for seed, output in ((1, "fused"), (2, "own_head.sound"))]
    scores = ResampledScores("best")
    assert scores.make(pair) == []
    assert scores.difference(pair[:1], pair[1:], 0.1) is None


def test_a_damaged_file_is_told_once_and_the_others_go_on(make_said):
    good, bad = make_said(1)[0], make_said(2)[0]
    path = bad.path / "predictions-test-best.parquet"
    path.write_bytes(b"no parquet")
    scores = ResampledScores("best")
    wanted = [Wanted(run, "fused", metric) for run in (bad, good) for metric in ("accuracy", "macro_f1")]
    (problem,) = scores.make(wanted)
    assert str(path) in problem
    assert scores.difference(wanted[2:3], wanted[2:3], 0.0) is not None
    assert scores.difference(wanted[:1], wanted[2:3], 0.0) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda frame: frame.drop(columns="label"), "lacks columns"),
        (lambda frame: frame[["id", "label"]], "lacks columns"),
        (lambda frame: pd.concat([frame, frame]), "has clips twice"),
    ],
)
def test_predictions_that_lack_what_they_should_hold_are_refused(make_said, change, reason):
    run, frame = make_said(1)
    path = run.path / "predictions-test-best.parquet"
    change(frame).to_parquet(path, index=False)
    with pytest.raises(InforegError, match=reason):
        read(path)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(InforegError, match="does not exist"):
        read(Path(tmp_path / "none.parquet"))
