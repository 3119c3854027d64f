"""The one console: results go to standard output, warnings and errors to standard error."""

from rich.console import Console

# Names of the user's are printed as they are: ':x:' is no emoji.
out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def warn(message: str) -> None:
    """One line on standard error; the work goes on."""
    err.print(f"[yellow]warning:[/] {message}", markup=True)
