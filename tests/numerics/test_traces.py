"""The trace of a group of parameters: against loops, over epochs, and for the models whose trace is known."""

import math

import pytest
import torch
from torch import nn

from inforeg_cli.numerics.traces import GradientTrace

SHAPES = {"conv": (4, 2, 3, 3), "norm": (4,), "linear": (5, 4), "bias": (5,)}
GROUPS = {"a": ("conv", "norm"), "b": ("linear", "bias"), "all": tuple(SHAPES)}


@pytest.fixture
def parameters() -> dict[str, nn.Parameter]:
    return {name: nn.Parameter(torch.zeros(shape)) for name, shape in SHAPES.items()}


def trace_of(parameters: dict[str, nn.Parameter], reduction: str = "sum") -> GradientTrace:
    return GradientTrace({name: [parameters[key] for key in keys] for name, keys in GROUPS.items()}, reduction)


def draw(parameters: dict[str, nn.Parameter], batch: int, missing: tuple[str, ...] = ()) -> None:
    generator = torch.Generator().manual_seed(batch)
    for name, parameter in parameters.items():
        gradient = torch.randn(parameter.shape, generator=generator)
        parameter.grad = None if name in missing else gradient


def squares(parameter: nn.Parameter) -> list[float]:
    return [] if parameter.grad is None else [value**2 for value in parameter.grad.flatten().tolist()]


@pytest.mark.parametrize("missing", [(), ("norm",), ("conv", "norm"), tuple(SHAPES)])
@pytest.mark.parametrize("reduction", ["sum", "layer-mean"])
def test_against_loops(parameters: dict[str, nn.Parameter], reduction: str, missing: tuple[str, ...]) -> None:
    trace = trace_of(parameters, reduction)
    traces, norms = dict.fromkeys(GROUPS, 0.0), dict.fromkeys(GROUPS, 0.0)
    for batch in range(4):
        draw(parameters, batch, missing if batch % 2 else ())
        trace.update()
        for group, names in GROUPS.items():
            norms[group] += math.sqrt(sum(sum(squares(parameters[name])) for name in names))
            for name in names:
                if reduction == "sum":
                    traces[group] += sum(squares(parameters[name]))
                elif parameters[name].ndim >= 2:  # weights of convolutions and linear layers
                    traces[group] += sum(squares(parameters[name])) / parameters[name].numel()
    assert trace.traces() == pytest.approx(traces, rel=1e-5)
    if missing != tuple(SHAPES):
        assert trace.gradient_norms() == pytest.approx({name: norm / 4 for name, norm in norms.items()}, rel=1e-5)


def test_a_parameter_counts_in_every_group_that_holds_it(parameters: dict[str, nn.Parameter]) -> None:
    shared = GradientTrace({"a": [parameters["conv"]], "b": [parameters["conv"], parameters["norm"]]})
    draw(parameters, 0)
    shared.update()
    conv, norm = sum(squares(parameters["conv"])), sum(squares(parameters["norm"]))
    assert shared.traces() == pytest.approx({"a": conv, "b": conv + norm}, rel=1e-5)


def test_the_released_code_sums_means_so_small_layers_weigh_as_much_as_large_ones() -> None:
    small, large = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(40, 50))
    small.grad, large.grad = torch.full_like(small, 3.0), torch.full_like(large, 3.0)
    means, sums = GradientTrace({"m": [small, large]}, "layer-mean"), GradientTrace({"m": [small, large]})
    means.update()
    sums.update()
    assert means.traces() == pytest.approx({"m": 18.0})
    assert sums.traces() == pytest.approx({"m": 9.0 * 2004})


def test_a_linear_model() -> None:
    """L = (wx - y)^2 / 2 has the gradient (wx - y) x, so the trace is the mean of (wx - y)^2 x^2 over the clips."""
    w, xs, ys = nn.Parameter(torch.tensor([0.7])), [1.0, -2.0, 0.5, 3.0], [0.0, 1.0, -1.0, 2.0]
    trace = GradientTrace({"m": [w]})
    for x, y in zip(xs, ys, strict=True):
        w.grad = None
        ((w * x - y) ** 2 / 2).sum().backward()
        trace.update()
    expected = sum((0.7 * x - y) ** 2 * x**2 for x, y in zip(xs, ys, strict=True)) / len(xs)
    assert trace.traces()["m"] / len(xs) == pytest.approx(expected, rel=1e-5)


def test_an_epoch_starts_at_zero(parameters: dict[str, nn.Parameter]) -> None:
    trace = trace_of(parameters)
    assert trace.gradient_norms() == dict.fromkeys(GROUPS, 0.0)
    draw(parameters, 0)
    trace.update()
    trace.update()
    trace.reset()
    assert trace.traces() == dict.fromkeys(GROUPS, 0.0)
    draw(parameters, 1)
    trace.update()
    fresh = trace_of(parameters)
    fresh.update()
    assert trace.traces() == fresh.traces()
    assert trace.gradient_norms() == fresh.gradient_norms()


def test_an_interrupted_epoch_goes_on_to_the_same_bits(parameters: dict[str, nn.Parameter]) -> None:
    whole, resumed = trace_of(parameters), trace_of(parameters)
    for batch in range(3):
        draw(parameters, batch)
        whole.update()
    state = whole.state_dict()
    for batch in range(3, 6):
        draw(parameters, batch)
        whole.update()  # must not reach into the state that was taken
    resumed.load_state_dict(state)
    for batch in range(3, 6):
        draw(parameters, batch)
        resumed.update()
    assert resumed.traces() == whole.traces()
    assert resumed.gradient_norms() == whole.gradient_norms()


def test_gradients_are_left_alone(parameters: dict[str, nn.Parameter]) -> None:
    draw(parameters, 0, missing=("bias",))
    before = {name: None if p.grad is None else p.grad.clone() for name, p in parameters.items()}
    trace_of(parameters).update()
    assert parameters["bias"].grad is None
    assert all(torch.equal(parameters[name].grad, kept) for name, kept in before.items() if kept is not None)


@pytest.mark.parametrize("missing", [(), ("norm",)])
def test_update_never_waits_for_the_device(parameters: dict[str, nn.Parameter], missing: tuple[str, ...]) -> None:
    """On the meta device there are no numbers to wait for, so reading one would raise."""
    on_meta = {name: nn.Parameter(parameter.to("meta")) for name, parameter in parameters.items()}
    for name, parameter in on_meta.items():
        parameter.grad = None if name in missing else torch.empty_like(parameter)
    trace = trace_of(on_meta)
    trace.update()
    with pytest.raises(NotImplementedError):
        trace.traces()
