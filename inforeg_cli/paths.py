"""Where things lie: the root that holds datasets/ and runs/, and the presets and recipes that ship with the package."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def root(option: Path | None = None) -> Path:
    """The folder that holds datasets/ and runs/: `--root`, else `$INFOREG_ROOT`, else the current folder."""
    return Path(option or os.environ.get("INFOREG_ROOT") or ".").resolve()


def shipped(what: str) -> Path:
    """The folder `presets` or `datasets` as shipped: inside the package in a wheel, beside it in a checkout."""
    installed = _PACKAGE / "shipped" / what
    return installed if installed.is_dir() else _PACKAGE.parent / what


def runs(option: Path | None = None) -> Path:
    """The folder of runs: `--runs`, else runs/ under the root."""
    return option.resolve() if option else root() / "runs"
