"""Suggestions for misspelt names."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean 'ogm'?`` where something is close, else the list of what there is."""
    names = sorted(known)
    folded = {candidate.casefold(): candidate for candidate in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{folded[close[0]]}'?"
    return f"there is: {', '.join(names)}" if len(names) <= 20 else "see the documentation for the list"
