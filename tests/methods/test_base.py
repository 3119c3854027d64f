"""What holds for every method: off is joint training, neither order nor repeats matter, nothing waits, all resumes."""

from copy import deepcopy
from io import BytesIO
from typing import Any

import pytest
import torch
from reference import (
    CLASSES,
    EXAMPLE,
    EXAMPLE_TARGET,
    Gradients,
    Reference,
    SmallModel,
    batches,
    gradients_of,
    joint,
    train_step,
)
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from inforeg_cli.methods import METHODS, OGM, InfoReg, Joint, Method
from inforeg_cli.methods.base import true_class_log_probabilities
from inforeg_cli.numerics.traces import GradientTrace
from inforeg_cli.step import Epoch, Losses, Outputs, Step

EVERY: dict[str, dict[str, Any]] = {
    "joint": {},
    "ogm": {"alpha": 0.8},
    "ogm-ge": {"alpha": 0.8, "noise": True},
    "inforeg": {},
    "inforeg-sum-p": {"score": "sum_p", "beta": 1.0, "strength": 0.95},
}
ACTING = [name for name in EVERY if name != "joint"]


def make(name: str, seed: int = 0, **options: Any) -> Method:
    kind = next(method for known, method in METHODS.items() if name.startswith(known))
    return kind(seed=seed, **{**EVERY[name], **options})


class Run:
    """A method that trains a small model, epoch after epoch of four steps."""

    def __init__(self, method: Method, modalities: int = 2, opened: str | None = None, losses: str = "none"):
        self.method, self.losses, self.model = method, losses, SmallModel(modalities, own_heads=losses == "own")
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
        self.method.setup(self.model.encoder_parameters())
        self.open = frozenset(self.model.encoders if opened is None else opened)
        self.data = batches(modalities, 4)

    def train(self, steps: int, first: int = 0) -> list[Gradients]:
        seen = []
        for number in range(first, first + steps):
            epoch = Epoch(number // 4, self.open)
            if number % 4 == 0:
                self.method.epoch_start(epoch)
            seen.append(
                train_step(
                    self.method, self.model, self.optimizer, epoch, number % 4, self.data[number % 4], self.losses
                )
            )
        return seen


def same(left: list[Gradients], right: list[Gradients]) -> bool:
    """Bit for bit."""
    return all(
        (a[name] is None and b[name] is None) or torch.equal(a[name], b[name])
        for a, b in zip(left, right, strict=True)
        for name in a
    )


@pytest.mark.parametrize("losses", ["none", "own", "slice"])
def test_the_defaults_are_joint_training(losses: str) -> None:
    run, reference = Run(Joint(), losses=losses), Reference(SmallModel(2, own_heads=losses == "own"), joint, losses)
    for number, found in enumerate(run.train(8)):
        expected = reference.step(*run.data[number % 4])
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ogm", {"alpha": 0.0}),
        ("inforeg", {"strength": 0.0}),
        ("inforeg-sum-p", {"strength": {"a": 0.0, "b": 0.0}}),
    ],
)
def test_the_off_setting_is_joint_training_to_the_last_bit(name: str, options: dict[str, Any]) -> None:
    assert same(Run(make(name, **options)).train(8), Run(Joint()).train(8))
    assert not same(Run(make(name)).train(8), Run(Joint()).train(8))


@pytest.mark.parametrize("losses", ["none", "own", "slice"])
@pytest.mark.parametrize("name", ACTING)
def test_a_closed_window_is_joint_training_to_the_last_bit(name: str, losses: str) -> None:
    closed, baseline = Run(make(name), opened="", losses=losses), Run(Joint(), losses=losses)
    assert same(closed.train(8), baseline.train(8))
    assert closed.method.diagnostics() == {}
    assert all(torch.equal(a, b) for a, b in zip(closed.model.parameters(), baseline.model.parameters(), strict=True))


@pytest.mark.parametrize("modalities", range(1, 7))
@pytest.mark.parametrize("name", EVERY)
def test_any_number_of_modalities(name: str, modalities: int) -> None:
    found = Run(make(name), modalities).train(6)
    assert all(gradient.isfinite().all() for gradients in found for gradient in gradients.values())
    if modalities == 1 and name != "ogm-ge":  # alone, noise is left; the loop runs the baseline then
        assert same(found, Run(Joint(), 1).train(6))


@pytest.mark.parametrize("name", ["ogm", "inforeg", "inforeg-sum-p"])
def test_relabelling_modalities_relabels_coefficients_and_gradients(name: str) -> None:
    model, (first, second) = SmallModel(3, own_heads=False), batches(3, 2)
    found = {}
    for order in ("abc", "cab", "bca"):
        clone = deepcopy(model)
        parameters = clone.encoder_parameters()
        method = make(name)
        method.setup({key: parameters[key] for key in order})
        epoch = Epoch(0, frozenset(order))
        method.epoch_start(epoch)
        optimizer = torch.optim.SGD(clone.parameters(), lr=0.05)
        train_step(method, clone, optimizer, epoch, 0, first)
        gradients = train_step(method, clone, optimizer, epoch, 1, second)
        found[order] = gradients, method.diagnostics()
    for order in ("cab", "bca"):
        for key, gradient in found["abc"][0].items():
            torch.testing.assert_close(found[order][0][key], gradient, rtol=1e-12, atol=1e-14)
        assert found[order][1] == pytest.approx(found["abc"][1])
    strengths = [value for key, value in found["abc"][1].items() if key.startswith(("coefficient", "strength"))]
    assert len(set(strengths)) > 1  # there was something to relabel


def coefficients(name: str, logits: dict[str, Tensor], target: Tensor) -> dict[str, float]:
    method = make(name)
    method.setup({key: [nn.Parameter(torch.zeros(2, 2, 1, 1, dtype=torch.float64))] for key in logits})
    for group in method.parameters.values():
        group[0].grad = torch.ones_like(group[0])
    epoch = Epoch(0, frozenset(logits))
    method.epoch_start(epoch)
    method.adjust(Step(epoch, 0, Outputs(sum(logits.values()), logits), target))
    return method.diagnostics()


@pytest.mark.parametrize("name", ACTING)
def test_a_batch_said_twice_counts_once(name: str) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = {key: torch.randn(5, CLASSES, dtype=torch.float64, generator=generator) for key in "ab"}
    target = torch.randint(CLASSES, (5,), generator=generator)
    once = coefficients(name, logits, target)
    twice = coefficients(name, {key: value.repeat(2, 1) for key, value in logits.items()}, target.repeat(2))
    if name == "inforeg-sum-p":  # the released code's score is a sum, so its pull grows with the batch size
        assert max(twice.values()) > 1.05 * max(once.values())
    else:
        assert twice == pytest.approx(once)


@pytest.mark.parametrize("name", ACTING)
def test_no_gradient_flows_through_coefficients(name: str) -> None:
    run = Run(make(name))
    run.train(6)
    assert all(p.grad.grad_fn is None and not p.grad.requires_grad for p in run.model.parameters())
    assert all(not total.requires_grad for total in run.method.state_dict()["tally"].values())


def test_the_shared_example() -> None:
    outputs = Outputs(EXAMPLE["a"] + EXAMPLE["b"], EXAMPLE)
    step = Step(Epoch(0, frozenset("ab")), 0, outputs, EXAMPLE_TARGET)
    first, second = true_class_log_probabilities(step, ["a", "b"]).exp().T
    assert first.tolist() == pytest.approx([0.786986, 0.576117, 0.333333, 0.909443], abs=1e-6)
    assert second.tolist() == pytest.approx([0.451863, 0.211942, 0.333333, 0.211942], abs=1e-6)
    losses = Losses.of(outputs, EXAMPLE_TARGET, "slice")
    assert losses.unimodal["a"].item() == pytest.approx(0.496131, abs=1e-6)
    assert losses.unimodal["b"].item() == pytest.approx(1.248970, abs=1e-6)
    assert losses.fused.item() == pytest.approx(torch.nn.functional.cross_entropy(outputs.fused, EXAMPLE_TARGET).item())


def test_scores_are_detached_and_wide_enough() -> None:
    shares = {key: torch.randn(4, CLASSES, requires_grad=True) for key in "ab"}
    step = Step(Epoch(0, frozenset("ab")), 0, Outputs(sum(shares.values()), shares), torch.tensor([0, 1, 2, 0]))
    found = true_class_log_probabilities(step, ["b", "a"])
    assert not found.requires_grad
    assert found.shape == (4, 2)
    for clip, label in enumerate((0, 1, 2, 0)):
        for column, key in enumerate("ba"):
            expected = shares[key][clip, label] - shares[key][clip].exp().sum().log()
            assert found[clip, column].item() == pytest.approx(expected.item(), abs=1e-6)
    coarse = {key: value.detach().bfloat16() for key, value in shares.items()}
    step = Step(step.epoch, 0, Outputs(sum(coarse.values()), coarse), step.target)
    assert true_class_log_probabilities(step, ["a", "b"]).dtype == torch.float32


class NoWaiting(TorchDispatchMode):
    """Raises where a tensor's value would travel between host and device: reading one, or building one from numbers."""

    FORBIDDEN = (
        "_local_scalar_dense",
        "item",
        "is_nonzero",
        "equal",
        "allclose",
        "nonzero",
        "masked_select",
        "lift_fresh",
    )

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = function.overloadpacket.__name__
        masks = name.startswith("index") and any(
            index is not None and index.dtype == torch.bool
            for index in (args[1] if isinstance(args[1], list | tuple) else ())
        )
        if name in self.FORBIDDEN or name.startswith("unique") or masks:
            raise RuntimeError(f"{name} waits for the device")
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x.sum().item(), lambda x: bool((x > 0).any()), lambda x: float(x[0]), lambda x: x[x > 0],
        lambda x: torch.equal(x, x), lambda x: torch.tensor([1.0, 2.0]), lambda x: x[[0, 2]],
    ],
)  # fmt: skip
def test_the_guard_against_waiting_can_fail(waits: Any) -> None:
    with NoWaiting(), pytest.raises(RuntimeError, match="waits for the device"):
        waits(torch.ones(3))


@pytest.mark.parametrize("missing", [False, True], ids=["all", "some-missing"])
@pytest.mark.parametrize("modalities", [1, 2, 3])
@pytest.mark.parametrize("name", EVERY)
def test_a_step_never_waits_for_the_device(name: str, modalities: int, missing: bool) -> None:
    run = Run(make(name), modalities, losses="own")
    run.train(1)
    inputs, target = run.data[1]
    run.optimizer.zero_grad()
    outputs = run.model(inputs)
    with NoWaiting():
        step = Step(Epoch(0, run.open), 1, outputs, target, Losses.of(outputs, target, "own"))
        run.method.backward(step)
        if missing:
            run.model.encoders["a"][1].weight.grad = None
        run.method.adjust(step)


@pytest.mark.parametrize("reduction", ["sum", "layer-mean"])
@pytest.mark.parametrize("missing", [False, True], ids=["all", "some-missing"])
def test_a_trace_never_waits_for_the_device(missing: bool, reduction: str) -> None:
    model = SmallModel(2)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    if missing:
        model.encoders["a"][1].weight.grad = None
    trace = GradientTrace({**model.encoder_parameters(), "all": list(model.parameters())}, reduction)
    trace.update()
    with NoWaiting():
        trace.update()


@pytest.mark.parametrize("name", ["joint", "ogm", "inforeg", "inforeg-sum-p"])
def test_a_step_works_without_numbers(name: str) -> None:
    """On the meta device nothing can be read, so whatever depends on a value would raise."""
    parameters = {key: [nn.Parameter(torch.empty(3, 2, 1, 1, device="meta"))] for key in "abc"}
    for (parameter,) in parameters.values():
        parameter.grad = torch.empty_like(parameter)
    shares = {key: torch.empty(4, CLASSES, device="meta") for key in "abc"}
    method, epoch = make(name), Epoch(0, frozenset("abc"))
    method.setup(parameters)
    method.epoch_start(epoch)
    target = torch.zeros(4, dtype=torch.int64, device="meta")
    method.adjust(Step(epoch, 0, Outputs(shares["a"], shares), target))


@pytest.mark.parametrize("frozen", ["one parameter", "one modality"])
@pytest.mark.parametrize("name", EVERY)
def test_parameters_without_a_gradient_are_passed_over(name: str, frozen: str) -> None:
    run = Run(make(name))
    encoder = run.model.encoders["a"]
    for parameter in encoder.parameters() if frozen == "one modality" else [encoder[0].weight]:
        parameter.requires_grad_(False)
    run.train(3)
    assert encoder[0].weight.grad is None
    assert all(p.grad.isfinite().all() for p in run.model.encoders["b"].parameters())


@pytest.mark.parametrize("name", EVERY)
def test_an_interrupted_epoch_goes_on_to_the_same_bits(name: str) -> None:
    whole, file = Run(make(name, seed=3)), BytesIO()
    whole.train(6)  # two steps into the second epoch
    torch.save([whole.model.state_dict(), whole.optimizer.state_dict(), whole.method.state_dict()], file)
    in_memory = whole.method.state_dict()
    expected = whole.train(2, first=6)
    diagnostics = whole.method.diagnostics()
    expected += whole.train(4, first=8)

    file.seek(0)
    model, optimizer, from_file = torch.load(file, weights_only=True)  # tensors, numbers and strings only
    for state in (from_file, in_memory):  # going on must not have reached into the state that was taken
        resumed = Run(make(name, seed=3))
        resumed.model.load_state_dict(model)
        resumed.optimizer.load_state_dict(deepcopy(optimizer))
        resumed.method.load_state_dict(state)
        found = resumed.train(2, first=6)
        assert resumed.method.diagnostics() == diagnostics
        assert same(found + resumed.train(4, first=8), expected)


@pytest.mark.parametrize("name", ["inforeg", "ogm-ge"])
def test_what_a_checkpoint_holds_is_needed(name: str) -> None:
    """Without its state, or with another seed, a method goes on differently: the test above can fail."""
    whole, resumed = Run(make(name, seed=3)), Run(make(name, seed=4))
    whole.train(6)
    resumed.method.epoch_start(Epoch(1, resumed.open))
    resumed.model.load_state_dict(whole.model.state_dict())
    resumed.optimizer.load_state_dict(deepcopy(whole.optimizer.state_dict()))
    assert not same(resumed.train(2, first=6), whole.train(2, first=6))


def test_diagnostics_are_means_over_steps_and_counts_of_regulated_ones() -> None:
    method = Method()
    method.setup({"a": [], "b": []})
    method.epoch_start(Epoch(0, frozenset("ab")))
    method.tally(strength=torch.tensor([1.0, 0.0]), regulated=torch.tensor([1.0, 0.0]))
    method.tally(strength=torch.tensor([2.0, 0.5]), regulated=torch.tensor([1.0, 1.0]))
    assert method.diagnostics() == {"strength.a": 1.5, "strength.b": 0.25, "regulated.a": 2.0, "regulated.b": 1.0}
    method.epoch_start(Epoch(1, frozenset("ab")))
    assert method.diagnostics() == {}


@pytest.mark.parametrize("name", ACTING)
def test_a_step_counts_as_regulated_if_and_only_if_a_gradient_changed(name: str) -> None:
    run = Run(make(name), modalities=3)
    changed = dict.fromkeys("abc", 0)
    epoch = Epoch(0, run.open)
    run.method.epoch_start(epoch)
    for index, (inputs, target) in enumerate(run.data):
        run.optimizer.zero_grad()
        outputs = run.model(inputs)
        step = Step(epoch, index, outputs, target, Losses.of(outputs, target))
        run.method.backward(step)
        plain = gradients_of(run.model)
        run.method.adjust(step)
        for key, encoder in run.model.encoders.items():
            prefix = f"encoders.{key}."
            changed[key] += any(not torch.equal(p.grad, plain[prefix + each]) for each, p in encoder.named_parameters())
        run.optimizer.step()
    diagnostics = run.method.diagnostics()
    assert {key: diagnostics[f"regulated.{key}"] for key in "abc"} == changed
    assert sum(changed.values()) > 0


def test_a_method_is_made_from_a_config_or_from_options() -> None:
    assert OGM(alpha=0.5).config == OGM(OGM.Config(alpha=0.5)).config
    assert InfoReg().config == InfoReg.Config()
    for name, method in METHODS.items():
        assert method.Config().name == name
        with pytest.raises(ValueError, match="Extra inputs are not permitted"):
            method(no_such_option=1)
