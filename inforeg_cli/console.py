"""The one console: results go to standard output, warnings and errors to standard error."""

from rich.console import Console

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def warn(message: str) -> None:
    """One line on standard error; the work goes on."""
    err.print(f"[yellow]warning:[/] {message}", markup=True)
