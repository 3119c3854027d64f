"""G-Blending: against the naive reference, the printed weights, and when it asks for probes."""

from copy import deepcopy

import pytest
import torch
from reference import (
    BlendingReference,
    Offered,
    SmallModel,
    assert_agreement,
    batches,
    blended,
    saved,
    train_step,
)
from torch import nn

from inforeg_cli.errors import Misuse
from inforeg_cli.methods import GBlending, Joint
from inforeg_cli.step import Curve, Epoch

OPEN, CLOSED = frozenset("abc"), frozenset()
#: Train and held out, before and after, for two modalities and everything; and once more with others.
CURVES = [(2.0, 2.0, 1.0, 1.5), (2.0, 2.0, 1.4, 1.6), (2.0, 2.0, 0.6, 1.2)]
LATER = [(1.5, 1.6, 0.3, 1.7), (1.4, 1.6, 1.2, 1.5), (0.9, 1.4, 0.7, 1.0)]  # the first gained nothing


def curves(*rows: tuple[float, float, float, float]) -> list[Curve]:
    return [Curve(*row) for row in rows]


def offered(*rows: tuple[float, float, float, float]) -> Offered:
    return Offered(nn.Identity(), ({}, torch.zeros(0)), curves(*rows))


def weights_of(rows: list[tuple], modalities: str = "ab") -> dict[str, float]:
    method = GBlending()
    method.setup({name: [nn.Parameter(torch.zeros(1))] for name in modalities})
    method.epoch_start(Epoch(0, frozenset(modalities), offered(*rows)))
    return dict(zip([*modalities, "fused"], method.state_dict()["weights"].tolist(), strict=True))


@pytest.mark.parametrize("modalities", [2, 3])
def test_training_agrees_with_the_reference(modalities: int) -> None:
    """Weights found before epochs 0 and 2; epoch 1 is closed and trains the fused loss alone."""
    model, names = SmallModel(modalities), "abc"[:modalities]
    first, second = ([rows[0], *rows[-modalities:]] for rows in (CURVES, LATER))
    branches = [*names, "fused"]
    method = GBlending(estimate="online", super_epoch=2)
    reference = BlendingReference(model, blended(dict(zip(branches, first, strict=True))))
    data = batches(modalities, 3)
    epochs = [Epoch(0, OPEN, offered(*first)), Epoch(1, CLOSED)]
    assert_agreement(method, model, reference, data, epochs, "own")
    assert all(0 < weight < 1 for weight in reference.weights.values())

    state = method.state_dict()
    after = deepcopy(model)
    reference = BlendingReference(after, blended(dict(zip(branches, second, strict=True))))
    resumed = GBlending(estimate="online", super_epoch=2)
    resumed.setup(after.encoder_parameters())
    resumed.load_state_dict(state)
    optimizer = torch.optim.SGD(after.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    epoch = Epoch(2, OPEN, offered(*second))
    resumed.epoch_start(epoch)
    reference.start_epoch(OPEN, 2)
    for index, batch in enumerate(data):
        found, expected = train_step(resumed, after, optimizer, epoch, index, batch, "own"), reference.step(*batch)
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-9, msg=name)
    assert reference.weights["a"] == 0


def test_the_printed_weights() -> None:
    assert tuple(weights_of(CURVES).values()) == pytest.approx((0.140625, 0.703125, 0.15625), abs=1e-6)
    shifted = [tuple(each + 3 for each in row) for row in CURVES]
    assert weights_of(shifted) == pytest.approx(weights_of(CURVES), abs=1e-6)


def test_equal_curves_and_no_gain_at_all_are_uniform() -> None:
    for rows in ([CURVES[0]] * 4, [(1.0, 1.0, 0.5, 1.5)] * 4):
        assert list(weights_of(rows, "abc").values()) == pytest.approx([0.25] * 4)


def test_a_perfect_branch_takes_all_and_one_that_diverged_nothing() -> None:
    perfect = weights_of([CURVES[0], (2.0, 2.0, 1.0, 1.0), CURVES[2]])
    assert perfect["b"] > 0.999
    diverged = weights_of([CURVES[0], (2.0, 2.0, float("nan"), float("nan")), CURVES[2]])
    assert diverged["b"] == 0
    assert sum(diverged.values()) == pytest.approx(1)


def asked(method: GBlending, opened: list[int], epochs: int = 12) -> list[int]:
    """The epochs before which a method asks for probes, where its window is open in the epochs `opened`."""
    method.setup({name: [nn.Parameter(torch.zeros(1))] for name in "ab"})
    found = []
    for index in range(epochs):
        services = offered(*CURVES)
        method.epoch_start(Epoch(index, frozenset("ab" if index in opened else ""), services))
        if services.probes:
            online = method.config.estimate == "online"
            epochs = method.config.super_epoch if online else None
            assert services.probes == [(branch, epochs, not online) for branch in ("a", "b", None)]
            found.append(index)
    return found


def test_when_probes_are_asked_for() -> None:
    always = list(range(12))
    assert asked(GBlending(), always) == [0]
    assert asked(GBlending(), [4, 5, 9]) == [4]
    assert asked(GBlending(), []) == []
    assert asked(GBlending(estimate="online", super_epoch=5), always) == [0, 5, 10]
    assert asked(GBlending(estimate="online", super_epoch=5), [3, 4, 5, 6, 11]) == [3, 11]
    assert asked(GBlending(estimate="online", weights={"a": 1, "b": 1, "fused": 2}), always) == []


def test_a_resumed_run_does_not_ask_again() -> None:
    for estimate in ("offline", "online"):
        method, resumed = (GBlending(estimate=estimate, super_epoch=5) for _ in range(2))
        assert asked(method, [3], epochs=4) == [3]
        resumed.setup({name: [nn.Parameter(torch.zeros(1))] for name in "ab"})
        resumed.load_state_dict(saved(method))
        for index in range(4, 8):
            resumed.epoch_start(Epoch(index, frozenset("ab")))  # there is nothing that could be asked
        if estimate == "online":
            with pytest.raises(Misuse, match="probes"):
                resumed.epoch_start(Epoch(8, frozenset("ab")))
        assert torch.equal(resumed.state_dict()["weights"], method.state_dict()["weights"])


def steps(method, model: SmallModel, count: int = 4, opened: frozenset = OPEN, losses: str = "own"):
    data, epoch = batches(len(model.encoders), 2), Epoch(0, opened)
    method.setup(model.encoder_parameters())
    method.epoch_start(epoch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return [train_step(method, model, optimizer, epoch, i, data[i % 2], losses) for i in range(count)]


def test_given_weights_count_by_their_ratio() -> None:
    scaled = [{name: factor * weight for name, weight in {"a": 1, "b": 2, "fused": 5}.items()} for factor in (1, 0.25)]
    models = [SmallModel(2) for _ in scaled]
    found = [steps(GBlending(weights=weights), model) for weights, model in zip(scaled, models, strict=True)]
    assert all(torch.equal(one[name], other[name]) for one, other in zip(*found, strict=True) for name in one)
    reference = BlendingReference(SmallModel(2), {"a": 0.125, "b": 0.25, "fused": 0.625})
    reference.start_epoch(OPEN)
    for name, gradient in reference.step(*batches(2, 2)[0]).items():
        torch.testing.assert_close(found[0][0][name], gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("modalities", [1, 2, 3])
@pytest.mark.parametrize("how", ["all the weight on the fused loss", "closed"])
def test_the_fused_loss_alone_is_joint_training_to_the_last_bit(how: str, modalities: int) -> None:
    models = [SmallModel(modalities) for _ in range(2)]
    weights = {**dict.fromkeys("abc"[:modalities], 0.0 if how != "closed" else 1.0), "fused": 1.0}
    method = GBlending(weights=weights)
    found = steps(method, models[0], opened=CLOSED if how == "closed" else OPEN)
    plain = steps(Joint(), models[1], losses="none")
    for ours, theirs in zip(found, plain, strict=True):
        for name, gradient in theirs.items():
            assert name.startswith("heads.") or torch.equal(ours[name], gradient), name
    diagnostics = method.diagnostics()
    assert not any(value for key, value in diagnostics.items() if key.startswith("regulated"))
    if how == "closed":
        assert diagnostics == {}
        assert all(gradients["heads.a.weight"] is None for gradients in found)


def test_what_is_logged() -> None:
    method = GBlending(weights={"a": 1, "b": 0, "fused": 1})
    steps(method, SmallModel(2))
    assert method.diagnostics() == {
        "weight.a": 0.5, "weight.b": 0, "weight.fused": 0.5, "regulated.a": 4, "regulated.b": 4,
    }  # fmt: skip


def test_one_modality_alone_needs_no_probes() -> None:
    method = GBlending(estimate="online", super_epoch=1)
    method.setup({"a": [nn.Parameter(torch.zeros(1))]})
    for index in range(3):
        method.epoch_start(Epoch(index, frozenset("a")))
    assert method.state_dict()["weights"].tolist() == [0, 1]


def test_misuse() -> None:
    method = GBlending()
    method.setup(SmallModel(2).encoder_parameters())
    with pytest.raises(Misuse, match=r"probes.*services"):
        method.epoch_start(Epoch(0, OPEN))
    with pytest.raises(Misuse, match="unimodal"):
        steps(GBlending(weights={"a": 1, "b": 1, "fused": 1}), SmallModel(2, own_heads=False), losses="none")
    with pytest.raises(Misuse, match="one for each of a, b, fused"):
        GBlending(weights={"a": 1, "fused": 1}).setup(SmallModel(2).encoder_parameters())
    with pytest.raises(ValueError, match="nothing would be trained"):
        GBlending(weights={"a": 0, "b": 0, "fused": 0})
    assert GBlending.Config().requires == {"own heads", "held out"}
    assert GBlending.Config(weights={"fused": 1}).requires == {"own heads"}
