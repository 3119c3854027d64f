"""What is wrong with a dataset, gathered over all its files so that it can be told at once."""

#: Up to this many problems are told one by one; more are put together by what is wrong, with counts and examples.
_MOST_SINGLE = 16
_EXAMPLES = 3


class Problems:
    """Each is something wrong, in words that all of its kind share, with its place and its own detail."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[str, str]]] = {}

    def add(self, where: str, what: str, detail: str = "") -> None:
        """`what` is wrong, in words that are the same for every such problem, `where` it is, and its own `detail`."""
        self._found.setdefault(_one_line(what), []).append((_one_line(where), _one_line(detail)))

    def extend(self, other: "Problems") -> None:
        for what, every in other._found.items():
            self._found.setdefault(what, []).extend(every)

    def __len__(self) -> int:
        return sum(map(len, self._found.values()))

    def lines(self) -> list[str]:
        """One line a problem, or, where there are many, one line a kind of problem with its count."""
        if len(self) <= _MOST_SINGLE:
            return [_single(what, *found) for what, every in self._found.items() for found in every]
        return [
            _single(what, *every[0])
            if len(every) == 1
            else f"{len(every):,} times: {what}: {'; '.join(where for where, _ in every[:_EXAMPLES])}"
            + ("; ..." if len(every) > _EXAMPLES else "")
            for what, every in self._found.items()
        ]


def _single(what: str, where: str, detail: str) -> str:
    return f"{where}: {what}" + (f" ({detail})" if detail else "")


def _one_line(text: str, most: int = 240) -> str:
    """Names of files and labels may hold anything: control characters are shown as escapes, and length is bounded."""
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."
