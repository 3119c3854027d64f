"""PMR: against the naive reference, the printed numbers, and what it must leave alone."""

from copy import deepcopy

import pytest
import torch
from reference import (
    Offered,
    PMRReference,
    SmallModel,
    assert_agreement,
    batches,
    saved,
    train_step,
)
from torch import Tensor, nn

from inforeg_cli.errors import Misuse
from inforeg_cli.methods import PMR, Joint
from inforeg_cli.step import Epoch, Losses, Outputs, Step

OPEN, CLOSED = frozenset("abc"), frozenset()


def parameters_of(model: SmallModel) -> dict[str, list[nn.Parameter]]:
    return model.encoder_parameters()


def few(modalities: int, without: int | None = None) -> tuple[dict[str, Tensor], Tensor]:
    """Clips for prototypes, none of them of class `without`."""
    inputs, target = batches(modalities, 1, clips=12, seed=5)[0]
    kept = target != (-1 if without is None else without)
    return {name: x[kept] for name, x in inputs.items()}, target[kept]


@pytest.mark.parametrize("variant", ["hard", "clip and entropy"])
@pytest.mark.parametrize("losses", ["none", "own"])
@pytest.mark.parametrize("modalities", [2, 3])
def test_training_agrees_with_the_reference(modalities: int, losses: str, variant: str) -> None:
    model, clips = SmallModel(modalities, own_heads=losses == "own"), few(modalities)
    if variant == "hard":
        method, reference = PMR(alpha=2.0, momentum=0.25), PMRReference(model, clips, losses, 2.0, 0.25)
    else:
        method = PMR(alpha=1.5, momentum=0.25, weights="clip", entropy=0.7)
        reference = PMRReference(model, clips, losses, 1.5, 0.25, clipped=True, entropy=0.7)
    opened = [OPEN, OPEN, OPEN, CLOSED, OPEN]
    epochs = [Epoch(index, each, Offered(model, clips) if each else None) for index, each in enumerate(opened)]
    assert_agreement(method, model, reference, batches(modalities, 3), epochs, losses, steps=2)
    assert len(reference.leaders) == 8


@pytest.mark.parametrize("modalities", [2, 3])
def test_a_class_without_a_prototype_agrees_with_the_reference(modalities: int) -> None:
    """Its clips count 0 in the scores and enter no loss, and no clip is thought to be of it."""
    model, clips = SmallModel(modalities, own_heads=False), few(modalities, without=1)
    assert 1 not in clips[1] and any((target == 1).any() for _, target in batches(modalities, 2))
    reference = PMRReference(model, clips, "none", 2.0, 0.2)
    epochs = [Epoch(index, OPEN, Offered(model, clips)) for index in range(3)]
    assert_agreement(PMR(alpha=2.0), model, reference, batches(modalities, 2), epochs, steps=2)


PROTOTYPES = {
    "a": torch.tensor([[0.0, 1], [3, 3]], dtype=torch.float64),
    "b": torch.tensor([[0.0, 0], [1, 1]], dtype=torch.float64),
}
TARGET = torch.tensor([0, 1])


def printed_example(**options) -> tuple[PMR, dict[str, Tensor], float]:
    """The method, the features with what the added loss does to them, and that loss."""
    features = {
        "a": torch.tensor([[0.0, 0], [3, 4]], dtype=torch.float64, requires_grad=True),
        "b": torch.tensor([[1.0, 0], [0, 2]], dtype=torch.float64, requires_grad=True),
    }
    method = PMR(**options)
    method.setup({name: [nn.Parameter(torch.zeros(1))] for name in features})
    method.load_state_dict({"tally": {}, "prototypes": PROTOTYPES, "seen": torch.ones(2, dtype=torch.bool)})
    fused = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    outputs = Outputs(fused, {}, {}, features)
    losses = Losses(fused=fused.sum())
    objective = method.objective(Step(Epoch(0, OPEN), 0, outputs, TARGET, losses))
    objective.backward()
    assert torch.equal(fused.grad, torch.ones_like(fused))
    return method, features, objective.item()


def test_the_printed_example() -> None:
    method, features, added = printed_example(alpha=1.0)
    found = method.diagnostics()
    assert (found["score.a"], found["score.b"]) == pytest.approx((0.962408, (0.5 + 0.642398) / 2), abs=1e-6)
    assert found["score.a"] / found["score.b"] == pytest.approx(1.684891, abs=1e-5)
    assert (found["weight.a"], found["weight.b"]) == (0, 1)
    assert (found["regulated.a"], found["regulated.b"]) == (0, 1)
    assert added == pytest.approx(0.567847, abs=1e-6)
    expected = torch.tensor([[0.25, 0.25], [-0.1264, -0.0524]], dtype=torch.float64)
    torch.testing.assert_close(features["b"].grad, expected, atol=5e-5, rtol=0)
    assert not features["a"].grad.any()
    assert printed_example(alpha=3.0)[2] == pytest.approx(3 * added)


def test_the_printed_example_as_the_paper_is_reported_to_have_it() -> None:
    method, _, added = printed_example(alpha=1.0, weights="clip", entropy=0.1)
    found = method.diagnostics()
    assert found["weight.b"] == pytest.approx(0.684891, abs=1e-5)
    assert added == pytest.approx(0.684891 * 0.567847 - 0.1 * 0.684891 * 0.160215, abs=1e-5)
    assert (found["regulated.a"], found["regulated.b"]) == (1, 1)  # the leader by the entropy, the other by its loss
    assert printed_example(alpha=0.0, entropy=0.1)[0].diagnostics()["regulated.b"] == 0


def test_a_feature_at_its_prototype_and_one_at_none() -> None:
    method, features, _ = printed_example(alpha=1.0)
    with torch.no_grad():
        for name, feature in features.items():
            feature.copy_(PROTOTYPES[name])
            feature.grad = None
    step = Step(Epoch(0, OPEN), 0, Outputs(torch.zeros(2, 2), {}, {}, features), TARGET, Losses(torch.zeros(())))
    method.objective(step).backward()
    assert all(feature.grad.isfinite().all() for feature in features.values())


class Steps:
    """One step of PMR and one of joint training from the same state."""

    def __init__(self, modalities: int = 3, losses: str = "own", **options):
        self.model = SmallModel(modalities)
        self.method, batch = PMR(**options), batches(modalities, 1)[0]
        self.epoch = Epoch(0, OPEN, Offered(self.model, few(modalities)))
        self.method.setup(parameters_of(self.model))
        self.method.epoch_start(self.epoch)
        twin = deepcopy(self.model)
        self.found = self.step(self.method, self.model, batch, losses)
        self.plain = self.step(Joint(), twin, batch, losses)

    def step(self, method, model, batch, losses):
        return train_step(method, model, torch.optim.SGD(model.parameters(), lr=0.05), self.epoch, 0, batch, losses)


def test_only_encoders_that_do_not_lead_are_touched() -> None:
    steps = Steps(alpha=2.0)
    found = steps.method.diagnostics()
    leaders = [name for name in "abc" if not found[f"weight.{name}"]]
    assert len(leaders) == 1
    changed = {name.split(".")[1] for name, g in steps.found.items() if not torch.equal(g, steps.plain[name])}
    assert changed == set("abc") - set(leaders)
    assert all(torch.equal(steps.found[f"head.{each}"], steps.plain[f"head.{each}"]) for each in ("weight", "bias"))


@pytest.mark.parametrize("losses", ["none", "own", "slice"])
@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"alpha": 0.0, "weights": "clip"}])
def test_alpha_zero_is_joint_training_to_the_last_bit(options: dict, losses: str) -> None:
    steps = Steps(losses=losses, **options)
    for name, gradient in steps.plain.items():
        assert gradient is None or torch.equal(steps.found[name], gradient), name
    assert not any(value for key, value in steps.method.diagnostics().items() if key.startswith("regulated"))


def renewed(method: PMR, epoch: int, value: float, label: int = 0) -> Tensor:
    """The prototypes of `a` after an epoch's start at which all features of class `label` are `value`."""

    class Fixed(Offered):
        def features(self, share: float):
            self.share = share
            return {"a": torch.tensor([[value - 1], [value + 1]])}, torch.tensor([label, label])

    services = Fixed(nn.Identity(), ({}, torch.zeros(0)))
    method.epoch_start(Epoch(epoch, frozenset("a"), services))
    assert services.share == method.config.share
    return method.state_dict()["prototypes"]["a"]


def test_prototypes_are_means_smoothed_from_epoch_two_on_and_an_absent_class_keeps_its_own() -> None:
    method = PMR(momentum=0.25, share=0.3)
    method.setup({"a": [nn.Parameter(torch.zeros(1))]})
    assert [renewed(method, epoch, value)[0].item() for epoch, value in enumerate((5.0, 4.0, 8.0))] == [5, 4, 7]
    assert method.state_dict()["seen"].tolist() == [True, False, False]
    found = renewed(method, 3, 100.0, label=2)
    assert (found[0].item(), found[2].item()) == (7, 100)  # kept, and new: there is nothing to smooth with
    method.epoch_start(Epoch(4, frozenset()))  # closed: nothing is asked for, nothing changes
    assert torch.equal(method.state_dict()["prototypes"]["a"], found)


def test_an_interrupted_epoch_goes_on_to_the_same_bits() -> None:
    steps, data = Steps(alpha=2.0), batches(3, 3)
    state, twin = saved(steps.method), deepcopy(steps.model)
    expected = [steps.step(steps.method, steps.model, batch, "own") for batch in data]
    resumed = PMR(alpha=2.0)
    resumed.setup(parameters_of(twin))
    resumed.load_state_dict(state)
    for batch, gradients in zip(data, expected, strict=True):
        found = steps.step(resumed, twin, batch, "own")
        assert all(torch.equal(found[name], gradients[name]) for name in found)
    assert resumed.diagnostics() == steps.method.diagnostics()


def test_a_frozen_encoder() -> None:
    model = SmallModel(2, own_heads=False)
    for parameter in model.encoders["a"].parameters():
        parameter.requires_grad_(False)
    method, epoch = PMR(), Epoch(0, OPEN, Offered(model, few(2)))
    method.setup(parameters_of(model))
    method.epoch_start(epoch)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    found = train_step(method, model, optimizer, epoch, 0, batches(2, 1)[0])
    assert found["encoders.a.0.weight"] is None
    assert found["encoders.b.0.weight"].isfinite().all()


def test_a_loop_of_ones_own_must_offer_features() -> None:
    method = PMR()
    method.setup(parameters_of(SmallModel(2)))
    with pytest.raises(Misuse, match=r"prototypes.*services"):
        method.epoch_start(Epoch(0, OPEN))
    method.epoch_start(Epoch(0, CLOSED))
