"""AGM: against the released hooks written out, the printed numbers, and what must not move."""

import math
from copy import deepcopy
from itertools import combinations

import pytest
import torch
from reference import (
    CLASSES,
    EXAMPLE,
    EXAMPLE_TARGET,
    AGMReference,
    SmallModel,
    assert_agreement,
    batches,
    gradients_of,
    saved,
    train_step,
)
from torch import Tensor, nn

from inforeg_cli.errors import Misuse
from inforeg_cli.methods import AGM, Joint
from inforeg_cli.models.encoders import Cnn, Mlp, Transformer
from inforeg_cli.models.fusion import Concat, Film, Gated, Sum
from inforeg_cli.models.late_fusion import build
from inforeg_cli.step import Epoch, Losses, Outputs, Step

OPEN, CLOSED = frozenset("abc"), frozenset()


def parameters_of(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    return {name: list(encoder.parameters()) for name, encoder in model.encoders.items()}


@pytest.mark.parametrize("losses", ["none", "own", "slice"])
@pytest.mark.parametrize("modalities", [2, 3])
def test_training_agrees_with_the_reference(modalities: int, losses: str) -> None:
    model = SmallModel(modalities, own_heads=losses == "own")
    reference = AGMReference(model, losses, alpha=1.5)
    epochs = [Epoch(0, OPEN), Epoch(1, CLOSED), Epoch(2, OPEN)]
    assert_agreement(AGM(alpha=1.5), model, reference, batches(modalities, 3), epochs, losses, steps=2)
    assert len(reference.kappas) == 4
    assert all(abs(kappa - 1) > 1e-3 for step in reference.kappas for kappa in list(step.values())[:1])


@pytest.mark.parametrize("scale", [20, 1])
def test_clipping_agrees_with_the_reference(scale: float) -> None:
    """To a norm far below that of the gradient, but only where an entry of the fusion's lies beyond 1."""
    model = SmallModel(2, own_heads=False)
    with torch.no_grad():
        for encoder in model.encoders.values():
            encoder[-1].weight *= scale
    reference, method = AGMReference(model, "none", alpha=1.0, clip=0.05), AGM(alpha=1.0, clip=0.05)
    everything = {"everything": list(model.parameters()), "fusion": list(model.head.parameters())}
    assert_agreement(method, model, reference, batches(2, 3), [Epoch(0, OPEN)], steps=3, **everything)
    norm = torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()
    assert (norm == pytest.approx(0.05, rel=1e-4)) if scale > 1 else (norm > 0.1)


class Additive(nn.Module):
    """f(S) is the sum of what the modalities in S say, each scaled by its one weight: phi_m is what m says."""

    def __init__(self, names: str = "ab"):
        super().__init__()
        self.encoders = nn.ModuleDict({name: nn.Linear(1, 1, bias=False).double() for name in names})
        for encoder in self.encoders.values():
            nn.init.ones_(encoder.weight)

    def encode(self, inputs: dict[str, Tensor], lengths: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.encoders[name].weight * x for name, x in inputs.items()}

    def join(self, features: dict[str, Tensor]) -> Outputs:
        return Outputs(sum(features.values()), dict(features))

    def forward(self, inputs: dict[str, Tensor], lengths: dict[str, Tensor]) -> Outputs:
        return self.join(self.encode(inputs, lengths))


def kappas(method: AGM, model: Additive) -> tuple[dict[str, float], dict[str, float]]:
    """kappa of the shared example, and by what factor each modality's gradient is that of joint training."""
    steps = {}
    for name, active in (("joint", Joint()), ("agm", method)):
        model.zero_grad()
        outputs = active.forward(model, EXAMPLE, {})
        active.backward(Step(Epoch(0, OPEN), 0, outputs, EXAMPLE_TARGET, Losses.of(outputs, EXAMPLE_TARGET)))
        steps[name] = {key: encoder.weight.grad.item() for key, encoder in model.encoders.items()}
    found = method.diagnostics()
    return {key: found[f"coefficient.{key}"] for key in "ab"}, {
        key: steps["agm"][key] / steps["joint"][key] for key in "ab"
    }


@pytest.mark.parametrize(
    ("running", "expected"), [((0.0, 0.0), (0.185532, 2.211030)), ((1.0, 1.2), (0.258613, 1.684645))]
)
def test_the_shared_example_and_an_additive_model(running: tuple, expected: tuple) -> None:
    method, model = AGM(alpha=1.5), Additive()
    method.setup(parameters_of(model))
    state = {"tally": {}, "running": torch.tensor(running, dtype=torch.float64), "count": torch.tensor(3.0)}
    method.load_state_dict(state)
    found, factors = kappas(method, model)
    assert tuple(found.values()) == pytest.approx(expected, abs=1e-6)
    assert factors == pytest.approx(found, rel=1e-12)  # the gradient of theta_m is kappa_m times the joint one
    scores = method.diagnostics()
    assert (scores["score.a"], scores["score.b"]) == pytest.approx((0.496131, 1.248970), abs=1e-6)
    means = [(3 * before + now) / 4 for before, now in zip(running, (0.496131, 1.248970), strict=True)]
    assert method.state_dict()["running"].tolist() == pytest.approx(means, abs=1e-6)


def test_kappa_is_capped() -> None:
    method, model = AGM(alpha=0.7), Additive()
    method.setup(parameters_of(model))
    far = torch.tensor([0.0, math.log(60)], dtype=torch.float64)  # tau_a = 60
    method.load_state_dict({"tally": {}, "running": far, "count": torch.tensor(1.0)})
    assert kappas(method, model)[0]["a"] == pytest.approx(math.exp(7), rel=1e-12)


def test_as_far_ahead_as_ever_is_joint_training_to_the_last_bit() -> None:
    """The batch of the first step again: the running means are its scores, so tau = r."""
    model, batch = SmallModel(3, own_heads=False), batches(3, 1)[0]
    method, still = AGM(alpha=2.0), torch.optim.SGD(model.parameters(), lr=0.0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    method.setup(parameters_of(model))
    method.epoch_start(Epoch(0, OPEN))
    first = train_step(method, model, still, Epoch(0, OPEN), 0, batch)
    assert method.diagnostics()["coefficient.a"] != 1
    again = train_step(method, model, still, Epoch(0, OPEN), 1, batch)
    plain = train_step(Joint(), model, still, Epoch(0, OPEN), 1, batch)
    assert all(torch.equal(again[name], plain[name]) for name in plain)
    assert not all(torch.equal(again[name], first[name]) for name in plain)


@pytest.mark.parametrize("losses", ["none", "own", "slice"])
@pytest.mark.parametrize("modalities", [1, 2, 3])
def test_alpha_zero_is_joint_training_to_the_last_bit(modalities: int, losses: str) -> None:
    models = [SmallModel(modalities, own_heads=losses == "own") for _ in range(2)]
    data, epoch = batches(modalities, 2), Epoch(0, OPEN)
    found = []
    for model, method in zip(models, (AGM(alpha=0.0), Joint()), strict=True):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        method.setup(parameters_of(model))
        method.epoch_start(epoch)
        found.append([train_step(method, model, optimizer, epoch, i, data[i % 2], losses) for i in range(4)])
        assert method.diagnostics().get("regulated.a", 0) == 0
    for ours, plain in zip(*found, strict=True):
        assert all(torch.equal(ours[name], plain[name]) for name in plain)
    left, right = (model.state_dict() for model in models)
    assert all(torch.equal(left[key], right[key]) for key in left)  # running statistics, too


SHAPES = {"picture": (1, 8, 8), "words": (5,), "series": (6, 4)}
CONFIGS = {
    "picture": Cnn.Config(channels=(3, 4)),
    "words": Transformer.Config(dim=8, heads=2, depth=1),
    "series": Mlp.Config(hidden=(5,), dim=6, dropout=0.5),
}


@pytest.mark.parametrize(
    "fusion", [Concat.Config(), Sum.Config(), Gated.Config(dim=7), Film.Config()], ids=lambda config: config.name
)
def test_absent_is_what_the_model_calls_absent(fusion) -> None:
    """Zeros to its encoder, for a text padding and length 0; and no trace is left of the passes in eval mode."""
    model = build(CONFIGS, fusion, SHAPES, CLASSES, False, seed=0, vocabularies={"words": 9})
    generator = torch.Generator().manual_seed(1)
    inputs = {
        "picture": torch.randn(4, 1, 8, 8, generator=generator),
        "words": torch.randint(1, 9, (4, 5), generator=generator),
        "series": torch.randn(4, 6, 4, generator=generator),
    }
    lengths = {"words": torch.tensor([1, 5, 2, 3]), "series": torch.tensor([6, 1, 2, 3])}
    twin, method = deepcopy(model), AGM()
    method.setup(model.encoder_parameters())
    torch.manual_seed(2)
    outputs = method.forward(model, inputs, lengths)
    torch.manual_seed(2)
    torch.testing.assert_close(outputs.fused, twin(inputs, lengths).fused, rtol=0, atol=0)
    left, right = model.state_dict(), twin.state_dict()
    assert all(torch.equal(left[key], right[key]) for key in left)
    assert all(module.training for module in model.modules())
    twin.eval()
    subsets = sorted(
        (present for size in (1, 2) for present in combinations(range(3), size)), key=lambda s: sum(2**m for m in s)
    )
    for present, found in zip(subsets, method._partial, strict=True):
        absent = frozenset(name for m, name in enumerate(CONFIGS) if m not in present)
        torch.testing.assert_close(found, twin(inputs, lengths, absent=absent).fused)


def test_what_is_kept_in_eval_mode_stays_there() -> None:
    model = SmallModel(2, own_heads=False)
    kept = model.encoders["a"][1]
    kept.eval()
    before = kept.running_mean.clone()
    method = AGM()
    method.setup(parameters_of(model))
    method.forward(model, batches(2, 1)[0][0], {})
    assert not kept.training
    assert torch.equal(kept.running_mean, before)
    assert all(module.training for module in model.modules() if module is not kept)


@pytest.mark.parametrize("fusion_too", [False, True])
def test_a_frozen_encoder(fusion_too: bool) -> None:
    """Where the fusion is frozen as well, f of the frozen encoder alone has no gradient at all."""
    model = SmallModel(2, own_heads=False)
    frozen = [*model.encoders["a"].parameters(), *(model.head.parameters() if fusion_too else ())]
    for parameter in frozen:
        parameter.requires_grad_(False)
    method, epoch = AGM(), Epoch(0, OPEN)
    method.setup(parameters_of(model))
    method.epoch_start(epoch)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for index, batch in enumerate(batches(2, 2)):
        train_step(method, model, optimizer, epoch, index, batch)
    assert all(parameter.grad is None for parameter in frozen)
    assert all(parameter.grad.isfinite().all() for parameter in model.encoders["b"].parameters())


def test_an_interrupted_epoch_goes_on_to_the_same_bits() -> None:
    model, data, epoch = SmallModel(2, own_heads=False), batches(2, 4), Epoch(0, OPEN)
    method = AGM(alpha=1.5)
    method.setup(parameters_of(model))
    method.epoch_start(epoch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for index in range(2):
        train_step(method, model, optimizer, epoch, index, data[index])
    states = [saved(method), method.state_dict()]
    twins = [deepcopy(model) for _ in states]
    expected = [train_step(method, model, optimizer, epoch, index, data[index]) for index in (2, 3)]
    for state, twin in zip(states, twins, strict=True):
        resumed, optimizer = AGM(alpha=1.5), torch.optim.SGD(twin.parameters(), lr=0.05)
        resumed.setup(parameters_of(twin))
        resumed.load_state_dict(state)
        for index, gradients in zip((2, 3), expected, strict=True):
            found = train_step(resumed, twin, optimizer, epoch, index, data[index])
            assert all(torch.equal(found[name], gradients[name]) for name in found)
        assert resumed.diagnostics() == method.diagnostics()


def test_half_precision_keeps_the_scores_in_single() -> None:
    model, batch = SmallModel(2, own_heads=False), batches(2, 1, clips=8)[0]
    model.float()
    inputs = {name: x.float() for name, x in batch[0].items()}
    method = AGM(alpha=1.0)
    method.setup(parameters_of(model))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = method.forward(model, inputs, {})
        losses = Losses.of(outputs, batch[1])
    assert outputs.fused.dtype == torch.bfloat16
    method.backward(Step(Epoch(0, OPEN), 0, outputs, batch[1], losses))
    assert method.state_dict()["running"].dtype == torch.float32
    assert all(gradient.isfinite().all() for gradient in gradients_of(model).values())


def test_clipping_needs_to_know_all_parameters() -> None:
    with pytest.raises(Misuse, match="everything"):
        AGM(clip=1.0).setup(parameters_of(SmallModel(2)))
    assert AGM.Config(clip=1.0).requires == {"all parameters"}
    assert AGM.Config().requires == frozenset()
