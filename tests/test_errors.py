"""Reports of bad input: complete where they are short, counted where they are long, and with the right exit code."""

import pytest

from inforeg_cli.errors import MOST_LINES, BadInput, InforegError, Misuse


def test_exit_codes() -> None:
    assert (InforegError("x").exit_code, Misuse("x").exit_code, BadInput("x", []).exit_code) == (1, 2, 2)
    assert isinstance(BadInput("x", []), Misuse)
    assert isinstance(Misuse("x"), InforegError)


def test_a_few_problems_are_told_in_full() -> None:
    error = BadInput("the manifest has 2 problems:", ["row 3: no label", "row 9: no such file"])
    assert str(error) == "the manifest has 2 problems:\n  row 3: no label\n  row 9: no such file"


@pytest.mark.parametrize("count", [0, 1, 2, 18, 19, 20, 21, 22, 500])
def test_a_report_never_scrolls_away(count: int) -> None:
    problems = [f"row {row}" for row in range(count)]
    error = BadInput("summary", problems)
    summary, *lines = str(error).splitlines()
    assert MOST_LINES == 20
    assert 1 + len(lines) <= MOST_LINES
    assert summary == "summary"
    assert error.problems == tuple(problems)
    told = [line.strip() for line in lines if not line.strip().startswith("...")]
    assert told == problems[: len(told)]
    if len(told) < count:
        assert lines[-1] == f"  ... and {count - len(told)} more"
        assert count - len(told) > 1  # one more line would have said it
