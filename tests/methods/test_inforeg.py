"""InfoReg: against the naive reference, the printed numbers, the pull and its windows."""

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
    inforeg,
    train_step,
)
from torch import Tensor, nn

from inforeg_cli.errors import Misuse
from inforeg_cli.methods import InfoReg
from inforeg_cli.numerics.regulation import performance_gaps
from inforeg_cli.step import Epoch, Losses, Outputs, Step

OFFICIAL = {"score": "sum_p", "beta": 1.0, "strength": {"a": 0.95, "b": 0.1, "c": 0.4}}


def official(modalities: int) -> dict[str, Any]:
    return {**OFFICIAL, "strength": {key: OFFICIAL["strength"][key] for key in "abc"[:modalities]}}


@pytest.mark.parametrize("losses", ["none", "own", "slice"])
@pytest.mark.parametrize("variant", ["paper", "official"])
@pytest.mark.parametrize("modalities", [2, 3])
def test_training_agrees_with_the_reference(modalities: int, variant: str, losses: str) -> None:
    options = official(modalities) if variant == "official" else {"beta": 0.9}
    model = SmallModel(modalities, own_heads=losses == "own")
    method, reference = InfoReg(**options), Reference(model, inforeg(**options), losses)
    method.setup(model.encoder_parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    data = batches(modalities, 3)
    regulated = 0.0
    for number in range(9):
        opened = ("", "abc"[:modalities], "ac"[: modalities - 1])[number // 3]  # closed, open, open for some
        epoch = Epoch(number // 3, frozenset(opened))
        if number % 3 == 0:
            method.epoch_start(epoch)
            reference.start_epoch(epoch.open)
        found = train_step(method, model, optimizer, epoch, number % 3, data[number % 3], losses)
        expected = reference.step(*data[number % 3])
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-9)
        regulated = max(
            [regulated, *(value for key, value in method.diagnostics().items() if key.startswith("strength"))]
        )
    for ours, theirs in zip(model.parameters(), reference.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
    assert regulated > 0


def strengths(
    shares: dict[str, Tensor], target: Tensor = EXAMPLE_TARGET, opened: str | None = None, **options: Any
) -> dict[str, float]:
    method, epoch = InfoReg(**options), Epoch(3, frozenset(shares if opened is None else opened))
    method.setup({key: [nn.Parameter(torch.zeros(2, dtype=torch.float64))] for key in shares})
    for (parameter,) in method.parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    method.epoch_start(epoch)
    method.adjust(Step(epoch, 1, Outputs(next(iter(shares.values())), shares), target))
    found = method.diagnostics()
    return {key: found[f"strength.{key}"] for key in shares}


def test_the_gaps_of_the_shared_example() -> None:
    probabilities = torch.stack([EXAMPLE[key].softmax(-1)[range(4), EXAMPLE_TARGET] for key in "ab"])
    for scores, gap in (
        (probabilities.sum(1), 1.396800), (probabilities.mean(1), 0.349200), (probabilities.log().mean(1), 0.752838)
    ):  # fmt: skip
        assert performance_gaps(scores).tolist() == pytest.approx([gap, 0], abs=1e-6)


def test_the_shared_example() -> None:
    assert strengths(EXAMPLE) == pytest.approx({"a": 1.773855, "b": 0.0}, abs=1e-6)
    assert strengths(EXAMPLE, beta=1.0, score="sum_p", strength={"a": 0.95, "b": 0.1}) == pytest.approx(
        {"a": 2.301048, "b": 0.0}, abs=1e-6
    )


def test_the_strength_belongs_to_the_modality_not_to_its_place() -> None:
    swapped = {"b": EXAMPLE["b"], "a": EXAMPLE["a"]}
    assert strengths(swapped, **official(2)) == pytest.approx(strengths(EXAMPLE, **official(2)))


def test_the_leader_is_the_better_modality_not_the_worse() -> None:
    """Eq. 8 as printed, minus the log probability, would regulate b."""
    found = strengths(EXAMPLE)
    assert found["a"] > 0
    assert found["b"] == 0


def with_probabilities(*true_class: float) -> dict[str, Tensor]:
    """Shares of one clip of class 0 whose probability is given for each modality."""
    return {
        key: torch.tensor([[p, (1 - p) / 2, (1 - p) / 2]], dtype=torch.float64).log()
        for key, p in zip("abcdef", true_class, strict=False)
    }


@pytest.mark.parametrize(
    ("probabilities", "regulated"),
    [
        ((0.8, 0.5, 0.2), "ab"),
        ((0.2, 0.5, 0.8), "bc"),
        ((0.5, 0.5, 0.2), "ab"),
        ((0.5, 0.2, 0.2), "a"),
        ((0.5, 0.5, 0.5), ""),
        ((0.5,), ""),
    ],
)
def test_all_but_the_worst_are_regulated(probabilities: tuple[float, ...], regulated: str) -> None:
    found = strengths(with_probabilities(*probabilities), torch.tensor([0]))
    assert "".join(key for key, value in found.items() if value > 0) == regulated


def test_beta_zero_is_not_off() -> None:
    assert strengths(EXAMPLE, beta=0.0) == {"a": 1.0, "b": 0.0}


def test_only_open_modalities_are_regulated() -> None:
    shares, target = with_probabilities(0.8, 0.5, 0.2), torch.tensor([0])
    everything = strengths(shares, target)
    assert strengths(shares, target, opened="bc") == {"a": 0.0, "b": everything["b"], "c": 0.0}
    assert strengths(shares, target, opened="c") == {"a": 0.0, "b": 0.0, "c": 0.0}


class Training:
    """Plain SGD on one batch, with each step's gradients before and after `adjust`."""

    def __init__(self, modalities: int = 2, lr: float = 0.1, opened: str | None = None, **options: Any):
        self.model, self.method = SmallModel(modalities), InfoReg(**options)
        self.method.setup(self.model.encoder_parameters())
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr)
        self.inputs, self.target = batches(modalities, 1)[0]
        self.open = frozenset(self.model.encoders if opened is None else opened)
        self.start(0)

    def start(self, epoch: int) -> None:
        self.epoch, self.index = Epoch(epoch, self.open), 0
        self.method.epoch_start(self.epoch)

    def step(self) -> tuple[Gradients, Gradients]:
        self.optimizer.zero_grad()
        outputs = self.model(self.inputs)
        step = Step(self.epoch, self.index, outputs, self.target, Losses.of(outputs, self.target))
        self.method.backward(step)
        plain = {name: g for name, g in gradients_of(self.model).items() if g is not None}
        self.method.adjust(step)
        adjusted = gradients_of(self.model)
        self.optimizer.step()
        self.index += 1
        return plain, adjusted

    def strength_of_the_last_step(self, before: dict[str, float]) -> dict[str, float]:
        now, steps = self.method.diagnostics(), self.index
        return {
            key: now[f"strength.{key}"] * steps - before.get(f"strength.{key}", 0.0) * (steps - 1)
            for key in self.model.encoders
        }


def test_the_first_step_of_every_epoch_adds_nothing() -> None:
    training = Training(3)
    for epoch in range(3):
        training.start(epoch)
        plain, adjusted = training.step()
        assert all(torch.equal(adjusted[name], gradient) for name, gradient in plain.items())
        plain, adjusted = training.step()
        assert any(not torch.equal(adjusted[name], gradient) for name, gradient in plain.items())


def test_after_one_step_of_plain_sgd_the_previous_gradient_is_taken_back() -> None:
    training = Training(lr=0.1)
    first, _ = training.step()
    before = training.method.diagnostics()
    plain, adjusted = training.step()
    strength = training.strength_of_the_last_step(before)
    assert sorted(value > 0 for value in strength.values()) == [False, True]
    for key in training.model.encoders:
        for name in (name for name in plain if name.startswith(f"encoders.{key}.")):
            torch.testing.assert_close(
                adjusted[name] - plain[name], -strength[key] * 0.1 * first[name], rtol=1e-6, atol=1e-12
            )


def test_the_pull_is_the_gradient_of_the_penalty() -> None:
    training = Training(3)
    anchor = {name: p.detach().clone() for name, p in training.model.named_parameters()}
    for _ in range(3):
        before = training.method.diagnostics()
        weights = {name: p.detach().clone().requires_grad_() for name, p in training.model.named_parameters()}
        plain, adjusted = training.step()
    strength = training.strength_of_the_last_step(before)
    assert sum(value > 0 for value in strength.values()) == 2
    for key in training.model.encoders:
        mine = {name: weight for name, weight in weights.items() if name.startswith(f"encoders.{key}.")}
        penalty = strength[key] / 2 * sum((weight - anchor[name]).square().sum() for name, weight in mine.items())
        for name, pull in zip(mine, torch.autograd.grad(penalty, list(mine.values())), strict=True):
            torch.testing.assert_close(adjusted[name] - plain[name], pull, rtol=1e-6, atol=1e-12)


def test_every_encoder_tensor_is_pulled_and_nothing_else() -> None:
    training = Training(2)
    training.step()
    training.step()
    before = training.method.diagnostics()
    plain, adjusted = training.step()
    (leader,) = (key for key, value in training.strength_of_the_last_step(before).items() if value > 0)
    changed = {name for name, gradient in plain.items() if not torch.equal(adjusted[name], gradient)}
    assert changed == {name for name in plain if name.startswith(f"encoders.{leader}.")}


@pytest.mark.parametrize("modalities", [2, 3])
def test_equal_scores_leave_every_gradient_alone(modalities: int) -> None:
    training = Training(modalities)
    training.step()
    outputs = training.model(training.inputs)
    shares = dict.fromkeys(training.model.encoders, outputs.fused.detach())
    plain = gradients_of(training.model)
    training.method.adjust(Step(training.epoch, 1, Outputs(outputs.fused, shares), training.target))
    adjusted = gradients_of(training.model)
    assert all(torch.equal(adjusted[name], gradient) for name, gradient in plain.items() if gradient is not None)


def test_the_anchor_is_where_the_weights_stood_not_where_they_go() -> None:
    training = Training(2, lr=0.5)
    start = training.model.encoders["a"][0].weight.detach().clone()
    training.step()
    training.step()
    assert not torch.equal(training.model.encoders["a"][0].weight, start)
    assert torch.equal(training.method.state_dict()["anchor"]["a"][0], start)
    training.start(1)
    assert torch.equal(training.method.state_dict()["anchor"]["a"][0], training.model.encoders["a"][0].weight)


def test_a_closed_modality_keeps_no_copy_of_its_weights() -> None:
    assert set(Training(3, opened="b").method.state_dict()["anchor"]) == {"b"}


@pytest.mark.parametrize("strength", [{"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}, {"sound": 1.0, "b": 1.0}])
def test_strengths_must_name_the_modalities(strength: dict[str, float]) -> None:
    with pytest.raises(Misuse, match=r"method\.strength names .* but the modalities are a, b"):
        InfoReg(strength=strength).setup(SmallModel(2).encoder_parameters())


def test_options() -> None:
    assert (InfoReg.default_window, InfoReg.windows_per_modality, InfoReg.Config().beta) == ("prime", True, 0.9)
    for wrong in ({"strength": -1.0}, {"score": "p"}, {"beta": float("nan")}, {"strength": {"a": -0.1}}):
        with pytest.raises(ValueError, match="validation error"):
            InfoReg(**wrong)
