"""The methods once more, slowly and naively, and a small model to run both on.

Everything here is float64 and written as the papers write it: loops over clips, classes, modalities and tensors. It
shares nothing with the package, whose own part of a comparison is `train_step`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from io import BytesIO
from itertools import chain, combinations, permutations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inforeg_cli.methods import Method
from inforeg_cli.step import Curve, Epoch, Losses, Outputs, Step

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

    def forward(self, inputs: Mapping[str, Tensor], lengths: Mapping[str, Tensor] | None = None) -> Outputs:
        return self.join(self.encode(inputs, lengths or {}))

    def encode(self, inputs: Mapping[str, Tensor], lengths: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: encoder(inputs[name]) for name, encoder in self.encoders.items()}

    def join(self, features: dict[str, Tensor]) -> Outputs:
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
    method: Method, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: Epoch, index: int,
    batch: tuple[dict[str, Tensor], Tensor], losses: str = "none",
) -> Gradients:  # fmt: skip
    """One step as the loop takes it; the gradients as the optimiser saw them."""
    inputs, target = batch
    active = method if epoch.open else method.baseline()
    optimizer.zero_grad(set_to_none=True)
    outputs = active.forward(model, inputs, {})
    step = Step(epoch, index, outputs, target, Losses.of(outputs, target, losses))
    active.backward(step)
    active.adjust(step)
    optimizer.step()
    return gradients_of(model)


def gradients_of(model: nn.Module) -> Gradients:
    return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


class Offered:
    """What a loop offers before an epoch: features of the same clips each time, and curves that are already known."""

    classes = CLASSES

    def __init__(self, model: nn.Module, clips: tuple[dict[str, Tensor], Tensor], curves: Sequence[Curve] = ()):
        self.model, self.clips, self.curves = model, clips, list(curves)
        self.probes: list[tuple[str | None, int | None, bool]] = []

    @torch.no_grad()
    def features(self, share: float) -> tuple[dict[str, Tensor], Tensor]:
        self.model.eval()
        found = self.model.encode(self.clips[0], {})
        self.model.train()
        return found, self.clips[1]

    def probe(self, branch: str | None, epochs: int | None = None, *, afresh: bool = False) -> Curve:
        self.probes.append((branch, epochs, afresh))
        return self.curves.pop(0)


def assert_agreement(
    method: Method, model: nn.Module, reference: "Reference", data: Sequence[tuple[dict[str, Tensor], Tensor]],
    epochs: Sequence[Epoch], losses: str = "none", steps: int = 3, **setup: Any,
) -> None:  # fmt: skip
    """Every gradient of every step, and the weights they lead to, are those of the reference to 1e-6."""
    method.setup({name: list(encoder.parameters()) for name, encoder in model.encoders.items()}, **setup)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    batch = 0
    for epoch in epochs:
        method.epoch_start(epoch)
        reference.start_epoch(epoch.open, epoch.index)
        for index in range(steps):
            found = train_step(method, model, optimizer, epoch, index, data[batch % len(data)], losses)
            expected = reference.step(*data[batch % len(data)])
            batch += 1
            assert found.keys() == expected.keys()
            for name, gradient in expected.items():
                assert (found[name] is None) == (gradient is None), name
                if gradient is not None:
                    torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-10, msg=name)
    for ours, theirs in zip(model.parameters(), reference.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def saved(method: Method) -> dict[str, Any]:
    """The method's state on its way through a file that holds tensors, numbers and strings only."""
    file = BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


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

    def start_epoch(self, opened: frozenset[str], epoch: int = 0) -> None:
        self.open, self.epoch = opened, epoch
        self.anchor = {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}

    def step(self, inputs: Mapping[str, Tensor], target: Tensor) -> Gradients:
        gradients = self.gradients(inputs, target)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if gradients[name] is not None:
                    update = gradients[name] + self.weight_decay * parameter
                    if name in self.velocity:
                        update = self.momentum * self.velocity[name] + update
                    self.velocity[name] = update
                    parameter -= self.lr * update
        return gradients

    def gradients(self, inputs: Mapping[str, Tensor], target: Tensor) -> Gradients:
        features = self.features(inputs)
        loss = cross_entropy(self._fused(features), target)
        for unimodal in self.unimodal_losses(features, target).values():
            loss = loss + unimodal
        gradients = self.gradients_of(loss)
        probabilities = {name: true_class_probabilities(self._share(features, name), target) for name in self.names}
        if self.open:
            self.rule(self, gradients, probabilities, len(target))
        return gradients

    def features(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.model.encoders[name](inputs[name]) for name in self.names}

    def unimodal_losses(self, features: Mapping[str, Tensor], target: Tensor) -> dict[str, Tensor]:
        if self.losses == "none":
            return {}
        if self.losses == "own":
            return {name: cross_entropy(self._own(features[name], name), target) for name in self.names}
        return {name: cross_entropy(self._share(features, name), target) for name in self.names}

    def gradients_of(self, loss: Tensor) -> Gradients:
        parameters = dict(self.model.named_parameters())
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, retain_graph=True)
        return dict(zip(parameters, found, strict=True))

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


class PMRReference(Reference):
    """Prototypes class by class, distances clip by clip."""

    def __init__(
        self, model: SmallModel, clips: tuple[dict[str, Tensor], Tensor], losses: str, alpha: float, smoothing: float,
        clipped: bool = False, entropy: float = 0.0,
    ):  # fmt: skip
        super().__init__(model, joint, losses)
        self.clips, self.alpha, self.smoothing = clips, alpha, smoothing
        self.clipped, self.entropy = clipped, entropy
        self.prototypes: dict[str, dict[int, Tensor]] = {name: {} for name in self.names}
        self.leaders: list[str] = []

    @torch.no_grad()
    def start_epoch(self, opened: frozenset[str], epoch: int = 0) -> None:
        super().start_epoch(opened, epoch)
        if not opened:
            return
        self.model.eval()
        inputs, target = self.clips
        for name, features in self.features(inputs).items():
            for label in range(CLASSES):
                members = [features[clip] for clip in range(len(target)) if target[clip] == label]
                if not members:
                    continue
                mean = sum(members) / len(members)
                if epoch > 1 and label in self.prototypes[name]:
                    mean = (1 - self.smoothing) * mean + self.smoothing * self.prototypes[name][label]
                self.prototypes[name][label] = mean
        self.model.train()

    def gradients(self, inputs: Mapping[str, Tensor], target: Tensor) -> Gradients:
        features = self.features(inputs)
        loss = cross_entropy(self._fused(features), target) + sum(self.unimodal_losses(features, target).values())
        if not self.open:
            return self.gradients_of(loss)
        scores, losses, entropies = {}, {}, {}
        for name in self.names:
            scores[name], entropies[name], own = 0.0, 0.0, []
            for z, label in zip(features[name], target.tolist(), strict=True):
                near = {k: torch.exp(-((z - c) ** 2).sum().sqrt()) for k, c in self.prototypes[name].items()}
                q = {k: value / sum(near.values()) for k, value in near.items()}
                entropies[name] = entropies[name] - sum(p * torch.log(p) for p in q.values()) / len(target)
                if label in q:
                    scores[name] += q[label].item() / len(target)
                    own.append(-torch.log(q[label]))
            losses[name] = sum(own) / len(own) if own else 0.0
        best = max(scores, key=scores.get)
        self.leaders.append(best)
        for name in self.names:
            if name != best:
                short = min(scores[best] / scores[name] - 1, 1)
                loss = loss + self.alpha * (short if self.clipped else 1) * losses[name]
        ahead = [min(scores[best] / scores[name] - 1, 1) for name in self.names if name != best]
        if self.entropy:
            loss = loss - self.entropy * sum(ahead) / len(ahead) * entropies[best]
        return self.gradients_of(loss)


class AGMReference(Reference):
    """Every subset of the modalities run anew, Shapley values as the mean over all orders in which modalities may come,
    and hooks that scale what arrives at them, as the released code has it."""

    def __init__(self, model: SmallModel, losses: str, alpha: float, clip: float | None = None):
        super().__init__(model, joint, losses)
        self.alpha, self.clip = alpha, clip
        self.running, self.count = dict.fromkeys(self.names, 0.0), 0
        self.kappas: list[dict[str, float]] = []

    def gradients(self, inputs: Mapping[str, Tensor], target: Tensor) -> Gradients:
        if not self.open:
            return super().gradients(inputs, target)
        features = self.features(inputs)
        outputs = {frozenset(self.names): torch.stack([torch.stack(row) for row in self._fused(features)])}
        self.model.eval()
        for size in range(1, len(self.names)):
            for present in combinations(self.names, size):
                seen = {name: x if name in present else 0 * x for name, x in inputs.items()}
                rows = self._fused(self.features(seen))
                outputs[frozenset(present)] = torch.stack([torch.stack(row) for row in rows])
        self.model.train()
        values = self._shapley(outputs)
        scores = {}
        for name, value in values.items():
            log_p = [math.log(max(p, 1e-8)) for p in true_class_probabilities(value, target)]
            scores[name] = -sum(log_p) / len(log_p)
        now, before = self._ratios(scores), self._ratios(self.running)
        kappa = {name: math.exp(self.alpha * min(before[name] - now[name], 10)) for name in self.names}
        self.kappas.append(kappa)
        self.count += 1
        for name in self.names:
            self.running[name] = (self.running[name] * (self.count - 1) + scores[name]) / self.count
            values[name].register_hook(lambda gradient, factor=kappa[name]: factor * gradient)
        loss = cross_entropy(sum(values.values()), target) + sum(self.unimodal_losses(features, target).values())
        gradients = self.gradients_of(loss)
        if self.clip is not None and any(abs(each) > 1 for each in gradients["head.weight"].flatten().tolist()):
            present = [gradient for gradient in gradients.values() if gradient is not None]
            norm = math.sqrt(sum(each**2 for gradient in present for each in gradient.flatten().tolist()))
            for gradient in present:
                gradient *= min(1.0, self.clip / (norm + 1e-6))
        return gradients

    def _shapley(self, outputs: Mapping[frozenset[str], Tensor]) -> dict[str, Tensor]:
        orders = list(permutations(self.names))
        values = dict.fromkeys(self.names, 0.0)
        for order in orders:
            came: frozenset[str] = frozenset()
            for name in order:
                before = outputs[came] if came else 0.0
                came |= {name}
                values[name] = values[name] + (outputs[came] - before) / len(orders)
        return values

    def _ratios(self, scores: Mapping[str, float]) -> dict[str, float]:
        mean = sum(scores.values()) / len(scores)
        return {name: math.exp(len(scores) / (len(scores) - 1) * (mean - score)) for name, score in scores.items()}


class BlendingReference(Reference):
    """A weighted sum of losses; the weights from curves, branch by branch."""

    def __init__(self, model: SmallModel, weights: Mapping[str, float]):
        super().__init__(model, joint, "own")
        self.weights = weights

    def gradients(self, inputs: Mapping[str, Tensor], target: Tensor) -> Gradients:
        features = self.features(inputs)
        fused = cross_entropy(self._fused(features), target)
        if not self.open:
            return self.gradients_of(fused)
        losses = {"fused": fused, **self.unimodal_losses(features, target)}
        return self.gradients_of(sum(self.weights[name] * loss for name, loss in losses.items()))


def blended(curves: Mapping[str, tuple[float, float, float, float]]) -> dict[str, float]:
    """Of (train, held out) before and (train, held out) after, by branch."""
    floor = 1e-3 * sum(abs(curve[1]) for curve in curves.values()) / len(curves)
    raw = {}
    for name, (train, held_out, train_after, held_out_after) in curves.items():
        gain = held_out - held_out_after
        growth = (held_out_after - train_after) - (held_out - train)
        raw[name] = max(gain, 0.0) / max(growth**2, floor**2)
    total = sum(raw.values())
    return {name: value / total if total else 1 / len(raw) for name, value in raw.items()}


class MMParetoReference(Reference):
    """One backward pass a loss, the min-norm point by bisection, tensor by tensor."""

    def __init__(self, model: SmallModel, gamma: float):
        super().__init__(model, joint, "own")
        self.gamma = gamma
        self.weights: list[float] = []

    def gradients(self, inputs: Mapping[str, Tensor], target: Tensor) -> Gradients:
        features = self.features(inputs)
        fused, unimodal = cross_entropy(self._fused(features), target), self.unimodal_losses(features, target)
        together = self.gradients_of(fused)
        apart = {name: self.gradients_of(loss) for name, loss in unimodal.items()}
        gradients = self.gradients_of(fused + sum(unimodal.values()))
        if not self.open:
            return gradients
        for modality in self.names:
            names = list(self.parameters_of(modality))
            ours = {name: together[name].flatten().tolist() for name in names}
            theirs = {name: apart[modality][name].flatten().tolist() for name in names}
            weight = joint_weight(list(chain(*ours.values())), list(chain(*theirs.values())))
            self.weights.append(weight)
            for name in names:
                mixed = [2 * weight * j + 2 * (1 - weight) * u for j, u in zip(ours[name], theirs[name], strict=True)]
                total = [j + u for j, u in zip(ours[name], theirs[name], strict=True)]
                size = length(mixed)
                cancelled = size <= 1e-6 * (length(ours[name]) + length(theirs[name]))
                stretch = 1.0 if cancelled else max(1.0, length(total) / size)
                entries = [self.gamma * stretch * each for each in mixed]
                gradients[name] = torch.tensor(entries, dtype=torch.float64).view_as(gradients[name])
        return gradients


def length(vector: Sequence[float]) -> float:
    return math.sqrt(sum(each**2 for each in vector))


def joint_weight(joint: Sequence[float], own: Sequence[float]) -> float:
    """Where conflict is: the w in [0, 1] at which ||w joint + (1 - w) own|| is least."""
    if sum(j * u for j, u in zip(joint, own, strict=True)) > 0:
        return 0.5
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        slope = sum((middle * j + (1 - middle) * u) * (j - u) for j, u in zip(joint, own, strict=True))
        low, high = (low, middle) if slope > 0 else (middle, high)
    return (low + high) / 2


class GreedyReference(Reference):
    """The exchange stage by stage and clip by clip, and the state machine in plain words. The model has convolutional
    encoders, one block after each of their last stages, and own heads or a linear head over all features."""

    def __init__(self, model: nn.Module, epsilon: float, curation: int, burn_in: int, fused: bool = False):
        super().__init__(model, joint, "none" if fused else "own")
        self.epsilon, self.curation, self.burn_in, self.fused = epsilon, curation, burn_in, fused
        self.means: dict[tuple[int, str], list[Tensor]] = {}
        self.caring, self.left = None, 0
        self.bypass, self.main = dict.fromkeys(self.names, 0.0), dict.fromkeys(self.names, 0.0)
        self.pattern: list[str | None] = []

    def gradients(self, inputs: Mapping[str, Tensor], target: Tensor) -> Gradients:
        caring = self.caring if self.open else None
        features = self._exchanged(inputs, caring)
        if self.fused:
            loss = cross_entropy(self._linear(self.model.fusion.head, torch.cat(list(features.values()), 1)), target)
        else:
            loss = sum(
                cross_entropy(self._linear(self.model.heads[name], features[name]), target) for name in self.names
            )
        gradients = self.gradients_of(loss)
        if self.open:
            self.pattern.append(self.caring)
            self._decide(gradients)
        return gradients

    def _linear(self, layer: nn.Linear, rows: Tensor) -> list[list[Tensor]]:
        return [[(w * z).sum() + b for w, b in zip(layer.weight, layer.bias, strict=True)] for z in rows]

    def _exchanged(self, inputs: Mapping[str, Tensor], caring: str | None) -> dict[str, Tensor]:
        blocks = self.model.exchange.blocks
        stages = {name: list(self.model.encoders[name].stages) for name in self.names}
        maps = {}
        for name in self.names:
            maps[name] = inputs[name]
            while len(stages[name]) > len(blocks):
                maps[name] = stages[name].pop(0)(maps[name])
        for level, block in enumerate(blocks):
            maps = {name: stages[name].pop(0)(maps[name]) for name in self.names}
            shown = torch.cat([maps[name].mean(3).mean(2) for name in self.names], dim=1)
            squeezed = [torch.relu(block.squeeze.weight @ row + block.squeeze.bias) for row in shown]
            for name in self.names:
                layer = block.gates[name]
                gate = torch.stack([1 / (1 + torch.exp(-(layer.weight @ row + layer.bias))) for row in squeezed])
                history = self.means.setdefault((level, name), [])
                history.append(gate.detach().mean(0))
                if name == caring:
                    gate = sum(history) / len(history) + 0 * gate  # gradients of zero, not none
                maps[name] = maps[name] * gate[:, :, None, None]
        return {name: maps[name].mean(3).mean(2) for name in self.names}

    def _decide(self, gradients: Gradients) -> None:
        if self.caring is not None:
            self.left -= 1
            if not self.left:
                self.caring = None
            return
        for name in self.names:
            gates = [key for key in gradients if key.startswith("exchange.") and (f"gates.{name}." in key)]
            gates += [key for key in gradients if key.startswith("exchange.") and ".squeeze." in key]
            own = [key for key in gradients if key.split(".")[:2] in (["encoders", name], ["heads", name])]
            self.bypass[name] += self._speed(gradients, gates)
            self.main[name] += self._speed(gradients, own)
        if self.epoch < self.burn_in:
            return
        dominance = {name: math.log10(self.bypass[name] / self.main[name]) for name in self.names}
        ahead = {}
        for name in self.names:
            others = [value for other, value in dominance.items() if other != name]
            ahead[name] = dominance[name] - sum(others) / len(others)
        greatest = max(ahead, key=ahead.get)
        if ahead[greatest] > self.epsilon:
            self.caring, self.left = greatest, self.curation

    def _speed(self, gradients: Gradients, names: Sequence[str]) -> float:
        weights = dict(self.model.named_parameters())
        moved = sum(each**2 for name in names for each in gradients[name].flatten().tolist())
        return moved / sum(each**2 for name in names for each in weights[name].flatten().tolist())
