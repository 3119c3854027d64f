"""OGM and OGM-GE: against the naive reference, the printed numbers, and the statistics of the noise."""

from typing import Any

import pytest
import torch
from reference import (
    EXAMPLE,
    EXAMPLE_TARGET,
    Gradients,
    Reference,
    SmallModel,
    batches,
    gradients_of,
    ogm,
    ogm_coefficients,
    train_step,
)
from torch import Tensor, nn

from inforeg_cli.methods import OGM
from inforeg_cli.step import Epoch, Losses, Outputs, Step


class OneStep:
    """A model whose gradients are those of one backward pass, and the step they belong to."""

    def __init__(self, modalities: int = 2, epoch: int = 0, index: int = 0, model: SmallModel | None = None):
        self.model = model or SmallModel(modalities)
        inputs, target = batches(modalities, 1)[0]
        outputs = self.model(inputs)
        losses = Losses.of(outputs, target)
        self.step = Step(Epoch(epoch, frozenset(self.model.encoders)), index, outputs, target, losses)
        losses.fused.backward()
        self.plain = gradients_of(self.model)

    def adjusted(self, index: int | None = None, epoch: int = 0, **options: Any) -> tuple[Gradients, dict[str, float]]:
        """The gradients and diagnostics after OGM, always from the same plain gradients."""
        for name, parameter in self.model.named_parameters():
            parameter.grad = None if self.plain[name] is None else self.plain[name].clone()
        step = (
            self.step
            if index is None
            else Step(Epoch(epoch, self.step.epoch.open), index, self.step.outputs, self.step.target)
        )
        method = OGM(**options)
        method.setup(self.model.encoder_parameters())
        method.epoch_start(step.epoch)
        method.adjust(step)
        return gradients_of(self.model), method.diagnostics()


def is_convolution(name: str, gradient: Tensor) -> bool:
    return name.startswith("encoders.") and gradient.ndim == 4


@pytest.mark.parametrize("losses", ["none", "own", "slice"])
@pytest.mark.parametrize("modalities", [2, 3])
def test_training_agrees_with_the_reference(modalities: int, losses: str) -> None:
    model = SmallModel(modalities, own_heads=losses == "own")
    method, reference = OGM(alpha=0.3), Reference(model, ogm(alpha=0.3), losses)
    method.setup(model.encoder_parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    data = batches(modalities, 3)
    for number in range(6):
        epoch = Epoch(number // 3, frozenset(model.encoders if number // 3 else ()))
        if number % 3 == 0:
            method.epoch_start(epoch)
            reference.start_epoch(epoch.open)
        found = train_step(method, model, optimizer, epoch, number % 3, data[number % 3], losses)
        expected = reference.step(*data[number % 3])
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-9)
    for ours, theirs in zip(model.parameters(), reference.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
    assert min(value for key, value in method.diagnostics().items() if key.startswith("coefficient")) < 1


@pytest.mark.parametrize(
    ("alpha", "coefficient"), [(0.1, 0.787750), (0.3, 0.430638), (0.5, 0.207682), (0.8, 0.061632), (1.0, 0.026497)]
)
def test_the_shared_example(alpha: float, coefficient: float) -> None:
    parameters = {name: nn.Parameter(torch.zeros(2, 1, 3, 3, dtype=torch.float64)) for name in "ab"}
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    method = OGM(alpha=alpha)
    method.setup({name: [parameter] for name, parameter in parameters.items()})
    epoch = Epoch(0, frozenset("ab"))
    method.epoch_start(epoch)
    method.adjust(Step(epoch, 0, Outputs(EXAMPLE["a"] + EXAMPLE["b"], EXAMPLE), EXAMPLE_TARGET))
    found = method.diagnostics()
    assert found["ratio.a"] == pytest.approx(2.155259, abs=1e-6)
    assert found["coefficient.a"] == pytest.approx(coefficient, abs=1e-6)
    assert (found["coefficient.b"], found["regulated.a"], found["regulated.b"]) == (1, 1, 0)
    torch.testing.assert_close(parameters["a"].grad, torch.full_like(parameters["a"], coefficient), atol=1e-6, rtol=0)
    assert torch.equal(parameters["b"].grad, torch.ones_like(parameters["b"]))


@pytest.mark.parametrize("noise", [False, True])
def test_only_convolutions_are_touched(noise: bool) -> None:
    one = OneStep(3)
    found, diagnostics = one.adjusted(alpha=0.8, noise=noise)
    changed = {
        name for name, gradient in one.plain.items() if gradient is not None and not torch.equal(found[name], gradient)
    }
    damped = {key for key in "abc" if noise or diagnostics[f"coefficient.{key}"] < 1}
    assert damped
    assert changed == {
        name for name, gradient in one.plain.items()
        if gradient is not None and is_convolution(name, gradient) and name.split(".")[1] in damped
    }  # fmt: skip


def test_the_norm_of_a_convolution_gradient_falls_by_its_coefficient() -> None:
    one = OneStep(3)
    found, diagnostics = one.adjusted(alpha=0.3)
    for name, gradient in one.plain.items():
        if gradient is not None and is_convolution(name, gradient):
            ratio = found[name].norm() / gradient.norm()
            assert ratio.item() == pytest.approx(diagnostics[f"coefficient.{name.split('.')[1]}"], rel=1e-12)


def test_an_encoder_without_convolutions_has_its_matrices_modulated() -> None:
    model = SmallModel(2)
    model.encoders["a"] = nn.Sequential(
        nn.Flatten(), nn.Linear(36, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3)
    ).double()
    one = OneStep(model=model)
    one.step = Step(one.step.epoch, 0, Outputs(EXAMPLE["a"], EXAMPLE), EXAMPLE_TARGET)  # a leads
    found, diagnostics = one.adjusted(alpha=0.3)
    coefficient = diagnostics["coefficient.a"]
    assert coefficient < 1
    for name, parameter in model.encoders["a"].named_parameters(prefix="encoders.a"):
        factor = coefficient if parameter.ndim == 2 else 1
        torch.testing.assert_close(found[name], factor * one.plain[name], rtol=1e-12, atol=0)


def test_a_tie_damps_neither() -> None:
    one = OneStep()
    shares = {"a": EXAMPLE["a"], "b": EXAMPLE["a"].clone()}
    one.step = Step(one.step.epoch, 0, Outputs(EXAMPLE["a"], shares), EXAMPLE_TARGET)
    found, diagnostics = one.adjusted(alpha=0.8)
    assert (diagnostics["coefficient.a"], diagnostics["coefficient.b"]) == (1, 1)
    assert all(torch.equal(found[name], gradient) for name, gradient in one.plain.items() if gradient is not None)


DRAWS = 300


@pytest.mark.parametrize("modalities", [2, 3])
def test_the_noise_has_the_spread_of_the_plain_gradient_and_no_mean(modalities: int) -> None:
    one = OneStep(modalities)
    scores = {
        key: one.step.outputs.shares[key].softmax(-1)[range(6), one.step.target].sum().item()
        for key in one.step.outputs.shares
    }
    coefficients = ogm_coefficients(scores, alpha=0.3)
    assert set(coefficients.values()) != {1.0}
    draws = [one.adjusted(alpha=0.3, noise=True, index=index)[0] for index in range(DRAWS)]
    seen = set()
    for name, gradient in one.plain.items():
        if gradient is not None and is_convolution(name, gradient):
            key = name.split(".")[1]
            noise = torch.stack([draw[name] for draw in draws]) - coefficients[key] * gradient
            entries = gradient.flatten().tolist()
            mean = sum(entries) / len(entries)
            spread = (sum((entry - mean) ** 2 for entry in entries) / (len(entries) - 1)) ** 0.5 + 1e-8
            assert noise.std().item() == pytest.approx(spread, rel=4 / (2 * noise.numel()) ** 0.5)
            assert noise.mean(0).abs().max().item() < 4.5 * spread / DRAWS**0.5
            seen.add(key)
    assert seen == set(coefficients)  # the modality that is not damped gets noise, too


def test_alpha_does_not_change_the_noise() -> None:
    one = OneStep(2)
    noises = []
    for alpha in (0.0, 0.3, 2.0):
        found, diagnostics = one.adjusted(alpha=alpha, noise=True)
        noises.append(
            torch.cat([
                (found[name] - diagnostics[f"coefficient.{name.split('.')[1]}"] * gradient).flatten()
                for name, gradient in one.plain.items()
                if gradient is not None and is_convolution(name, gradient)
            ])
        )  # fmt: skip
    assert noises[0].abs().max() > 0
    torch.testing.assert_close(noises[1], noises[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(noises[2], noises[0], rtol=0, atol=1e-12)


def test_the_noise_is_a_function_of_seed_epoch_and_step() -> None:
    one = OneStep(2)
    name = "encoders.a.0.weight"

    def draw(**options: Any) -> Tensor:
        return one.adjusted(**{"alpha": 0.3, "noise": True, "index": 5, "epoch": 2, "seed": 7, **options})[0][name]

    assert torch.equal(draw(), draw())
    for other in ({"index": 6}, {"epoch": 3}, {"seed": 8}):
        assert not torch.equal(draw(), draw(**other))


def test_the_noise_is_not_drawn_from_the_global_generator() -> None:
    one = OneStep(2)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = one.adjusted(alpha=0.3, noise=True)[0]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(12)
    second = one.adjusted(alpha=0.3, noise=True)[0]
    assert torch.equal(first["encoders.a.0.weight"], second["encoders.a.0.weight"])


def test_tensors_and_modalities_have_noise_of_their_own() -> None:
    one = OneStep(2)
    found, diagnostics = one.adjusted(alpha=0.3, noise=True)
    noise = []
    for key in "ab":
        name = f"encoders.{key}.0.weight"
        added = found[name] - diagnostics[f"coefficient.{key}"] * one.plain[name]
        noise.append((added / one.plain[name].std()).flatten())
    assert abs(torch.corrcoef(torch.stack(noise))[0, 1].item()) < 0.6


def noise_on(gradient: list[float], index: int = 0) -> Tensor:
    """What a convolution with so few weights gets, where its modality is not damped."""
    parameters = {key: nn.Parameter(torch.zeros(len(gradient), 1, 1, 1, dtype=torch.float64)) for key in "ab"}
    for parameter in parameters.values():
        parameter.grad = torch.tensor(gradient, dtype=torch.float64).view_as(parameter)
    method, epoch = OGM(alpha=0.3, noise=True), Epoch(0, frozenset("ab"))
    method.setup({key: [parameter] for key, parameter in parameters.items()})
    method.epoch_start(epoch)
    method.adjust(Step(epoch, index, Outputs(EXAMPLE["a"], EXAMPLE), EXAMPLE_TARGET))
    return parameters["b"].grad.flatten() - torch.tensor(gradient, dtype=torch.float64)


def test_the_standard_deviation_is_the_unbiased_one() -> None:
    noise = torch.cat([noise_on([1.0, -1.0], index) for index in range(400)])
    assert noise.std().item() == pytest.approx(2**0.5, rel=0.1)


def test_a_gradient_of_one_number_has_no_spread() -> None:
    assert noise_on([1.0]).abs().item() < 1e-6


def test_options() -> None:
    assert (OGM.Config().label, OGM.Config(noise=True).label) == ("ogm", "ogm-ge")
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        OGM(alpha=-0.1)
