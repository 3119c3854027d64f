"""The measures of an evaluation: what there is to ask for, and each number defined in one sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inforeg_cli.errors import Misuse
from inforeg_cli.naming import nearest

#: What `--only` takes, in the order in which it is computed and shown.
MEASURES = ("accuracy", "modalities", "contribution", "missing", "damage", "dynamics", "tsne")
#: Measures that are nothing but pictures.
PICTURES = frozenset({"tsne"})
#: Equal-width bins of the expected calibration error (Guo et al., ICML 2017).
CALIBRATION_BINS = 15
#: Where there are more classes than this, top-5 accuracy says something.
TOP_5_ABOVE = 10
#: A probe is fitted on at most this many train clips, evenly spaced.
MOST_PROBE_CLIPS = 5000
#: What a probe's inverse regularisation strength C is chosen from, on val.
PROBE_STRENGTHS = (1e-5, 1e-4, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0)

#: The scalars of an output, with what tables call them; the order is that of tables.
SCORES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "top5": "top-5 accuracy",
    "auroc": "AUROC",
    "nll": "negative log-likelihood",
    "ece": "expected calibration error",
    "overconfidence": "overconfidence",
}
#: Of these, those that are no fractions: nats.
NATS = frozenset({"nll"})

DEFINITIONS = {
    "accuracy": "the share of clips whose most probable class is the true one",
    "balanced accuracy": "the mean over the classes that occur of each one's recall",
    "macro-F1": "the mean over classes of each one's F1",
    "top-5 accuracy": "the share of clips whose true class is among the five most probable (with more than "
    f"{TOP_5_ABOVE} classes)",
    "AUROC": "the area under the ROC curve of the second class (with two classes)",
    "negative log-likelihood": "the mean over clips of -log p(true class), in nats",
    "expected calibration error": f"the mean over clips of |accuracy - mean confidence| in each one's bin of confidence, "
    f"{CALIBRATION_BINS} of equal width",
    "overconfidence": "mean confidence less accuracy, the calibration error with its sign",
    "intervals": "95 %, over clips: percentiles of bootstrap resamples from a fixed seed; for the calibration error, whose "
    "resamples lie above it, mirrored at its value",
    "head": "the fused head with the other features absent ('constant' where its logits are the same for every clip, so "
    "that its accuracy means nothing)",
    "own head": "the modality's own trained head",
    "probe": "a linear probe, logistic regression on the frozen encoder's standardised features, fitted on at most "
    f"{MOST_PROBE_CLIPS} evenly spaced clips of the run's train split, its strength chosen on val (which flatters it there)",
    "alone": "the accuracy of the run of that modality alone, with the same seed if there is one, else the mean over seeds",
    "difference to it alone": "the accuracy of head, own head or probe less that: what joint training made of the modality, "
    "the probe's of its encoder",
    "Shapley value": "a modality's part of what all of them add to the score of none, averaged over the orders in which "
    "they can come (exact over all subsets); absent means zeros to the encoder",
    "imbalance": "the Gini coefficient of the Shapley values, negative ones counting as 0, over its largest value: 0 where "
    "all modalities contribute equally, 1 where one contributes everything",
    "area": "the mean accuracy under a damage growing from none to the most severe step (trapezoid rule over the steps), "
    "the other modalities whole; damage is drawn from a fixed seed, the same for every run",
    "robustness": "the mean over modalities of the mean area over the damages of each",
    "prime epochs": "epochs in which the modality's trace has grown by more than the window's K (eq. 11)",
    "open epochs": "epochs in which the method was allowed to act on the modality",
    "regulated steps": "steps whose gradient, or loss, the method changed for the modality",
    "trace": "the epoch's sum over steps of the squared gradient norm of the modality's encoder",
    "t-SNE": "each encoder's features, and all of them side by side (fused), embedded in the plane from the run's seed",
}


@dataclass(frozen=True)
class Measure:
    """A column of what `inforeg evaluate` has kept: its header, its unit (``%`` for fractions), and what it means."""

    header: str
    unit: str
    definition: str


def chosen(only: Sequence[str] | None, pictures: bool) -> tuple[str, ...]:
    """What to compute, in order: the names in `only`, separated by commas, or without any all there is; what is
    nothing but pictures only where there are to be any. Raises Misuse, with the nearest name, for an unknown one."""
    if not only:
        return tuple(name for name in MEASURES if pictures or name not in PICTURES)
    wanted = [part.strip() for text in only for part in text.split(",") if part.strip()]
    for name in wanted:
        if name not in MEASURES:
            raise Misuse(f"--only: there is no measure '{name}'; {nearest(name, MEASURES)}")
    if not wanted:
        raise Misuse(f"--only names no measure; there is: {', '.join(MEASURES)}")
    if not pictures and (lost := [name for name in wanted if name in PICTURES]):
        raise Misuse(f"{lost[0]} is a picture, which needs a folder to go to: --out DIR")
    return tuple(name for name in MEASURES if name in wanted)


def robustness(damage: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> float:
    """Of a run's damage curves, by modality and damage: see `DEFINITIONS`."""
    means = [sum(curve["area"] for curve in curves.values()) / len(curves) for curves in damage.values()]
    return sum(means) / len(means)
