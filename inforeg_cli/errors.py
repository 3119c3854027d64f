"""The errors a person is meant to read: one clear line each, never a traceback."""

from collections.abc import Sequence

#: A report of bad input never scrolls away: it has at most this many lines, the last of which counts what is left out.
MOST_LINES = 20


class InforegError(Exception):
    """Something failed that the user can understand: says what, where and what to do. The command exits with 1."""

    exit_code = 1
    kind = "error"


class Misuse(InforegError):
    """The request itself cannot be carried out: a wrong option, recipe, manifest or preset. The command exits with 2."""

    exit_code = 2


class BadInput(Misuse):
    """Many things are wrong at once: `problems` are reported together under the summary, in `MOST_LINES` lines at most."""

    def __init__(self, summary: str, problems: Sequence[str]):
        room = MOST_LINES - 1
        shown = list(problems if len(problems) <= room else problems[: room - 1])
        if len(problems) > len(shown):
            shown.append(f"... and {len(problems) - len(shown)} more")
        self.problems = tuple(problems)
        super().__init__("\n".join([summary, *(f"  {line}" for line in shown)]))


def first_line(error: Exception) -> str:
    """Other libraries' errors may run over many lines: what their first one says, or their kind."""
    return str(error).strip().partition("\n")[0][:160] or type(error).__name__
