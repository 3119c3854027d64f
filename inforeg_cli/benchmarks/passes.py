"""What a piece of training does besides taking time: passes through encoders, and memory."""

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Passes:
    """Counts the clips that go through encoders inside the block, forwards and backwards, modality by modality.

    Any model's, copies of it included: they are seen where they enter and leave the encoders' first layers, the only
    convolutions that take as few channels as `channels`, those of the images.
    """

    def __init__(self, channels: int):
        self._channels = channels
        self.forwards = self.backwards = 0

    def __enter__(self) -> "Passes":
        self._hook = register_module_forward_hook(self._passed)
        return self

    def __exit__(self, *error: object) -> None:
        self._hook.remove()

    def _passed(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d) and module.in_channels == self._channels:
            self.forwards += len(output)
            if output.requires_grad:
                output.register_hook(self._returned)

    def _returned(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


class Memory:
    """The most bytes that what is made inside the block needs at a time.

    On CUDA those that the allocator hands out. Elsewhere the sum over the tensors that are alive: without what
    libraries need inside their kernels, and without numbers that come from NumPy.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._living = _Living()
        self.peak = 0

    def __enter__(self) -> "Memory":
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._living.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._device.type == "cuda":
            self.peak = torch.cuda.max_memory_allocated(self._device) - self._before
        else:
            self._living.__exit__(None, None, None)
            self.peak = self._living.peak


class _Living(TorchDispatchMode):
    """Sums the storages of all tensors that operators return, for as long as they are there."""

    def __init__(self) -> None:
        super().__init__()
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()
        self._bytes = self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._see(tensor.untyped_storage())
        return result

    def _see(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._known:
            self._known.add(storage)
            self._bytes += storage.nbytes()
            self.peak = max(self.peak, self._bytes)
            weakref.finalize(storage, self._forget, storage.nbytes())

    def _forget(self, size: int) -> None:
        self._bytes -= size
