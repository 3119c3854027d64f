"""Choosing the device, and making it repeat itself bit for bit."""

import os

import torch

from inforeg_cli.errors import Misuse


def choose(name: str) -> torch.device:
    """``auto`` (CUDA, else Apple's MPS, else the CPU), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises Misuse for a device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdigit())):
        raise Misuse(f"'{name}' is no device; choose auto, cpu, cuda, cuda:<index> or mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise Misuse("this machine has no CUDA device that torch can use; choose --device cpu or auto")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise Misuse(f"there is no {name}: this machine has {torch.cuda.device_count()} CUDA device(s), counted from 0")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise Misuse("this machine has no MPS device; choose --device cpu or auto")
    return torch.device(name)


def set_deterministic(on: bool) -> None:
    """Ask for kernels that repeat themselves; needed on CUDA only, where the fastest ones do not."""
    if on:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(on)
    torch.backends.cudnn.benchmark = not on
