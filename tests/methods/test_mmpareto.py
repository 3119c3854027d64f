"""MMPareto: against one backward pass a loss and a search for the min-norm point, and the printed table."""

from copy import deepcopy

import pytest
import torch
from reference import MMParetoReference, SmallModel, assert_agreement, batches, saved, train_step
from torch import Tensor, nn

from inforeg_cli.errors import Misuse
from inforeg_cli.methods import Joint, MMPareto
from inforeg_cli.step import Epoch, Losses, Outputs, Step

OPEN, CLOSED = frozenset("abc"), frozenset()


@pytest.mark.parametrize("gamma", [1.5, 1.0])
@pytest.mark.parametrize("modalities", [2, 3])
def test_training_agrees_with_the_reference(modalities: int, gamma: float) -> None:
    model = SmallModel(modalities)
    with torch.no_grad():  # own heads that want something else than the joint one
        for head in model.heads.values():
            head.weight *= -3
    reference = MMParetoReference(model, gamma)
    epochs = [Epoch(0, OPEN), Epoch(1, CLOSED), Epoch(2, OPEN)]
    assert_agreement(MMPareto(gamma=gamma), model, reference, batches(modalities, 3), epochs, "own", steps=3)
    conflicts = [weight != 0.5 for weight in reference.weights]
    assert any(conflicts) and not all(conflicts)


def linear(values: dict[str, Tensor], vector: tuple[float, ...], name: str) -> Tensor:
    """A loss whose gradient in the parameter `name` is `vector`."""
    return (torch.tensor(vector, dtype=torch.float64) * values[name]).sum()


def adjusted(joint: dict[str, tuple], own: dict[str, tuple], gamma: float = 1.5) -> tuple[dict[str, Tensor], MMPareto]:
    """The final gradient of encoders that are one parameter each, whose losses have these gradients."""
    values = {name: nn.Parameter(torch.zeros(2, dtype=torch.float64)) for name in joint}
    method = MMPareto(gamma=gamma)
    method.setup({name: [value] for name, value in values.items()})
    fused = sum(linear(values, vector, name) for name, vector in joint.items())
    unimodal = {name: linear(values, vector, name) for name, vector in own.items()}
    step = Step(Epoch(0, OPEN), 0, Outputs(fused, {}), torch.zeros(1), Losses(fused, unimodal))
    method.backward(step)
    for name, value in values.items():
        plain = [sum(pair) for pair in zip(joint[name], own[name], strict=True)]
        assert value.grad.tolist() == pytest.approx(plain)  # what the trace sees
    method.adjust(step)
    return {name: value.grad for name, value in values.items()}, method


TABLE = [
    ((1, 0), (-1, 1), 0.6, (0.670820, 1.341641)),
    ((3, 1), (-1, 0.5), 0.230769, (-0.465130, 3.721042)),
    ((1, 2), (-2, 0.5), 0.466667, (-1.806239, 3.612478)),
    ((1, 0), (1, 1), 0.5, (3, 1.5)),
    ((2, 0), (-1, 0), 0.333333, (0, 0)),
    ((1, 0), (0, 2), 0.8, (3 * 5**0.5 * 0.8 / 0.8**0.5 / 2, 3 * 5**0.5 * 0.4 / 0.8**0.5 / 2)),
]


@pytest.mark.parametrize(("joint", "own", "weight", "expected"), TABLE)
def test_the_printed_table(joint: tuple, own: tuple, weight: float, expected: tuple) -> None:
    found, method = adjusted({"a": joint, "b": (1, 2)}, {"a": own, "b": (2, 1)})
    torch.testing.assert_close(found["a"], torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=1e-6)
    assert found["b"].tolist() == pytest.approx([4.5, 4.5])  # its own pair, whatever happens to a
    diagnostics = method.diagnostics()
    assert (diagnostics["joint_weight.a"], diagnostics["joint_weight.b"]) == (pytest.approx(weight, abs=1e-6), 0.5)
    assert (diagnostics["regulated.a"], diagnostics["regulated.b"]) == (1, 1)


def test_with_gamma_one_only_a_conflict_changes_anything() -> None:
    found, method = adjusted({"a": (1, 0), "b": (1, 0)}, {"a": (-1, 1), "b": (1, 1)}, gamma=1.0)
    assert found["b"].tolist() == [2, 1]
    diagnostics = method.diagnostics()
    assert (diagnostics["regulated.a"], diagnostics["regulated.b"]) == (1, 0)


def step_of(method, model: SmallModel, batch, losses: str = "own"):
    return train_step(method, model, torch.optim.SGD(model.parameters(), lr=0.05), Epoch(0, OPEN), 0, batch, losses)


@pytest.mark.parametrize("modalities", [1, 2, 3])
def test_heads_and_fusion_keep_their_plain_gradient_to_the_last_bit(modalities: int) -> None:
    model, batch = SmallModel(modalities), batches(modalities, 1)[0]
    twin, method = deepcopy(model), MMPareto()
    method.setup(model.encoder_parameters())
    found, plain = step_of(method, model, batch), step_of(Joint(), twin, batch)
    for name, gradient in plain.items():
        assert torch.equal(found[name], gradient) is not name.startswith("encoders."), name


@pytest.mark.parametrize("frozen", ["one parameter", "one modality", "all modalities", "the fusion", "the heads"])
def test_frozen_parameters_are_passed_over(frozen: str) -> None:
    model, batch = SmallModel(2), batches(2, 1)[0]
    parameters = {
        "one parameter": [model.encoders["a"][0].weight],
        "one modality": list(model.encoders["a"].parameters()),
        "all modalities": list(model.encoders.parameters()),
        "the fusion": list(model.head.parameters()),
        "the heads": list(model.heads.parameters()),
    }[frozen]
    for parameter in parameters:
        parameter.requires_grad_(False)
    method = MMPareto()
    method.setup(model.encoder_parameters())
    method.epoch_start(Epoch(0, OPEN))
    found = step_of(method, model, batch)
    for name, parameter in model.named_parameters():
        assert (found[name] is None) is any(parameter is each for each in parameters), name
        assert found[name] is None or found[name].isfinite().all()
    assert method.diagnostics()["regulated.a"] == float("modalit" not in frozen)


def test_parameters_that_only_one_of_the_losses_reaches_keep_its_gradient() -> None:
    shared = nn.Parameter(torch.ones(2, dtype=torch.float64))
    values = {key: nn.Parameter(torch.ones(2, dtype=torch.float64)) for key in ("joint", "own", "neither")}
    method = MMPareto()
    method.setup({"a": [shared, *values.values()]})
    fused, own = (shared + 2 * values["joint"]).sum(), (shared + 3 * values["own"]).sum()
    step = Step(Epoch(0, OPEN), 0, Outputs(fused, {}), torch.zeros(1), Losses(fused, {"a": own}))
    method.backward(step)
    method.adjust(step)
    assert shared.grad.tolist() == [3, 3]
    assert [values[key].grad.tolist() for key in ("joint", "own")] == [[2, 2], [3, 3]]
    assert values["neither"].grad is None


def test_nothing_is_kept_from_step_to_step() -> None:
    model, data = SmallModel(2), batches(2, 2)
    method, resumed = MMPareto(), MMPareto()
    method.setup(model.encoder_parameters())
    step_of(method, model, data[0])
    twin = deepcopy(model)
    resumed.setup(twin.encoder_parameters())
    resumed.load_state_dict(saved(method))
    found, expected = step_of(resumed, twin, data[1]), step_of(method, model, data[1])
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert resumed.diagnostics() == method.diagnostics()


def test_a_loop_of_ones_own_must_give_unimodal_losses() -> None:
    model = SmallModel(2, own_heads=False)
    method = MMPareto()
    method.setup(model.encoder_parameters())
    with pytest.raises(Misuse, match=r"unimodal.*a, b"):
        step_of(method, model, batches(2, 1)[0], "none")
