"""Initial weights as a function of (seed, qualified name): what else a model holds changes none of them.

Two methods at one seed therefore start from the same encoders, whether or not one of them has unimodal heads, another
fusion or another modality beside them.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Generator, nn

from inforeg_cli.seeds import generator

Built = TypeVar("Built", bound=nn.Module)


@runtime_checkable
class Initialises(Protocol):
    """A module that fills the parameters and buffers of its own (its children's are filled apart from it)."""

    def initialise(self, generator: Generator) -> None: ...


def initialised(construct: Callable[[], Built], seed: int) -> Built:
    """The module that `construct` makes, on the CPU, with weights drawn from (seed, qualified name).

    `construct` runs on the meta device, where the constructors' own draws cost nothing and leave the global generator
    untouched. Move the result to its device afterwards: every device then starts from the same bits.

    Raises TypeError where a module owns parameters or buffers that nobody here knows how to fill.
    """
    with torch.device("meta"):
        module = construct()
    module.to_empty(device="cpu")
    with torch.no_grad():
        for name, part in module.named_modules():
            _fill(part, name, generator(seed, "init", name))
    return module


def _fill(module: nn.Module, name: str, random: Generator) -> None:
    if isinstance(module, Initialises):
        module.initialise(random)
    elif type(module) in _RULES:
        _RULES[type(module)](module, random)
    elif [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
        raise TypeError(
            f"No rule to initialise {name or 'the model'} ({type(module).__name__}): "
            "add one, or give the module a method initialise(generator)."
        )


def _convolution(module: nn.Conv1d | nn.Conv2d | nn.Conv3d, random: Generator) -> None:
    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=random)
    if module.bias is not None:
        module.bias.zero_()


def _linear(module: nn.Linear, random: Generator) -> None:
    nn.init.xavier_normal_(module.weight, generator=random)
    if module.bias is not None:
        module.bias.zero_()


def _normalisation(module: nn.LayerNorm | nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d, _: Generator) -> None:
    module.reset_parameters()  # weight 1, bias 0; for batch norm also mean 0, variance 1, count 0


_RULES: dict[type[nn.Module], Callable[..., None]] = {
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
    nn.Linear: _linear,
    nn.LayerNorm: _normalisation,
    nn.BatchNorm1d: _normalisation,
    nn.BatchNorm2d: _normalisation,
    nn.BatchNorm3d: _normalisation,
}
