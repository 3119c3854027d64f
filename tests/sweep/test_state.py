"""How far a cell is, told by its folder's files and its lock alone."""

import fcntl
import json
import subprocess
import sys
import threading

import pytest
from cell_factory import held

from inforeg_cli.run_folder import Busy, RunFolder
from inforeg_cli.sweep.state import State, state_of

RESULT = {"val": {"accuracy": 0.75}, "test": {"accuracy": 0.7}, "seconds": 12.5}


def fill(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"result.json": RESULT, "failure.json": {"reason": "no memory", "kind": "X", "at": "2026-01-02"}}
    for name in names:
        (folder / name).write_text(json.dumps(contents.get(name, {})))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], State("new")),
        ([".lock"], State("new")),
        (["config.json"], State("interrupted")),
        (["last.pt"], State("interrupted")),
        (["config.json", "last.pt", "failure.json"], State("failed", reason="no memory", at="2026-01-02")),
        (["failure.json"], State("failed", reason="no memory", at="2026-01-02")),
        (["config.json", "failure.json", "result.json"], State("done", score=0.75, seconds=12.5)),
    ],
    ids=lambda value: "+".join(value) or "empty" if isinstance(value, list) else "",
)
def test_the_files_tell(tmp_path, files, expected):
    fill(tmp_path / "cell", *files)
    assert state_of(tmp_path, "cell") == expected


def test_a_cell_without_a_folder_is_new_and_gets_none(tmp_path):
    assert state_of(tmp_path, "cell") == State("new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("result", ["{", "[]", '{"val": {}}', '{"val": {"accuracy": null}, "seconds": 1}'])
def test_a_damaged_result_is_no_result(tmp_path, result):
    fill(tmp_path / "cell")
    (tmp_path / "cell" / "result.json").write_text(result)
    state = state_of(tmp_path, "cell")
    assert state.kind == "failed" and "damaged" in state.reason


def test_a_held_lock_means_running_until_there_is_a_result(tmp_path):
    fill(tmp_path / "cell", "config.json", "failure.json")
    with held(tmp_path / "cell"):
        assert state_of(tmp_path, "cell") == State("running")
        assert state_of(tmp_path, "cell") == State("running")
        with pytest.raises(Busy), RunFolder(tmp_path / "cell").locked():
            pass
        fill(tmp_path / "cell", "result.json")
        assert state_of(tmp_path, "cell").kind == "done"
    (tmp_path / "cell" / "result.json").unlink()
    with RunFolder(tmp_path / "cell").locked():
        assert state_of(tmp_path, "cell").kind == "running"
    assert state_of(tmp_path, "cell").kind == "failed"


def test_who_asks_disturbs_neither_another_who_asks_nor_a_training(tmp_path):
    """For the moment that it takes to ask the lock is shared; a training that begins just then waits for it."""
    fill(tmp_path / "cell", "config.json")
    with (tmp_path / "cell" / ".lock").open("w") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert state_of(tmp_path, "cell").kind == "interrupted"
        answered = threading.Timer(0.1, fcntl.flock, (asking, fcntl.LOCK_UN))
        answered.start()
        with RunFolder(tmp_path / "cell").locked():
            assert state_of(tmp_path, "cell").kind == "running"
        answered.join()


def test_thousands_of_cells_are_looked_at_without_torch(tmp_path):
    for index in range(2000):
        fill(tmp_path / f"cell-{index}", "config.json", ".lock", *(["result.json"] if index % 2 else []))
    kinds = [state_of(tmp_path, f"cell-{index}").kind for index in range(2000)]
    assert kinds == ["interrupted", "done"] * 1000
    asked = "import sys, inforeg_cli.sweep.state; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked]).returncode == 0
