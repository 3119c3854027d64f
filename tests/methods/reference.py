"""The methods once more, slowly and naively, and a small model to run both on.

Everything here is float64 and written as the papers write it: loops over clips, classes, modalities and tensors. It
shares nothing with the package, whose own part of a comparison is `train_step`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inforeg_cli.methods import Method
from inforeg_cli.step import Epoch, Losses, Outputs, Step

CLASSES = 3
#: The shared numeric example: the shares of two modalities on four clips; a leads.
EXAMPLE = {
    "a": torch.tensor([[2.0, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 3]], dtype=torch.float64),
    "b": torch.tensor([[0.5, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]], dtype=torch.float64),
}
EXAMPLE_TARGET = torch.tensor([0, 1, 2, 2])

Gradients = dict[str, Tensor | None]


class SmallModel(nn.Module):
    """Two convolutions, batch norm and a linear layer a modality, joined by one linear head; own heads on request."""

    def __init__(self, modalities: int, own_heads: bool = True, seed: int = 0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            names = "abcdef"[:modalities]
            self.encoders = nn.ModuleDict({name: _encoder(index) for index, name in enumerate(names)})
            self.widths = [3 + index for index in range(modalities)]
            self.head = nn.Linear(sum(self.widths), CLASSES)
            own = {name: nn.Linear(width, CLASSES) for name, width in zip(names, self.widths, strict=True)}
            self.heads = nn.ModuleDict(own if own_heads else {})
        self.double()

    def forward(self, inputs: Mapping[str, Tensor]) -> Outputs:
        features = {name: encoder(inputs[name]) for name, encoder in self.encoders.items()}
        columns = self.head.weight.split(self.widths, dim=1)
        bias = self.head.bias / len(features)
        shares = {name: F.linear(z, weight, bias) for (name, z), weight in zip(features.items(), columns, strict=True)}
        heads = {name: head(features[name]) for name, head in self.heads.items()}
        return Outputs(self.head(torch.cat(list(features.values()), dim=1)), shares, heads, features)

    def encoder_parameters(self) -> dict[str, list[nn.Parameter]]:
        return {name: list(encoder.parameters()) for name, encoder in self.encoders.items()}


def _encoder(index: int) -> nn.Module:
    convolutions = [nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 2)]
    return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3 + index))


def batches(modalities: int, count: int, clips: int = 6, seed: int = 0) -> list[tuple[dict[str, Tensor], Tensor]]:
    """Small pictures whose class shows, the more so the earlier the modality."""
    generator, made = torch.Generator().manual_seed(seed), []
    for _ in range(count):
        target = torch.randint(CLASSES, (clips,), generator=generator)
        inputs = {}
        for index, name in enumerate("abcdef"[:modalities]):
            noise = torch.randn(clips, 1, 6, 6, dtype=torch.float64, generator=generator)
            inputs[name] = noise + target.view(-1, 1, 1, 1) * (2.0 - index)
        made.append((inputs, target))
    return made


def train_step(
    method: Method, model: SmallModel, optimizer: torch.optim.Optimizer, epoch: Epoch, index: int,
    batch: tuple[dict[str, Tensor], Tensor], losses: str = "none",
) -> Gradients:  # fmt: skip
    """One step as the loop takes it; the gradients as the optimiser saw them."""
    inputs, target = batch
    active = method if epoch.open else Method()
    optimizer.zero_grad(set_to_none=True)
    outputs = active.forward(lambda inputs, lengths: model(inputs), inputs, {})
    step = Step(epoch, index, outputs, target, Losses.of(outputs, target, losses))
    active.backward(step)
    active.adjust(step)
    optimizer.step()
    return gradients_of(model)


def gradients_of(model: nn.Module) -> Gradients:
    return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


# The rest is the reference: from here on nothing of the package is used.

Rule = Callable[["Reference", Gradients, Sequence[float], int], None]


class Reference:
    """Trains a copy of a model by SGD written out, with `rule` changing the gradients in between."""

    lr, momentum, weight_decay = 0.05, 0.9, 1e-4

    def __init__(self, model: SmallModel, rule: Rule, losses: str = "none"):
        self.model, self.rule, self.losses = deepcopy(model), rule, losses
        self.velocity: dict[str, Tensor] = {}
        self.names = list(self.model.encoders)
        self.anchor: dict[str, Tensor] = {}
        self.open: frozenset[str] = frozenset()

    def start_epoch(self, opened: frozenset[str]) -> None:
        self.open = opened
        self.anchor = {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}

    def step(self, inputs: Mapping[str, Tensor], target: Tensor) -> Gradients:
        features = {name: self.model.encoders[name](inputs[name]) for name in self.names}
        shares = {name: self._share(features, name) for name in self.names}
        loss = cross_entropy(self._fused(features), target)
        if self.losses != "none":
            for name in self.names:
                logits = shares[name] if self.losses == "slice" else self._own(features[name], name)
                loss = loss + cross_entropy(logits, target)
        parameters = dict(self.model.named_parameters())
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        gradients = dict(zip(parameters, found, strict=True))
        probabilities = {name: true_class_probabilities(shares[name], target) for name in self.names}
        if self.open:
            self.rule(self, gradients, probabilities, len(target))
        with torch.no_grad():
            for name, parameter in parameters.items():
                if gradients[name] is not None:
                    update = gradients[name] + self.weight_decay * parameter
                    if name in self.velocity:
                        update = self.momentum * self.velocity[name] + update
                    self.velocity[name] = update
                    parameter -= self.lr * update
        return gradients

    def parameters_of(self, modality: str) -> dict[str, Tensor]:
        return {name: p for name, p in self.model.named_parameters() if name.split(".")[:2] == ["encoders", modality]}

    def _fused(self, features: Mapping[str, Tensor]) -> list[list[Tensor]]:
        joined = torch.cat([features[name] for name in self.names], dim=1)
        return [[(w * z).sum() + b for w, b in zip(self.model.head.weight, self.model.head.bias)] for z in joined]  # noqa: B905

    def _share(self, features: Mapping[str, Tensor], modality: str) -> list[list[Tensor]]:
        first = sum(features[name].shape[1] for name in self.names[: self.names.index(modality)])
        weight, bias = self.model.head.weight, self.model.head.bias
        logits = []
        for z in features[modality]:
            logits.append([])
            for label in range(CLASSES):
                products = [weight[label, first + d] * z[d] for d in range(len(z))]
                logits[-1].append(sum(products) + bias[label] / len(self.names))
        return logits

    def _own(self, feature: Tensor, modality: str) -> list[list[Tensor]]:
        head = self.model.heads[modality]
        return [[(head.weight[label] * z).sum() + head.bias[label] for label in range(CLASSES)] for z in feature]


def cross_entropy(logits: list[list[Tensor]], target: Tensor) -> Tensor:
    total = 0.0
    for row, label in zip(logits, target.tolist(), strict=True):
        total = total + torch.log(sum(torch.exp(logit) for logit in row)) - row[label]
    return total / len(logits)


def true_class_probabilities(logits: list[list[Tensor]], target: Tensor) -> list[float]:
    found = []
    for row, label in zip(logits, target.tolist(), strict=True):
        exponentials = [math.exp(logit.item()) for logit in row]
        found.append(exponentials[label] / sum(exponentials))
    return found


def joint(reference: Reference, gradients: Gradients, probabilities: Mapping[str, list[float]], clips: int) -> None:
    """Leaves every gradient as it is."""


def ogm_coefficients(scores: Mapping[str, float], alpha: float) -> dict[str, float]:
    found = {}
    for name, score in scores.items():
        ratios = [score / other for rival, other in scores.items() if rival != name]
        ratio = sum(ratios) / len(ratios)
        found[name] = 1 - math.tanh(alpha * ratio) if ratio > 1 else 1.0
    return found


def ogm(alpha: float) -> Rule:
    def rule(reference: Reference, gradients: Gradients, probabilities: Mapping[str, list[float]], clips: int) -> None:
        coefficients = ogm_coefficients({name: sum(p) for name, p in probabilities.items()}, alpha)
        for modality, coefficient in coefficients.items():
            for name in reference.parameters_of(modality):
                if gradients[name].dim() == 4:
                    gradients[name] = coefficient * gradients[name]

    return rule


def inforeg_gaps(scores: Mapping[str, float]) -> dict[str, float]:
    found = {}
    for name, score in scores.items():
        leads = [score - other for other in scores.values() if other < score]
        found[name] = sum(leads) / len(leads) if leads else 0.0
    return found


def inforeg(beta: float, score: str = "log_p", strength: Mapping[str, float] | None = None) -> Rule:
    def rule(reference: Reference, gradients: Gradients, probabilities: Mapping[str, list[float]], clips: int) -> None:
        if score == "sum_p":
            scores = {name: sum(p) for name, p in probabilities.items()}
        else:
            scores = {name: sum(math.log(each) for each in p) / clips for name, p in probabilities.items()}
        for modality, gap in inforeg_gaps(scores).items():
            if gap > 0 and modality in reference.open:
                alpha = (strength[modality] if strength else 1.0) * math.exp(beta * math.tanh(gap))
                for name, weight in reference.parameters_of(modality).items():
                    gradients[name] = gradients[name] + alpha * (weight.detach() - reference.anchor[name])

    return rule
