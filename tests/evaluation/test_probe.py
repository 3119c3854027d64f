"""Linear probes: what they are fitted on, how their strength is chosen, and that they repeat themselves."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from inforeg_cli.errors import InforegError
from inforeg_cli.evaluation.probe import probe, probe_clips
from inforeg_cli.measures import MOST_PROBE_CLIPS, PROBE_STRENGTHS


def clips(count: int, seed: int, classes: int = 3, dimensions: int = 8) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    target = np.arange(count) % classes
    centres = np.random.default_rng(99).normal(size=(classes, dimensions))
    return (random.normal(size=(count, dimensions)) * 2 + centres[target]).astype(np.float32), target


TRAIN, VAL, TEST = clips(120, 0), clips(60, 1), clips(90, 2)


def test_it_is_logistic_regression_on_standardised_features_with_the_strength_that_val_chooses():
    found = probe(TRAIN, VAL, TEST[0], 3)
    scaler = StandardScaler().fit(TRAIN[0])
    accuracies = {}
    for strength in PROBE_STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=5000).fit(scaler.transform(TRAIN[0]), TRAIN[1])
        accuracies[strength] = (model.predict(scaler.transform(VAL[0])) == VAL[1]).mean()
    assert found.val_accuracy == pytest.approx(max(accuracies.values()), abs=1 / 60)
    model = LogisticRegression(C=found.strength, max_iter=5000).fit(scaler.transform(TRAIN[0]), TRAIN[1])
    expected = model.predict_log_proba(scaler.transform(TEST[0]))
    assert found.log_probabilities == pytest.approx(expected, abs=0.02)
    assert found.train_clips == 120


def test_what_is_asked_changes_nothing_of_the_probe():
    whole = probe(TRAIN, VAL, TEST[0], 3).log_probabilities
    shifted = np.concatenate([TEST[0][:10], TEST[0][10:] * 1000])
    assert np.array_equal(probe(TRAIN, VAL, shifted, 3).log_probabilities[:10], whole[:10])
    assert np.array_equal(probe(TRAIN, VAL, TEST[0], 3).log_probabilities, whole)


def test_units_and_features_that_do_not_vary_do_not_matter():
    plain = probe(TRAIN, VAL, TEST[0], 3).log_probabilities

    def other(features: np.ndarray) -> np.ndarray:
        return np.column_stack([features.astype(np.float64) * 1000 + 5, np.full(len(features), 7.0)])

    found = probe((other(TRAIN[0]), TRAIN[1]), (other(VAL[0]), VAL[1]), other(TEST[0]), 3).log_probabilities
    assert found == pytest.approx(plain, abs=1e-3)


def test_a_class_without_train_clips_is_never_chosen():
    found = probe(TRAIN, VAL, TEST[0], 5).log_probabilities
    assert found.shape == (90, 5) and np.isfinite(found).all()
    assert {*found.argmax(axis=1)} <= {0, 1, 2}
    kept = TRAIN[1] != 1
    found = probe((TRAIN[0][kept], TRAIN[1][kept]), VAL, TEST[0], 3).log_probabilities
    assert {*found.argmax(axis=1)} == {0, 2}


def test_of_many_train_clips_evenly_spaced_ones_are_taken():
    few, many = np.arange(10) * 3, np.arange(2 * MOST_PROBE_CLIPS + 1)
    assert np.array_equal(probe_clips(few), few)
    taken = probe_clips(many)
    assert len(taken) == MOST_PROBE_CLIPS and {*np.diff(taken)} <= {2, 3} and taken[0] == 0


def test_features_that_are_no_numbers_and_a_single_class_are_said():
    broken = TRAIN[0].copy()
    broken[3, 2] = np.nan
    with pytest.raises(InforegError, match="NaN"):
        probe((broken, TRAIN[1]), VAL, TEST[0], 3)
    with pytest.raises(InforegError, match="two classes"):
        probe((TRAIN[0], np.zeros(120, int)), VAL, TEST[0], 3)
