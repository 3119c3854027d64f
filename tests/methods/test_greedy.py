"""Greedy: against the naive reference, its pattern of curation, and what it must leave alone."""

from copy import deepcopy

import pytest
import torch
from reference import CLASSES, GreedyReference, assert_agreement, batches, gradients_of, saved, train_step

from inforeg_cli.errors import Misuse
from inforeg_cli.methods import Greedy, Joint
from inforeg_cli.methods.greedy import Branches
from inforeg_cli.models.encoders import Cnn
from inforeg_cli.models.fusion import Branches as MeanOfHeads
from inforeg_cli.models.fusion import Concat
from inforeg_cli.models.late_fusion import LateFusion, build
from inforeg_cli.step import Epoch

OPEN, CLOSED = frozenset("abc"), frozenset()
WIDTHS = {"a": (3, 4), "b": (3, 5, 4), "c": (2, 3)}


def network(modalities: int = 2, heads: str = "branches", exchange: bool = True) -> LateFusion:
    """Encoders of two and three stages, so one block: in float64."""
    configs = {name: Cnn.Config(channels=WIDTHS[name]) for name in "abc"[:modalities]}
    fusion = MeanOfHeads.Config() if heads == "branches" else Concat.Config()
    own = heads == "branches"
    return build(configs, fusion, dict.fromkeys(configs, (1, 6, 6)), CLASSES, own, seed=1, exchange=exchange).double()


def ready(model: LateFusion, **options) -> Greedy:
    method = Greedy(**options)
    method.setup(model.encoder_parameters(), **model.parts(method.config.requires))
    return method


def losses_of(heads: str) -> str:
    return "own" if heads == "branches" else "none"


def steps(method, model, count: int, first: int = 0, epoch: int = 0, heads: str = "branches", opened=OPEN):
    data, optimizer = batches(len(model.encoders), 4), torch.optim.SGD(model.parameters(), lr=0.05)
    now = Epoch(epoch, opened)
    return [
        train_step(method, model, optimizer, now, i, data[i % 4], losses_of(heads)) for i in range(first, first + count)
    ]


def same(left, right) -> bool:
    return all(
        (a[name] is None and b[name] is None) or torch.equal(a[name], b[name])
        for a, b in zip(left, right, strict=True)
        for name in a
    )


@pytest.mark.parametrize("heads", ["branches", "fused"])
@pytest.mark.parametrize("modalities", [2, 3])
def test_training_agrees_with_the_reference(modalities: int, heads: str) -> None:
    """An epoch of burning in, an open one, a closed one that cuts a curation in two, and an open one."""
    model = network(modalities, heads)
    options = {"epsilon": 0.01, "curation": 2, "burn_in": 1}
    reference = GreedyReference(model, **options, fused=heads == "fused")
    method = Greedy(heads=heads, **options)
    epochs = [Epoch(index, each) for index, each in enumerate((OPEN, OPEN, CLOSED, OPEN))]
    required = model.parts(method.config.requires)
    assert_agreement(method, model, reference, batches(modalities, 3), epochs, losses_of(heads), steps=4, **required)
    assert reference.pattern[:5] == [None] * 5
    assert set(reference.pattern[5:]) > {None}
    bypass, main = method.state_dict()["speeds"].tolist()
    assert bypass == pytest.approx(list(reference.bypass.values()), rel=1e-6)
    assert main == pytest.approx(list(reference.main.values()), rel=1e-6)
    for level, block in enumerate(model.exchange.blocks):
        means = torch.cat(
            [sum(history) / len(history) for history in (reference.means[level, n] for n in model.encoders)]
        )
        torch.testing.assert_close(block.means, means, rtol=1e-6, atol=0)


def pattern(method: Greedy, model: LateFusion, count: int, epoch: int = 0) -> list[int]:
    """Who is cared for in each step."""
    found, inner = [], model.exchange.forward

    def watched(*args):
        found.append(int(model.exchange.caring))
        return inner(*args)

    model.exchange.forward = watched
    method.epoch_start(Epoch(epoch, OPEN))
    steps(method, model, count, epoch=epoch)
    model.exchange.forward = inner
    return found


def test_a_difference_that_stays_is_five_curated_steps_and_a_regular_one() -> None:
    model = network()
    found = pattern(ready(model, epsilon=0.0, burn_in=0), model, 13)
    regular = [index for index, caring in enumerate(found) if caring < 0]
    assert regular == [0, 6, 12]
    assert len(set(found[1:6])) == 1  # one modality for the whole of a curation


def test_the_one_whose_bypass_learns_fastest_is_cared_for() -> None:
    model = network()
    method = ready(model, burn_in=0)
    method.epoch_start(Epoch(0, OPEN))
    for speeds, caring in (
        ([[2.0, 8.0], [4.0, 4.0]], 1),
        ([[8.0, 2.0], [4.0, 4.0]], 0),
        ([[2.0, 2.0], [4.0, 4.0]], -1),
    ):
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        state = saved(method)
        method.load_state_dict({**state, "speeds": torch.tensor(speeds, dtype=torch.float64)})
        method.adjust(type("Step", (), {"epoch": Epoch(0, OPEN), "index": 0})())
        assert method.state_dict()["state"][0] == caring
        if caring == 1:
            assert method.diagnostics()["imbalance.a"] == pytest.approx(-0.60206, abs=1e-5)
        method.load_state_dict(state)


def test_burning_in_measures_and_never_curates() -> None:
    model = network()
    method = ready(model, epsilon=0.0, burn_in=2)
    assert pattern(method, model, 4) + pattern(method, model, 4, epoch=1) == [-1] * 8
    assert method.state_dict()["speeds"].all()
    later = pattern(method, model, 3, epoch=2)  # the last step of burning in decides nothing
    assert later[0] == -1 and later[1] >= 0


def test_the_random_variant_takes_every_choice_and_is_a_function_of_the_seed() -> None:
    found = []
    for seed in (0, 0, 1):
        model = network(3)
        method = Greedy(random=True, burn_in=1, seed=seed)
        method.setup(model.encoder_parameters(), **model.parts(method.config.requires))
        assert pattern(method, model, 5) == [-1] * 5
        found.append(pattern(method, model, 40, epoch=1))
    assert found[0] == found[1] != found[2]
    assert set(found[0]) == {-1, 0, 1, 2}


@pytest.mark.parametrize("heads", ["branches", "fused"])
@pytest.mark.parametrize("options", [{"epsilon": 1e30, "burn_in": 0}, {"curate": False}], ids=["epsilon", "curate"])
def test_without_curation_it_is_its_baseline_to_the_last_bit(options: dict, heads: str) -> None:
    model, twin = network(2, heads), network(2, heads)
    method, baseline = ready(model, heads=heads, **options), Branches() if heads == "branches" else Joint()
    method.epoch_start(Epoch(0, OPEN))
    assert same(steps(method, model, 6, heads=heads), steps(baseline, twin, 6, heads=heads))
    left, right = model.state_dict(), twin.state_dict()
    assert all(torch.equal(left[key], right[key]) for key in left)
    assert not any(value for key, value in method.diagnostics().items() if key.startswith("regulated"))


def test_a_closed_window_is_its_baseline_even_where_it_cuts_a_curation() -> None:
    model = network()
    method = ready(model, epsilon=0.0, burn_in=0)
    method.epoch_start(Epoch(0, OPEN))
    steps(method, model, 3)
    assert model.exchange.caring >= 0
    twin, state = deepcopy(model), method.state_dict()
    twin.exchange.caring.fill_(-1)
    method.epoch_start(Epoch(1, CLOSED))
    assert same(steps(method, model, 4, epoch=1, opened=CLOSED), steps(Branches(), twin, 4, epoch=1))
    after = method.state_dict()
    assert torch.equal(after["speeds"], state["speeds"])
    assert after["state"] == state["state"]


def test_evaluation_takes_the_live_gates() -> None:
    model = network()
    method = ready(model, epsilon=0.0, burn_in=0)
    method.epoch_start(Epoch(0, OPEN))
    steps(method, model, 3)
    inputs, _ = batches(2, 1)[0]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.eval()
    caring = model(inputs).fused
    model.exchange.caring.fill_(-1)
    assert torch.equal(caring, model(inputs).fused)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.train()
    model.exchange.caring.fill_(0)
    assert not torch.equal(model(inputs).fused, caring)


def test_no_gradient_is_changed() -> None:
    model, data = network(), batches(2, 1)[0]
    method = ready(model, epsilon=0.0, burn_in=0)
    method.epoch_start(Epoch(0, OPEN))
    plain = []

    class Watched(Greedy):
        def adjust(self, step):
            plain.append(gradients_of(model))
            super().adjust(step)

    method.__class__ = Watched
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    found = [train_step(method, model, optimizer, Epoch(0, OPEN), index, data, "own") for index in range(3)]
    assert same(found, plain)
    counts = method.diagnostics()
    assert counts["regulated.a"] + counts["regulated.b"] == 2


@pytest.mark.parametrize("random", [False, True])
def test_a_curation_that_was_interrupted_goes_on_to_the_same_bits(random: bool) -> None:
    model = network()
    method = ready(model, epsilon=0.0, burn_in=0, random=random)
    method.epoch_start(Epoch(0, OPEN))
    steps(method, model, 3)
    states, weights = [saved(method), method.state_dict()], deepcopy(model.state_dict())
    expected = steps(method, model, 6, first=3)
    for state in states:
        twin = network()
        twin.load_state_dict(weights)
        resumed = ready(twin, epsilon=0.0, burn_in=0, random=random)
        resumed.load_state_dict(state)
        assert same(steps(resumed, twin, 6, first=3), expected)
        assert resumed.diagnostics() == method.diagnostics()


def test_a_frozen_encoder() -> None:
    model = network()
    for parameter in model.encoders["a"].parameters():
        parameter.requires_grad_(False)
    method = ready(model, epsilon=0.0, burn_in=0)
    method.epoch_start(Epoch(0, OPEN))
    found = steps(method, model, 4)
    assert all(g["encoders.a.stages.0.0.weight"] is None for g in found)
    assert torch.isfinite(method.state_dict()["speeds"]).all()
    assert all(value == value for value in method.diagnostics().values())


def test_one_modality_alone() -> None:
    model, twin = network(1), network(1, exchange=False)
    method = ready(model, burn_in=0)
    method.epoch_start(Epoch(0, OPEN))
    assert same(steps(method, model, 3), steps(Branches(), twin, 3))
    assert method.diagnostics() == {}


def test_misuse() -> None:
    model = network()
    with pytest.raises(Misuse, match=r"exchange=\.\.\."):
        Greedy().setup(model.encoder_parameters())
    with pytest.raises(Misuse, match="unimodal"):
        method = ready(model)
        method.epoch_start(Epoch(0, OPEN))
        train_step(method, model, torch.optim.SGD(model.parameters(), 0.1), Epoch(0, OPEN), 0, batches(2, 1)[0], "none")


def test_options() -> None:
    assert Greedy.Config().requires == {"exchange", "own heads"}
    assert (Greedy.Config().fusion, Greedy.Config(heads="fused").fusion) == ("branches", None)
    labels = [
        Greedy.Config(**options).label for options in ({}, {"random": True}, {"heads": "fused"}, {"curate": False})
    ]
    assert labels == ["greedy", "greedy-random", "greedy-fused", "mmtm"]
    assert Greedy.Config(epsilon=0.5).off == Greedy.Config(epsilon=0.5, curate=False)
