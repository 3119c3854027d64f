"""How a training shows itself: a live view on a terminal, a line an epoch elsewhere, or nothing."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


class Silent:
    """Shows nothing; the base of the other two."""

    def start(self, title: str, epochs: int, steps: int, epoch: int) -> None:
        """Training begins with `epoch`; an epoch has `steps` steps."""

    def said(self, message: str) -> None:
        """Something that takes its time before the next step."""

    def step(self, index: int) -> None:
        """Step `index` of the epoch is done. Called in the training step: must not wait for the device."""

    def epoch(self, epoch: int, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """An epoch is done; `rows` are its metrics by split."""

    def stop(self) -> None:
        """Training is over, one way or another."""


class Lines(Silent):
    """One plain line an epoch, for files and pipes."""

    def __init__(self, console: Console):
        self.console = console

    def start(self, title: str, epochs: int, steps: int, epoch: int) -> None:
        self.epochs = epochs
        if epoch < epochs:  # else all that is left is to score the finished model
            self.console.print(f"{title}: epochs {epoch} to {epochs - 1}, {steps} steps each", markup=False)

    def said(self, message: str) -> None:
        self.console.print(f"  {message}", markup=False)

    def epoch(self, epoch: int, rows: Mapping[str, Mapping[str, Any]]) -> None:
        self.console.print(f"  epoch {epoch:>{len(str(self.epochs))}}/{self.epochs - 1}  {summary(rows)}", markup=False)


class LiveView(Silent):
    """A progress bar over the steps and the last epochs' numbers, redrawn in place."""

    narrowest = 90  # columns of the terminal; below, lines are easier to read

    def __init__(self, console: Console, keep: int = 8):
        self.console, self.keep = console, keep
        self._rows: list[tuple[int, Mapping[str, Mapping[str, Any]]]] = []
        self._drawn = 0.0

    def start(self, title: str, epochs: int, steps: int, epoch: int) -> None:
        self.title, self.steps, self.done = title, steps, epoch * steps
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeRemainingColumn(),
        )
        self.task = self.bar.add_task(title, total=epochs * steps, completed=self.done)
        self.live = Live(self._view(), console=self.console, auto_refresh=False)
        self.live.start()

    def said(self, message: str) -> None:
        self.bar.update(self.task, description=f"{self.title}: {message}")
        self.live.refresh()

    def step(self, index: int) -> None:
        if time.monotonic() - self._drawn > 0.2:
            self._drawn = time.monotonic()
            self.bar.update(self.task, completed=self.done + index + 1)
            self.live.refresh()

    def epoch(self, epoch: int, rows: Mapping[str, Mapping[str, Any]]) -> None:
        self.done = (epoch + 1) * self.steps
        self.bar.update(self.task, completed=self.done)
        self._rows = [*self._rows, (epoch, rows)][-self.keep :]
        self.live.update(self._view(), refresh=True)

    def stop(self) -> None:
        if hasattr(self, "live"):
            self.live.stop()

    def _view(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for heading in ("epoch", "loss", "train", "val", "val, by each modality", "coefficients", "open windows"):
            table.add_column(heading, justify="right" if heading in ("epoch", "loss", "train", "val") else "left")
        for epoch, rows in self._rows:
            train, val = rows["train"], rows["val"]
            coefficients = [f"{name} {train[key]:.2f}" for name, key in _named(train, ("coefficient.", "strength."))]
            opened = [name for name, key in _named(train, ("open.",)) if train[key]]
            table.add_row(
                str(epoch), _losses(train), _percent(train["accuracy"]), _percent(val["accuracy"]),
                _heads(val), ", ".join(coefficients), ", ".join(opened) or "none",
            )  # fmt: skip
        return Group(self.bar, table)


def summary(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """An epoch in one line: losses, accuracies (fused and each modality), coefficients, open windows."""
    train, val = rows["train"], rows["val"]
    parts = [
        f"loss {_losses(train)}",
        f"train {_percent(train['accuracy'])}",
        f"val {_percent(val['accuracy'])} ({_heads(val)})",
    ]
    for prefix in ("coefficient.", "strength."):
        if found := [f"{name} {train[key]:.2f}" for name, key in _named(train, (prefix,))]:
            parts.append(f"{prefix[:-1]} {', '.join(found)}")
    opened = [name for name, key in _named(train, ("open.",)) if train[key]]
    parts.append(f"open {', '.join(opened) or 'none'}")
    return "  ".join(parts)


def _named(row: Mapping[str, Any], prefixes: tuple[str, ...]) -> list[tuple[str, str]]:
    """The modality and the key of each entry under one of the prefixes."""
    return [(key.removeprefix(prefix), key) for prefix in prefixes for key in row if key.startswith(prefix)]


def _losses(row: Mapping[str, Any]) -> str:
    """The fused loss, and in brackets each modality's where they are trained."""
    unimodal = ", ".join(f"{name} {row[key]:.3f}" for name, key in _named(row, ("loss.",)))
    return f"{row['loss']:.3f}" + (f" ({unimodal})" if unimodal else "")


def _heads(row: Mapping[str, Any]) -> str:
    heads = [
        (key.split(".")[1], value)
        for key, value in row.items()
        if key.startswith("head.") and key.endswith(".accuracy")
    ]
    return ", ".join(f"{name} {_percent(value)}" for name, value in heads)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"
