"""Scores against scikit-learn and against their definitions clip by clip; intervals against an explicit bootstrap."""

import numpy as np
import pytest
from sklearn import metrics

from inforeg_cli.evaluation.scores import by_class, confusion, scores
from inforeg_cli.report.statistics import resamples_of


def answers(clips: int = 90, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities that lean towards the true class, of classes that differ in size; one never occurs."""
    random = np.random.default_rng(seed)
    target = random.choice(classes, clips, p=np.arange(1, classes + 1) / (classes * (classes + 1) / 2))
    logits = random.normal(size=(clips, classes)) + 1.2 * np.eye(classes)[target]
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32), target


def values(log_probabilities: np.ndarray, target: np.ndarray) -> dict[str, float]:
    return {name: one["value"] for name, one in scores({"fused": log_probabilities}, target)["fused"].items()}


def ece(log_probabilities: np.ndarray, target: np.ndarray, bins: int = 15) -> float:
    """By its definition, a bin at a time."""
    confidence = np.exp(log_probabilities.astype(float)).max(axis=1)
    right = log_probabilities.argmax(axis=1) == target
    total = 0.0
    for index in range(bins):
        here = (confidence > index / bins) & (confidence <= (index + 1) / bins)
        if here.any():
            total += here.mean() * abs(right[here].mean() - confidence[here].mean())
    return total


@pytest.mark.parametrize(("clips", "classes"), [(90, 3), (300, 12), (40, 2), (1, 3)])
def test_values_are_those_of_scikit_learn_and_of_the_definitions(clips, classes):
    log_probabilities, target = answers(clips, classes)
    found, chosen = values(log_probabilities, target), log_probabilities.argmax(axis=1)
    assert found["accuracy"] == metrics.accuracy_score(target, chosen)
    occurring = np.unique(target)
    recall = metrics.recall_score(target, chosen, labels=occurring, average="macro", zero_division=0)
    assert found["balanced_accuracy"] == pytest.approx(recall)
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(target, chosen, average="macro"))
    expected = -log_probabilities[np.arange(clips), target].astype(float).mean()
    assert found["nll"] == pytest.approx(expected)
    assert found["ece"] == pytest.approx(ece(log_probabilities, target))
    confidence = np.exp(log_probabilities.astype(float)).max(axis=1).mean()
    assert found["overconfidence"] == pytest.approx(confidence - found["accuracy"])


def test_top_5_stands_where_there_are_more_than_ten_classes():
    log_probabilities, target = answers(200, 12)
    expected = metrics.top_k_accuracy_score(target, log_probabilities, k=5, labels=range(12))
    assert values(log_probabilities, target)["top5"] == expected
    assert "top5" not in values(*answers(200, 10))


def test_auroc_stands_where_there_are_two_classes_and_counts_ties_half():
    log_probabilities, target = answers(80, 2)
    tied = np.log(np.exp(log_probabilities).round(1).clip(0.05, 0.95))
    for case in (log_probabilities, tied):
        expected = metrics.roc_auc_score(target, case[:, 1] - case[:, 0])
        assert values(case, target)["auroc"] == pytest.approx(expected)
    assert "auroc" not in values(*answers(80, 3))
    assert "auroc" not in values(log_probabilities, np.ones(80, int))


def test_a_certain_model_that_is_right_has_no_error_and_one_that_is_wrong_all_of_it():
    sure = np.log(np.eye(3)[[0, 1, 2, 0]].clip(1e-12, 1)).astype(np.float32)
    right, wrong = values(sure, np.array([0, 1, 2, 0])), values(sure, np.array([1, 2, 0, 1]))
    assert (right["ece"], right["accuracy"]) == (pytest.approx(0), 1)
    assert (wrong["ece"], wrong["overconfidence"]) == (pytest.approx(1), pytest.approx(1))


def test_intervals_are_the_percentiles_of_resampled_scores():
    log_probabilities, target = answers(60, 2)
    chosen = log_probabilities.argmax(axis=1)
    drawn = {"accuracy": [], "macro_f1": [], "auroc": []}
    for counts in next(iter(resamples_of(60, np.float64)))[:200]:
        clips = np.repeat(np.arange(60), counts.astype(int))
        drawn["accuracy"].append(metrics.accuracy_score(target[clips], chosen[clips]))
        drawn["macro_f1"].append(metrics.f1_score(target[clips], chosen[clips], average="macro"))
        drawn["auroc"].append(
            metrics.roc_auc_score(target[clips], (log_probabilities[:, 1] - log_probabilities[:, 0])[clips])
        )
    found = scores({"fused": log_probabilities}, target)["fused"]
    for name, resampled in drawn.items():
        low, high = np.quantile(resampled, [0.025, 0.975])
        assert found[name]["low"] == pytest.approx(low, abs=0.04) and found[name]["high"] == pytest.approx(
            high, abs=0.04
        )
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]


def test_the_interval_of_the_calibration_error_is_mirrored_since_resamples_lie_above_it():
    log_probabilities, target = answers(300, 3)
    found = scores({"fused": log_probabilities}, target)["fused"]["ece"]
    resampled = []
    for counts in next(iter(resamples_of(300, np.float64)))[:400]:
        clips = np.repeat(np.arange(300), counts.astype(int))
        resampled.append(ece(log_probabilities[clips], target[clips]))
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert np.mean(resampled) > found["value"]
    assert found["low"] == pytest.approx(max(0, 2 * found["value"] - high), abs=0.01)
    assert found["high"] == pytest.approx(2 * found["value"] - low, abs=0.01)


def test_outputs_are_scored_by_themselves_and_the_same_every_time():
    one, target = answers(50, 4)
    other = answers(50, 4, seed=1)[0]
    both = scores({"one": one, "other": other}, target)
    assert both == {**scores({"one": one}, target), **scores({"other": other}, target)}
    assert both["one"] != both["other"]


def test_classes_have_scikit_learns_numbers_and_none_where_there_is_none():
    log_probabilities, target = answers(90, 4)
    target[target == 1] = 2
    log_probabilities[:, 3] = -50
    counts = confusion(log_probabilities, target)
    chosen = log_probabilities.argmax(axis=1)
    assert np.array_equal(counts, metrics.confusion_matrix(target, chosen, labels=range(4)))
    found = by_class(counts, ("a", "b", "c", "d"))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        target, chosen, labels=range(4), zero_division=np.nan
    )
    for index, one in enumerate(found.values()):
        for name, expected in (("precision", precision), ("recall", recall), ("f1", f1)):
            value = expected[index]
            assert one[name] is None if np.isnan(value) else one[name] == pytest.approx(value)
        assert one["clips"] == support[index]
    assert found["b"]["recall"] is None and found["d"]["precision"] is None and found["d"]["f1"] == 0
