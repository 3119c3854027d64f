"""Linear probes: how well a straight cut through frozen features tells the classes apart."""

import warnings
from dataclasses import dataclass

import numpy as np

from inforeg_cli.errors import InforegError
from inforeg_cli.measures import MOST_PROBE_CLIPS, PROBE_STRENGTHS

_ITERATIONS = 200
#: What the log-probability of a class without train clips counts as.
_NEVER = -100.0


@dataclass(frozen=True)
class Probe:
    """Log-probabilities ``[N, classes]`` of what is asked, and how the probe that gives them was found."""

    log_probabilities: np.ndarray
    strength: float
    val_accuracy: float
    train_clips: int


def probe_clips(train: np.ndarray) -> np.ndarray:
    """Of the train clips those that a probe is fitted on: all, or `MOST_PROBE_CLIPS` evenly spaced ones."""
    count = min(len(train), MOST_PROBE_CLIPS)
    return train[np.arange(count) * len(train) // count]


def probe(
    train: tuple[np.ndarray, np.ndarray], val: tuple[np.ndarray, np.ndarray], asked: np.ndarray, classes: int
) -> Probe:
    """Multinomial logistic regression with an L2 penalty on `train`, features ``[N, D]`` and classes ``[N]``.

    Features are standardised by the statistics of `train`; the strength C is the one with the best accuracy on `val`,
    the smallest of equals. Strengths are tried from small to large, each from the weights of the one before, so that
    the same features give the same probe. Raises InforegError where a feature is not finite or train has one class.
    """
    from sklearn.linear_model import LogisticRegression

    (features, target), (val_features, val_target) = train, val
    if not all(np.isfinite(part).all() for part in (features, val_features, asked)):
        raise InforegError("the features hold NaN or infinity, so that no probe can be fitted on them")
    if len(np.unique(target)) < 2:
        raise InforegError("a probe needs train clips of two classes or more")
    mean, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    # What does not vary tells nothing, on train: it is left out, whatever it does elsewhere.
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-7)

    def standardised(part: np.ndarray) -> np.ndarray:
        return (part - mean) * scale

    regression = LogisticRegression(warm_start=True, max_iter=_ITERATIONS)
    best: tuple[float, float, np.ndarray] | None = None
    inputs, val_inputs, asked_inputs = map(standardised, (features, val_features, asked))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a weak penalty need not have converged to be the best on val
        for strength in PROBE_STRENGTHS:
            regression.set_params(C=strength).fit(inputs, target)
            accuracy = float((regression.predict(val_inputs) == val_target).mean())
            if best is None or accuracy > best[1]:
                best = strength, accuracy, regression.predict_log_proba(asked_inputs)
    log_probabilities = np.full((len(asked), classes), _NEVER)
    log_probabilities[:, regression.classes_] = best[2].clip(min=_NEVER)
    return Probe(log_probabilities, best[0], best[1], len(target))
