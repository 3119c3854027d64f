"""Checkpoints: everything that a resumed run needs, as plain tensors, numbers and strings, written atomically."""

import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from inforeg_cli.errors import InforegError, first_line
from inforeg_cli.files import write_atomically

FORMAT = 1


def save(path: Path, state: dict[str, Any]) -> None:
    try:
        write_atomically(path, lambda temporary: torch.save({"format": FORMAT, **state}, temporary), durable=False)
    except RuntimeError as error:  # torch's word for a full disk
        raise InforegError(f"cannot write {path} ({first_line(error)}); is the disk full?") from None


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The state as saved, its tensors on `device`. Nothing in the file is executed.

    Raises InforegError for a file that is absent, cut short, of another format, or holds anything but plain data.
    """
    if not path.is_file():
        raise InforegError(f"{path} does not exist: the run has not written this checkpoint")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        why = f" (it asks for {asked[1]})" if asked else ""
        raise InforegError(
            f"{path} is not a checkpoint of plain tensors, numbers and strings; refused to load it{why}"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InforegError(f"{path} is damaged or cut short ({first_line(error)}); train again with --force") from None
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise InforegError(f"{path} has checkpoint format {found}; this version of inforeg reads format {FORMAT}")
    return state


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Around the loading of a state: what does not fit is the checkpoint of something else, and is said to be."""
    try:
        yield
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise InforegError(f"{path} does not fit its run ({first_line(error)}); train again with --force") from None
