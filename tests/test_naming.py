"""Words for people."""

import pytest

from inforeg_cli.naming import duration


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (89, "89 s"), (100, "2 min"), (3540, "59 min"), (3900, "1 h 05 min")]
)
def test_durations(seconds, said):
    assert duration(seconds) == said
