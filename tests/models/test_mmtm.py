"""MMTM: gates, their running means, and a curated branch that sees nothing of the others."""

import pytest
import torch

from inforeg_cli.models.initialise import initialised
from inforeg_cli.models.mmtm import Mmtm

CHANNELS = {"a": 6, "b": 4, "c": 3}


def block(modalities: str = "ab", seed: int = 0) -> Mmtm:
    return initialised(lambda: Mmtm({name: CHANNELS[name] for name in modalities}), seed)


def pooled(modalities: str = "ab", seed: int = 0, clips: int = 5) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(clips, CHANNELS[name], generator=generator).requires_grad_() for name in modalities}


def caring(index: int) -> torch.Tensor:
    return torch.tensor(index)


@pytest.mark.parametrize(("modalities", "width"), [("ab", 5), ("abc", 6), ("bc", 3), ("c", 1)])
def test_shapes(modalities: str, width: int) -> None:
    made = block(modalities)
    assert made.squeeze.weight.shape == (width, sum(CHANNELS[name] for name in modalities))
    gates = made(pooled(modalities))
    assert {name: gate.shape for name, gate in gates.items()} == {name: (5, CHANNELS[name]) for name in modalities}
    for gate in gates.values():
        assert gate.min() > 0
        assert gate.max() < 1


@torch.no_grad()
def test_gates_against_loops() -> None:
    made, given = block("abc"), pooled("abc")
    gates = made(given)
    for clip in range(5):
        shown = torch.cat([given[name][clip] for name in "abc"])
        rows = zip(made.squeeze.weight, made.squeeze.bias, strict=True)
        hidden = torch.tensor([max((row * shown).sum().item() + bias.item(), 0.0) for row, bias in rows])
        for name in "abc":
            excitation = made.gates[name].weight @ hidden + made.gates[name].bias
            torch.testing.assert_close(gates[name][clip], 1 / (1 + torch.exp(-excitation)))


def test_without_an_exchange_a_gate_is_one_half() -> None:
    made = block()
    torch.nn.init.zeros_(made.gates["b"].weight)
    torch.nn.init.zeros_(made.gates["b"].bias)
    gates = made(pooled())
    assert torch.equal(gates["b"], torch.full((5, 4), 0.5))
    assert not torch.equal(gates["a"], torch.full((5, 6), 0.5))


def test_the_order_in_which_features_are_given_does_not_matter() -> None:
    given = pooled()
    gates = block()(given)
    swapped = block()(dict(reversed(given.items())))
    assert list(swapped) == list(gates) == ["a", "b"]
    assert all(torch.equal(swapped[name], gates[name]) for name in gates)


def test_running_means_are_those_of_all_training_batches() -> None:
    made, seen = block(), {"a": [], "b": []}
    for batch in range(7):
        live = made(pooled(seed=batch, clips=3 + batch))
        for name, gate in live.items():
            seen[name].append(gate.mean(dim=0))
        for index, name in enumerate("ab"):  # the batch itself counts; asking in eval mode does not count it again
            replaced = made.eval()(pooled(seed=batch), caring(index))[name]
            torch.testing.assert_close(replaced, torch.stack(seen[name]).mean(dim=0).expand(5, -1))
        made.train()
    assert made.calls == 7


def test_a_curated_training_step_uses_the_means_with_this_batch() -> None:
    made, twin = block(), block()
    first, second = pooled(seed=1), pooled(seed=2)
    made(first)
    means = (twin(first)["b"].mean(dim=0) + twin(second)["b"].mean(dim=0)) / 2
    torch.testing.assert_close(made(second, caring(1))["b"], means.expand(5, -1))


def test_evaluation_leaves_the_means_alone() -> None:
    made = block()
    made(pooled())
    before = {name: value.clone() for name, value in made.state_dict().items()}
    made.eval()(pooled(seed=1), caring(0))
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_means_are_saved_and_restored() -> None:
    made, other = block(), block(seed=1)
    for batch in range(3):
        made(pooled(seed=batch))
    other.load_state_dict(made.state_dict())
    for index in range(2):
        one, again = made(pooled(seed=4), caring(index)), other(pooled(seed=4), caring(index))
        assert all(torch.equal(one[name], again[name]) for name in one)


@pytest.mark.parametrize("modalities", ["ab", "abc"])
def test_a_curated_branch_sees_nothing_of_the_others_and_they_still_see_it(modalities: str) -> None:
    for index, name in enumerate(modalities):
        made, given = block(modalities), pooled(modalities)
        output = made(given, caring(index))[name] * given[name]
        found = torch.autograd.grad(output.sum(), list(given.values()), allow_unused=True)
        for other, gradient in zip(modalities, found, strict=True):
            if other == name:  # only as what is gated, not through its gate
                torch.testing.assert_close(gradient, made.means.split(made._sizes)[index].expand(5, -1))
            else:
                assert gradient is None or not gradient.any()

        made, given = block(modalities), pooled(modalities)
        gates = made(given, caring(index))
        for other in set(modalities) - {name}:
            assert torch.autograd.grad(gates[other].sum(), given[name], retain_graph=True)[0].any()
        sum(gate.sum() for gate in gates.values()).backward()
        assert not made.gates[name].weight.grad.any()
        assert not made.gates[name].bias.grad.any()
        assert all(made.gates[other].weight.grad.any() for other in set(modalities) - {name})


def test_a_curated_branch_does_not_change_with_the_others() -> None:
    made = block()
    made(pooled())
    made.eval()
    given, other = pooled(), pooled(seed=1)
    given["a"] = other["a"]
    curated = [made(features, caring(0)) for features in (given, other)]
    assert torch.equal(curated[0]["a"], curated[1]["a"])
    assert not torch.equal(curated[0]["b"], curated[1]["b"])


def test_caring_for_nobody_is_the_live_gates_to_the_last_bit() -> None:
    one, other, given = block(), block(), pooled()
    live, nobody = one(given), other(given, caring(-1))
    assert all(torch.equal(live[name], nobody[name]) for name in live)
    weights = pooled(seed=1)
    for made, gates in ((one, live), (other, nobody)):
        sum((weights[name] * gate).sum() for name, gate in gates.items()).backward()
        assert made.squeeze.weight.grad.any()
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(first.grad, second.grad)


def test_the_bypass_of_a_modality_is_its_gate_and_the_squeeze() -> None:
    made = block("abc")
    bypass = made.bypass_of("b")
    assert {id(p) for p in bypass} == {id(p) for part in (made.gates["b"], made.squeeze) for p in part.parameters()}
    assert len(bypass) == 4


def test_it_starts_from_the_seed_and_with_no_means() -> None:
    one, again, other = block(), block(), block(seed=1)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in one.state_dict().items())
    assert not torch.equal(one.squeeze.weight, other.squeeze.weight)
    assert {name: value.dtype for name, value in one.named_buffers()} == {"means": torch.float32, "calls": torch.int64}
    assert not one.means.any()
    assert not one.calls.any()


def test_bfloat16_autocast_keeps_the_means_in_single() -> None:
    made, given = block(), pooled()
    with torch.autocast("cpu", torch.bfloat16):
        gates = [made({name: z.bfloat16() for name, z in given.items()}, caring(index)) for index in (-1, 0, 1)]
    assert {gate.dtype for found in gates for gate in found.values()} == {torch.bfloat16}
    assert made.means.dtype == torch.float32
    batch = torch.cat([gates[0][name].float().mean(dim=0) for name in "ab"])
    torch.testing.assert_close(made.means, batch)
    assert torch.equal(gates[1]["a"], made.means[:6].bfloat16().expand(5, -1))
    sum(gate.float().sum() for gate in gates[1].values()).backward()
    assert all(p.grad.isfinite().all() for p in made.parameters())


def test_double_precision_is_double_throughout() -> None:
    made = block().double()
    gates = made({name: z.double() for name, z in pooled().items()}, caring(0))
    assert {gate.dtype for gate in gates.values()} == {torch.float64} == {made.means.dtype}


def test_it_never_waits_for_the_device() -> None:
    """On the meta device there are no numbers to wait for, so reading one would raise."""
    made = Mmtm(CHANNELS).to("meta")
    given = {name: torch.empty(5, size, device="meta") for name, size in CHANNELS.items()}
    gates = made(given, torch.empty((), dtype=torch.int64, device="meta"))
    assert {name: gate.shape for name, gate in gates.items()} == {name: (5, size) for name, size in CHANNELS.items()}
