"""The command line as a person meets it, in this process."""

import sys
from collections.abc import Callable

import pytest

from inforeg_cli.app import main


@pytest.fixture
def inforeg(capsys, monkeypatch) -> Callable[..., tuple[int, str, str]]:
    """`inforeg("train", ...)`: exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["inforeg", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return stopped.value.code or 0, printed.out, printed.err

    return run
