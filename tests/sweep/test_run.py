"""What a sweep does about its cells, whoever trains them: a crew that only pretends to."""

import json
import signal
from contextlib import ExitStack

import pytest
from cell_factory import grid, held

from inforeg_cli.console import out
from inforeg_cli.engine.launch import Interrupted
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.sweep import run as sweep_run
from inforeg_cli.sweep.jobs import Event
from inforeg_cli.sweep.run import run_sweep
from inforeg_cli.sweep.state import state_of
from inforeg_cli.sweep.view import Lines


class Crew:
    """`happens`: of each cell by name, what its tries come to, one after the other; done where nothing is said."""

    def __init__(self, runs, happens=None, size=2):
        self.runs, self.happens, self.size = runs, happens or {}, size
        self.begun, self.closed, self.stopped = [], None, False
        self._held = []

    def crew(self):
        return self

    def room(self, wanted):
        return self.size - len(self._held)

    def start(self, job):
        self.begun.append(job.name)
        self._held.append(job.name)
        return "here"

    def events(self, timeout):
        if not self._held:
            return []
        name = self._held.pop(0)
        what = self.happens.get(name, [])
        kind = what.pop(0) if what else "done"
        if callable(kind):
            kind = kind()
        if kind == "done":
            write(self.runs / name / "result.json", {"val": {"accuracy": 0.5}, "seconds": 1.0})
        text = "the process was killed by signal 9" if kind == "lost" else f"it {kind}"
        return [Event("started", name, 0, 2), Event(kind, name, score=0.5, text=text, ran=True)]

    def stop(self):
        self.stopped = True

    def close(self, *, hard):
        self.closed = "hard" if hard else "soft"


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def cells(make_store):
    return grid(make_store(), seeds=4)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(sweep_run, "_LOOK", 0.01)


def sweep(cells, make_store, runs, crew, **options):
    return run_sweep(cells, make_store(), runs, engine=crew, sweep="tried", **options)


def test_cells_run_in_their_order_and_never_twice(cells, make_store, runs):
    crew = Crew(runs)
    summary = sweep([*cells, cells[0]], make_store, runs, crew)
    names = [cell.name for cell in cells]
    assert crew.begun == names and summary.done == summary.ran == tuple(names)
    assert summary.failed == {} and summary.left == () and crew.closed == "soft"
    again = Crew(runs)
    summary = sweep(cells, make_store, runs, again)
    assert again.begun == [] and again.closed is None, "nothing is left, so nobody is called"
    assert summary.done == tuple(names) and summary.ran == ()


def test_a_failure_stops_no_other_cell_and_is_tried_again_only_when_asked(cells, make_store, runs):
    names = [cell.name for cell in cells]
    summary = sweep(cells, make_store, runs, Crew(runs, {names[1]: ["failed"]}))
    assert summary.failed == {names[1]: "it failed"} and set(summary.done) == {*names} - {names[1]}
    write(runs / names[1] / "failure.json", {"reason": "no memory", "at": "2020-01-01T00:00:00.000+00:00"})
    idle = Crew(runs)
    assert sweep(cells, make_store, runs, idle).failed == {names[1]: "no memory"}
    assert idle.begun == []
    assert sweep(cells, make_store, runs, Crew(runs), retry=True).ran == (names[1],)


def test_what_another_sweep_has_just_tried_in_vain_is_not_tried_again(cells, make_store, runs):
    first, second = (cell.name for cell in cells[:2])
    for name in (first, second):
        write(runs / name / "failure.json", {"reason": "no memory", "at": "2020-01-01T00:00:00.000+00:00"})

    def meanwhile():
        write(runs / second / "failure.json", {"reason": "again", "at": "2999-01-01T00:00:00.000+00:00"})
        return "done"

    crew = Crew(runs, {first: [meanwhile]}, size=1)
    summary = sweep(cells[:2], make_store, runs, crew, retry=True)
    assert crew.begun == [first] and summary.failed == {second: "again"}


def test_a_cell_whose_worker_dies_goes_on_twice_and_then_has_failed(cells, make_store, runs):
    lucky, unlucky = (cell.name for cell in cells[:2])
    crew = Crew(runs, {lucky: ["lost", "lost"], unlucky: ["lost"] * 3})
    summary = sweep(cells, make_store, runs, crew)
    assert (crew.begun.count(lucky), crew.begun.count(unlucky)) == (3, 3)
    assert summary.failed == {unlucky: "the process was killed by signal 9"} and lucky in summary.done
    assert state_of(runs, unlucky).reason == "the process was killed by signal 9"


def test_a_cell_of_another_process_is_waited_for_and_taken_over_if_that_dies(cells, make_store, runs):
    theirs, dropped, _, last = (cell.name for cell in cells)
    others = ExitStack()
    others.enter_context(held(runs / theirs))
    others.enter_context(held(runs / dropped))

    def meanwhile():
        write(runs / theirs / "result.json", {"val": {"accuracy": 0.9}, "seconds": 1.0})
        others.close()
        return "done"

    crew = Crew(runs, {last: [meanwhile]})
    summary = sweep(cells, make_store, runs, crew)
    assert theirs not in crew.begun and crew.begun[-1] == dropped
    assert theirs in summary.done and theirs not in summary.ran and summary.left == ()


def test_a_cell_that_turns_out_to_be_busy_is_put_back(cells, make_store, runs):
    name = cells[0].name
    crew = Crew(runs, {name: ["busy", "done"]})
    summary = sweep(cells, make_store, runs, crew)
    assert crew.begun.count(name) == 2 and name in summary.ran


def test_where_nothing_can_be_trained_the_sweep_ends_with_one_line(cells, make_store, runs):
    crew = Crew(runs, {cells[1].name: ["broken"]})
    with pytest.raises(InforegError, match=r"it broken\n2 of 4 cells are done, 2 left"):
        sweep(cells, make_store, runs, crew)
    assert crew.stopped and crew.closed == "soft"
    assert not list(runs.glob("*/failure.json"))


def test_a_request_to_stop_leaves_the_rest(cells, make_store, runs):
    def asked():
        signal.raise_signal(signal.SIGTERM)
        return "done"

    crew = Crew(runs, {cells[1].name: [asked], cells[2].name: ["stopped"]})
    with pytest.raises(Interrupted, match="2 of 4 cells are done, 2 left"):
        sweep(cells, make_store, runs, crew)
    assert crew.begun == [cell.name for cell in cells[:3]] and crew.stopped and crew.closed == "soft"


def test_a_second_interrupt_ends_at_once(cells, make_store, runs):
    def asked_twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    crew = Crew(runs, {cells[1].name: [asked_twice]})
    with pytest.raises(Interrupted, match="1 of 4 cells are done, 3 left"):
        sweep(cells, make_store, runs, crew)
    assert crew.closed == "hard"


def test_a_folder_that_cannot_be_made_is_one_line(cells, make_store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Misuse, match="cannot be made"):
        sweep(cells, make_store, tmp_path / "file" / "runs", Crew(tmp_path))


def test_lines_tell_of_each_cell(cells, make_store, runs, capsys):
    crew = Crew(runs, {cells[0].name: ["lost"], cells[1].name: ["failed"]}, size=1)
    sweep(cells[:2], make_store, runs, crew, view=Lines(out))
    printed = [line.replace(" in 0 s", "") for line in capsys.readouterr().out.splitlines()]
    assert printed == [
        "tried: 2 cells, 0 done, 2 waiting",
        "[0/2] started  method joint, seed 0: on here",
        "[0/2] lost     method joint, seed 0: the process was killed by signal 9",
        "[0/2] started  method joint, seed 0: on here",
        "[1/2] done     method joint, seed 0: val 50.0%",
        "[1/2] started  method joint, seed 1: on here",
        "[2/2] failed   method joint, seed 1: it failed",
    ]
