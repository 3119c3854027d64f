"""Scores from confusion counts, against scikit-learn on the same labels."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from inforeg_cli.engine.evaluate import Predictions, nested
from inforeg_cli.engine.metrics import RunningScores, scores


def logits_and_target(clips=50, classes=4, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(clips, classes)).astype("f4"), random.integers(0, classes, clips)


def test_scores_agree_with_scikit_learn():
    logits, target = logits_and_target()
    confusion = torch.zeros(4, 4)
    for true, predicted in zip(target, logits.argmax(1), strict=True):
        confusion[true, predicted] += 1
    assert scores(confusion) == pytest.approx(
        {
            "accuracy": accuracy_score(target, logits.argmax(1)),
            "macro_f1": f1_score(target, logits.argmax(1), average="macro"),
        }
    )


def test_a_class_that_does_not_occur_is_left_out_of_macro_f1():
    confusion = torch.zeros(3, 3)
    confusion[0, 0], confusion[1, 0] = 2, 1
    expected = f1_score([0, 0, 1], [0, 0, 0], average="macro")
    assert scores(confusion)["macro_f1"] == pytest.approx(expected)


def test_running_scores_do_not_depend_on_the_batches():
    logits, target = (torch.from_numpy(x) for x in logits_and_target())
    rows = []
    for size in (50, 7):
        running = RunningScores(4)
        for part, labels in zip(logits.split(size), target.split(size), strict=True):
            loss = torch.nn.functional.cross_entropy(part, labels)
            running.update({"fused": part, "head.a": -part}, {"loss": loss}, labels)
        rows.append(running.row())
    assert rows[0] == pytest.approx(rows[1])
    assert rows[0]["accuracy"] == pytest.approx(accuracy_score(target, logits.argmax(1)))
    assert rows[0]["head.a.accuracy"] == pytest.approx(accuracy_score(target, logits.argmin(1)))


def test_predictions_scores_and_table():
    logits, target = logits_and_target()
    log_probabilities = torch.from_numpy(logits).log_softmax(-1).numpy()
    found = Predictions(np.arange(50)[::-1].copy(), target, {"fused": log_probabilities, "head.a": log_probabilities})
    flat = found.scores()
    assert flat["loss"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(target)))
    )
    assert nested(flat)["head"]["a"]["accuracy"] == flat["accuracy"] == accuracy_score(target, logits.argmax(1))
    table = found.table(np.array([f"clip{i}" for i in range(50)]))
    assert table["id"][0] == "clip49"
    assert np.allclose(table[[f"fused.{c}" for c in range(4)]].sum(axis=1), 1)
