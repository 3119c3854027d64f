"""A job in a worker: which data it takes, and what it says of what went wrong."""

import errno
import gc
import json
import shutil
from dataclasses import replace

import pytest
import torch
from cell_factory import SHORT, cell, held

from inforeg_cli.data import catalogue
from inforeg_cli.engine import fit, launch
from inforeg_cli.engine.guard import StopRequest
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.sweep import work
from inforeg_cli.sweep.jobs import Event, Job
from inforeg_cli.sweep.state import state_of

pytestmark = pytest.mark.usefixtures("no_mlflow")


@pytest.fixture
def job_of(make_store, tmp_path):
    def make(**settings):
        store = make_store()
        it = cell(store, settings, SHORT)
        (tmp_path / "runs").mkdir(exist_ok=True)
        return Job(
            it.experiment.model_dump(mode="json"), None, store.digest, str(store.path), store.name,
            str(tmp_path / "runs"), it.name, "tried",
        )  # fmt: skip

    return make


def perform(job, stop=None):
    told = []
    fit = work.perform(job, told.append, stop or StopRequest())
    return fit, told


def test_a_cell_is_trained_and_told_of(job_of, tmp_path):
    job = job_of()
    threads = torch.get_num_threads()
    fit, told = perform(job)
    torch.set_num_threads(threads)
    assert fit and [event.kind for event in told] == ["started", "epoch", "epoch", "done"]
    assert [event.epoch for event in told[:3]] == [0, 1, 2] and {event.cell for event in told} == {job.name}
    assert told[-1].score == state_of(tmp_path / "runs", job.name).score and told[-1].ran
    assert [event.kind for event in perform(job)[1]] == ["done"] and not perform(job)[1][0].ran


def test_a_failure_is_kept_until_the_run_is_tried_again(job_of, monkeypatch):
    job = job_of()
    folder = work.Path(job.runs) / job.name

    def out_of_memory(self, *args):
        raise RuntimeError("out of memory\nand much more")

    with monkeypatch.context() as broken:
        broken.setattr(fit.Training, "_evaluate", out_of_memory)
        fine, told = perform(job)
    assert not fine, "nobody knows what state the process is in"
    assert told[-1].kind == "failed" and told[-1].text == "RuntimeError: out of memory"
    failure = json.loads((folder / "failure.json").read_text())
    assert (failure["reason"], failure["kind"]) == ("RuntimeError: out of memory", "RuntimeError")
    assert state_of(folder.parent, job.name).kind == "failed"
    assert perform(job)[1][-1].kind == "done" and not (folder / "failure.json").exists()


def test_a_loss_that_diverges_leaves_the_process_fit(job_of):
    fine, told = perform(job_of(optimizer={"lr": 1e30}))
    assert fine and told[-1].kind == "failed" and "not finite" in told[-1].text


def test_a_stop_a_lock_and_a_refusal_are_no_failures(job_of, monkeypatch):
    job, stop = job_of(), StopRequest()
    folder = work.Path(job.runs) / job.name
    with held(folder):
        assert perform(job)[1][-1].kind == "busy"
    stop.requested = True
    assert [event.kind for event in perform(job, stop)[1]] == ["stopped"]

    def refusing(*args):
        raise Misuse("train cannot spare a clip")

    with monkeypatch.context() as refused:
        refused.setattr(launch, "Training", refusing)
        assert perform(job)[1][-1] == Event("failed", job.name, text="train cannot spare a clip")
    assert state_of(folder.parent, job.name).kind == "new", "what was refused may be asked for again"
    (folder / "notes.txt").write_text("mine")
    assert perform(job)[1][-1].kind == "failed" and "notes.txt" in perform(job)[1][-1].text
    assert not (folder / "failure.json").exists()


def test_the_machines_troubles_are_not_the_cells(job_of, monkeypatch):
    job = job_of()
    folder = work.Path(job.runs) / job.name

    def vanishing(self, *args):
        shutil.rmtree(job.store_path)
        raise OSError("input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(fit.Training, "_evaluate", vanishing)
        event = perform(job)[1][-1]
    assert event.kind == "broken" and job.data_digest[:8] in event.text
    assert not (folder / "failure.json").exists()
    shutil.rmtree(job.runs)
    assert perform(job)[1][-1].kind == "broken" and not work.Path(job.runs).exists()


def test_a_disk_that_can_only_be_read_leaves_the_process_alive(job_of, monkeypatch):
    job = job_of()

    def read_only(*args):
        raise OSError(errno.EROFS, "Read-only file system", job.runs)

    def failing(*args):
        monkeypatch.setattr(work, "check_runs", lambda runs: (_ for _ in ()).throw(InforegError("read-only")))
        monkeypatch.setattr(work.RunFolder, "forget_failure", read_only)
        read_only()

    monkeypatch.setattr(launch, "Training", failing)
    assert perform(job)[1][-1] == Event("broken", job.name, text="read-only")


def test_a_file_in_place_of_the_runs_folder_fails_that_cell_with_words(job_of):
    job = job_of()
    (work.Path(job.runs) / job.name).write_text("mine")
    fine, told = perform(job)
    assert fine and told[-1].kind == "failed" and f"{job.name} is a file" in told[-1].text


def test_the_reason_of_a_systems_error_names_the_file_and_no_number(job_of):
    job = job_of()
    failure = work.Path(job.runs) / job.name / "failure.json"
    failure.mkdir(parents=True)
    text = perform(job)[1][-1].text
    assert text.startswith(f"{failure}: ") and "Errno" not in text


def test_a_damaged_result_says_what_mends_it(job_of):
    job = job_of()
    perform(job)
    result = work.Path(job.runs) / job.name / "result.json"
    written = json.loads(result.read_text())
    for damaged in ("{", "[]", "{}"):
        result.write_text(damaged)
        assert "remove it" in perform(job)[1][-1].text and "remove it" in state_of(result.parents[1], job.name).reason
    result.unlink()
    assert perform(job)[1][-1].kind == "done" and json.loads(result.read_text())["test"] == written["test"]


def test_a_cell_that_is_over_keeps_nothing_in_the_process(job_of):
    gc.collect()
    gc.disable()  # sooner or later it would come by on its own
    try:
        for job in (job_of(), job_of(seed=1), job_of(optimizer={"lr": 1e30})):
            perform(job)
            opened = [file.resolve() for file in work.Path("/proc/self/fd").iterdir()]
            assert not [file for file in opened if file.is_relative_to(job.store_path)]
    finally:
        gc.enable()


def test_data_is_found_by_its_digest(job_of, make_store, tmp_path):
    job = job_of()
    assert str(work.find_store(job).path) == job.store_path
    elsewhere = replace(job, store_path=str(tmp_path / "of another machine"))
    with pytest.raises(Misuse, match=rf"has no tiny of digest {job.data_digest[:8]}: .*another machine"):
        work.find_store(elsewhere)
    there = catalogue.store_path("tiny")
    shutil.copytree(job.store_path, there)
    assert work.find_store(elsewhere).path == there
    shutil.rmtree(there)
    shutil.copytree(make_store(seed=1).path, there)
    with pytest.raises(Misuse, match=r"holds other data \(digest"):
        work.find_store(elsewhere)


def test_what_is_printed_is_told(job_of, monkeypatch):
    job = job_of()
    monkeypatch.setattr(fit.Training, "_warn_of_constants", lambda *args: print("mind", "this"))
    assert [event.text for event in perform(job)[1] if event.kind == "said"] == ["mind this"] * 2
