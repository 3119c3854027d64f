"""What a sweep shows on a terminal and elsewhere, for few cells and for many."""

import io
import time

import pytest
from cell_factory import grid
from rich.console import Console

from inforeg_cli.sweep.ledger import Ledger
from inforeg_cli.sweep.view import Lines, LiveTable, view_for


@pytest.fixture
def ledger(make_store, tmp_path):
    return Ledger(grid(make_store(), seeds=6), tmp_path, retry=False, since="2026")


@pytest.fixture
def console():
    return Console(width=100, force_terminal=True, color_system=None, record=True, soft_wrap=False)


def shown(view, console):
    with console.capture() as captured:
        console.print(view.render())
    return captured.get()


def test_the_table_shows_what_runs_what_ended_and_what_can_be_said_of_it_all(ledger, console):
    names = list(ledger.cells)
    view = LiveTable(console)
    view.sweep, view.ledger = "table [2]", ledger
    for name in names[:4]:
        ledger.waiting.remove(name)
    ledger.done[names[0]], ledger.failed[names[1]] = 0.815, "out of memory"
    ledger.ran.append(names[0])
    ledger.start(names[2], "worker 1, cuda:0")
    ledger.start(names[3], "worker 2")
    ledger.running[names[2]].epoch, ledger.running[names[2]].epochs, ledger.running[names[2]].score = 5, 10, 0.5
    view.booked(names[0])
    view.booked(names[1])
    ledger.begun = time.monotonic() - 60
    text = shown(view, console)
    assert "table [2]" in text and "6 cells, 1 done, 2 running, 1 failed, 2 waiting" in text
    # 1.5 of 5 cells in 60 seconds: 3.5 are left.
    assert "about 2 min left" in text
    assert "best on val so far: method joint, seed 0, 81.5%" in text
    rows = {line.split("seed ")[1][0]: line.split() for line in text.splitlines() if line.startswith("method")}
    assert rows["0"][-2:] == ["done", "81.5%"] and rows["1"][-4:] == ["failed", "out", "of", "memory"]
    assert rows["2"][4:] == ["running", "5", "of", "10", "50.0%", "worker", "1,", "cuda:0"]


def test_a_narrow_terminal_cuts_off_neither_the_time_nor_the_counts(ledger):
    """Drawn live on a console like the command's, which wraps nothing."""
    screen = io.StringIO()
    view = LiveTable(Console(file=screen, width=60, force_terminal=True, color_system=None, soft_wrap=True))
    name = ledger.waiting.popleft()
    ledger.done[name] = 0.5
    ledger.ran.append(name)
    ledger.begun = time.monotonic() - 60
    view.begin("crema-d-method-lr-c75a0f84", ledger)
    view.refresh()
    view.end()
    assert "about 5 min left" in screen.getvalue() and "6 cells, 1 done, 5 waiting" in screen.getvalue()


def test_many_cells_take_few_lines(make_store, tmp_path, console):
    ledger = Ledger(grid(make_store(), seeds=60), tmp_path, retry=False, since="2026")
    view = LiveTable(console)
    view.sweep, view.ledger = "many", ledger
    for name in list(ledger.waiting)[:50]:
        ledger.done[name] = 0.5
        view.booked(name)
    assert len(shown(view, console).splitlines()) < 16


def test_where_there_is_nothing_to_go_by_no_time_is_told(ledger, console):
    view = LiveTable(console)
    view.sweep, view.ledger = "new", ledger
    assert ledger.seconds_left() is None and "left" not in shown(view, console)


def test_failures_of_before_are_told_but_do_not_fill_the_screen(make_store, tmp_path, capsys):
    ledger = Ledger(grid(make_store(), seeds=30), tmp_path, retry=False, since="2026")
    ledger.failed = dict.fromkeys(ledger.waiting, "out of memory")
    ledger.waiting.clear()
    Lines(Console(width=200)).begin("tried", ledger)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tried: 30 cells, 0 done, 30 failed, 0 waiting"
    assert lines[1] == "[30/30] failed   method joint, seed 0: earlier: out of memory"
    assert len(lines) == 22 and "10 more" in lines[-1] and "--retry" in lines[-1]


def test_a_terminal_gets_the_table():
    assert isinstance(view_for(Console(force_terminal=True)), LiveTable)
    assert isinstance(view_for(Console(force_terminal=False)), Lines)
