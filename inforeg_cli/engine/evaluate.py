"""What a model says on a split: probabilities of every clip by the fused output and by each modality, and their scores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from inforeg_cli.data.batches import Clips
from inforeg_cli.engine.metrics import auroc, scores
from inforeg_cli.models.late_fusion import LateFusion
from inforeg_cli.step import Outputs


def reported_logits(model: LateFusion, outputs: Outputs) -> dict[str, Tensor]:
    """The logits that are scored, by name: ``fused``; ``head.<m>``, the fused head with the other features absent; and
    ``own_head.<m>``, the modality's own head, where it is trained."""
    alone = model.fusion.alone(outputs.features, outputs.shares)
    return {
        "fused": outputs.fused,
        **{f"head.{name}": logits for name, logits in alone.items()},
        **{f"own_head.{name}": logits for name, logits in outputs.heads.items()},
    }


@dataclass(frozen=True)
class Predictions:
    """Of N clips: store rows `index` ``[N]``, classes `target` ``[N]``, and log-probabilities ``[N, C]`` by output."""

    index: np.ndarray
    target: np.ndarray
    log_probabilities: dict[str, np.ndarray]

    def scores(self) -> dict[str, float]:
        """Flat: ``loss`` (mean negative log-likelihood), ``accuracy``, ``macro_f1``, ``head.<m>.accuracy``, ...

        Of two classes also ``auroc``, ``head.<m>.auroc``, ..., where there are clips of both: that of the second class.
        """
        true_class = self.log_probabilities["fused"][np.arange(len(self.target)), self.target]
        found = {"loss": float(-true_class.mean(dtype=np.float64))}
        for name, values in self.log_probabilities.items():
            classes = values.shape[1]
            cells = self.target * classes + values.argmax(axis=1)
            confusion = torch.from_numpy(np.bincount(cells, minlength=classes**2).reshape(classes, classes))
            prefix = "" if name == "fused" else f"{name}."
            found |= {prefix + metric: value for metric, value in scores(confusion).items()}
            # The logit orders clips as the probability does, and does not run into its rounding at 0 and 1.
            if classes == 2 and (area := auroc(values[:, 1] - values[:, 0], self.target == 1)) is not None:
                found[f"{prefix}auroc"] = area
        return found

    def constant_outputs(self) -> list[str]:
        """The modalities' outputs that are the same for every clip, to a thousandth of a logit."""
        return [
            name
            for name, values in self.log_probabilities.items()
            if name.startswith("head.") and len(values) > 1 and float(np.ptp(values, axis=0).max()) < 1e-3
        ]

    def table(self, ids: np.ndarray) -> pd.DataFrame:
        """One row a clip: id, label (class index), and the probabilities as columns ``<output>.<class index>``."""
        columns = {"id": ids[self.index], "label": self.target}
        for name, values in self.log_probabilities.items():
            columns |= {f"{name}.{index}": column for index, column in enumerate(np.exp(values).T)}
        return pd.DataFrame(columns)


def predict(
    model: LateFusion,
    clips: Clips,
    indices: np.ndarray,
    batch_size: int,
    *,
    precision: str = "fp32",
    after_batch: Callable[[], None] = lambda: None,
) -> Predictions:
    """Evaluate in eval mode, in the order of `indices`; `after_batch` may raise to stop early."""

    def log_probabilities(outputs: Outputs) -> dict[str, Tensor]:
        return {name: x.float().log_softmax(dim=-1) for name, x in reported_logits(model, outputs).items()}

    return Predictions(
        indices,
        *collect(model, clips, indices, batch_size, log_probabilities, precision=precision, after_batch=after_batch),
    )


@torch.no_grad()
def collect(
    model: LateFusion,
    clips: Clips,
    indices: np.ndarray,
    batch_size: int,
    read: Callable[[Outputs], Mapping[str, Tensor]],
    *,
    precision: str = "fp32",
    after_batch: Callable[[], None] = lambda: None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Of N clips in the order of `indices`, in eval mode: their classes ``[N]``, and what `read` takes from a batch's
    outputs, each a tensor of one row a clip, in float32."""
    was_training = model.training
    model.eval()
    collected: dict[str, list[Tensor]] = {}
    targets = []
    try:
        for batch in clips.batches(torch.from_numpy(indices), batch_size):
            with torch.autocast(clips.device.type, torch.bfloat16, enabled=precision == "bf16"):
                found = read(model(batch.inputs, batch.lengths))
            for name, value in found.items():
                collected.setdefault(name, []).append(value.float())
            targets.append(batch.target)
            after_batch()
    finally:
        model.train(was_training)
    return torch.cat(targets).cpu().numpy(), {name: torch.cat(x).cpu().numpy() for name, x in collected.items()}


def nested(flat: dict[str, float]) -> dict:
    """``{"head.sound.accuracy": x}`` as ``{"head": {"sound": {"accuracy": x}}}``, the form of results."""
    tree: dict = {"head": {}, "own_head": {}}
    for name, value in flat.items():
        *parents, leaf = name.split(".")
        here = tree
        for parent in parents:
            here = here.setdefault(parent, {})
        here[leaf] = value
    return tree
