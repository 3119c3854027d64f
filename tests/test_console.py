"""What belongs to the user is printed as it is."""

import pytest

from inforeg_cli import console


@pytest.mark.parametrize("text", [":x:", "d:x:[b]/r", "[red]", "a:warning:b"])
def test_names_are_not_taken_for_emoji_or_markup(text, capsys):
    console.out.print(text, markup=False)
    console.err.print(text, markup=False)
    printed = capsys.readouterr()
    assert printed.out == printed.err == f"{text}\n"
