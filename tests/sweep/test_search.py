"""Searches: what is drawn, that it depends on nothing else, what is chosen, and what the record says of it."""

import json
from pathlib import Path

import pytest
import torch

from inforeg_cli import paths, search_record, studies
from inforeg_cli.engine import launch
from inforeg_cli.errors import BadInput, InforegError, Misuse
from inforeg_cli.methods import METHODS
from inforeg_cli.report.runs import all_runs
from inforeg_cli.resolve import resolve
from inforeg_cli.settings import dotted, merge
from inforeg_cli.sweep import search as searching
from inforeg_cli.sweep import space as spaces
from inforeg_cli.sweep.space import Dimension, Space

SPACE = spaces.load(paths.shipped("presets") / "search.toml")
TUNED = [*METHODS, "uniform", "uniform-lr", "ogm-ge", "greedy-fused", "inforeg-own"]


@pytest.fixture
def store(make_store):
    return make_store()


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def plan(store, runs, methods=("joint", "ogm"), number=4, **changes):
    return searching.plan(changes.pop("space", SPACE), methods, number, store, runs, **changes)


def finish(runs: Path, cell, accuracy: float, loss: float = 1.0) -> None:
    """What a training of `cell` leaves of its result."""
    scores = {"accuracy": accuracy, "loss": loss}
    result = dict.fromkeys(("label", "best_epoch", "test_if_chosen_on_test", "open_epochs", "regulated_steps", "acted"))
    (runs / cell.name).mkdir(parents=True)
    text = json.dumps({**result, "val": scores, "test": scores, "seconds": 1.0})
    (runs / cell.name / "result.json").write_text(text)


def fail(runs: Path, cell, reason: str) -> None:
    (runs / cell.name).mkdir(parents=True)
    (runs / cell.name / "failure.json").write_text(json.dumps({"reason": reason, "kind": "Diverged", "at": ""}))


@pytest.mark.parametrize("dimension", [d for table in SPACE.methods.values() for d in table.values()], ids=repr)
def test_what_is_drawn_lies_within_the_ends(dimension):
    drawn = [dimension.at(share, 0.01) for share in (0.0, 0.25, 0.5, 0.75, 1 - 1e-9)]
    if dimension.choices is not None:
        assert drawn[0] == dimension.choices[0] and drawn[-1] == dimension.choices[-1]
    else:
        low, high = dimension.range
        assert drawn[0] == low and drawn[-1] == pytest.approx(high) and drawn == sorted(drawn)


def test_logarithmic_and_whole_numbers():
    assert Dimension(range=(0.01, 1), log=True).at(0.5) == 0.1
    assert Dimension(times=(0.1, 10)).at(0.5, 0.03) == 0.03
    whole = Dimension(range=(1, 3), integer=True)
    assert [whole.at(share) for share in (0, 0.3, 0.34, 0.6, 0.7, 0.999)] == [1, 1, 2, 2, 3, 3]
    assert all(isinstance(whole.at(share), int) for share in (0, 0.999))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({}, "one of range, times and choices"),
        ({"range": [1, 2], "choices": [1]}, "one of range, times and choices"),
        ({"range": [2, 1]}, "lower end comes first"),
        ({"range": [0, 1], "log": True}, "logarithms begin above 0"),
        ({"times": [0, 1]}, "logarithms begin above 0"),
        ({"range": [0.5, 2], "integer": True}, "whole"),
        ({"choices": [1, 2], "log": True}, "belong to a range"),
    ],
)
def test_a_dimension_that_makes_no_sense_is_told(tmp_path, wrong, told):
    file = tmp_path / "space.toml"
    inline = ", ".join(f"{key} = {json.dumps(value)}" for key, value in wrong.items())
    file.write_text(f'[methods.ogm]\n"method.alpha" = {{ {inline} }}\n')
    with pytest.raises(BadInput, match=told):
        spaces.load(file)


def test_the_own_space_under_the_root_wins(tmp_path):
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "search.toml").write_text("seed = 77\n[methods.joint]\n")
    assert spaces.load().seed == 77
    with pytest.raises(Misuse, match=r"absent\.toml"):
        spaces.load(tmp_path / "absent.toml")


def test_draws_are_a_sequence_of_each_method_by_itself():
    dimensions = SPACE.of("pmr", "pmr")
    many = SPACE.draws("pmr", dimensions, 13)
    assert SPACE.draws("pmr", dimensions, 6) == many[:6]
    assert SPACE.draws("agm", dimensions, 6) != many[:6]
    assert SPACE.model_copy(update={"seed": 1}).draws("pmr", dimensions, 6) != many[:6]
    rates = sorted(point["optimizer.lr"] for point in SPACE.draws("pmr", dimensions, 8))
    assert [int(8 * rate) for rate in rates] == list(range(8)), "eight points, one in each eighth"


@pytest.mark.parametrize("name", TUNED)
def test_every_end_of_the_shipped_space_is_an_experiment(store, name):
    raw = studies.settings_of(store.name, name)[0]
    method = resolve(raw, store).method.name
    for share in (0.0, 1 - 1e-9):
        for key, dimension in SPACE.of(name, method).items():
            changes = dimension.at(share, 0.01)
            for part in reversed(key.split(".")):
                changes = {part: changes}
            resolve(merge(raw, changes), store)


def test_the_shipped_ranges_hold_what_the_presets_publish():
    found = 0
    for file in paths.shipped("presets").glob("*/*.toml"):
        if file.parent.name == "paper":
            continue
        settings = dotted(studies.settings_of(file.parent.name, file.stem)[0])
        for key, dimension in SPACE.methods.get(settings["method.name"], {}).items():
            if dimension.range and key in settings:
                low, high = dimension.range
                assert low <= settings[key] <= high, (file, key)
                found += 1
    assert found > 40


def test_trial_0_is_the_preset(store, runs):
    planned = plan(store, runs, ["inforeg"], 3)
    raw, preset = studies.settings_of(store.name, "inforeg")
    trial = planned.trials["inforeg"][0]
    assert trial.cell.experiment == resolve(merge(raw, {"seed": 1000}), store) and trial.cell.preset == preset
    assert trial.settings == {"optimizer.lr": 0.01, "method.beta": 0.9, "window.K": 0.04}


def test_a_trial_depends_on_its_number_alone(store, runs):
    few, many = plan(store, runs, ["ogm"], 3), plan(store, runs, ["joint", "pmr", "ogm"], 9)
    assert few.trials["ogm"] == many.trials["ogm"][:3]
    ids = [cell.id for cell in many.cells]
    assert len(ids) == len(set(ids)) == 27
    assert [cell.values["method"] for cell in many.cells[:4]] == ["joint", "pmr", "ogm", "joint"]
    assert {cell.experiment.seed for cell in many.cells} == {1000}


def test_every_method_has_the_same_interval_of_learning_rates(store, runs, tmp_path):
    folder = tmp_path / "presets" / store.name
    folder.mkdir(parents=True)
    (folder / "protocol.toml").write_text("[optimizer]\nlr = 0.1\n")
    (folder / "joint.toml").write_text('extends = "protocol"\n')
    (folder / "ogm.toml").write_text('extends = "protocol"\nmethod = "ogm"\n[optimizer]\nlr = 7.0\n')
    planned = plan(store, runs, number=16)
    rates = {name: [t.settings["optimizer.lr"] for t in trials] for name, trials in planned.trials.items()}
    assert rates["joint"][0] == 0.1 and rates["ogm"][0] == 7.0
    for drawn in (rates["joint"][1:], rates["ogm"][1:]):
        assert 0.02 <= min(drawn) < 0.05 and 0.2 < max(drawn) <= 0.5
    assigned = plan(store, runs, assigned={"optimizer": {"lr": 1.0}, "epochs": 2}, number=3)
    assert assigned.trials["ogm"][0].settings["optimizer.lr"] == 1.0 and assigned.name != planned.name
    assert {cell.experiment.epochs for cell in assigned.cells} == {2}


def test_a_choice_may_set_several_settings_at_once(store, runs):
    trials = plan(store, runs, ["g-blending"], 12).trials["g-blending"]
    methods = [trial.cell.experiment.method for trial in trials]
    assert {(m.estimate, m.super_epoch) for m in methods} == {
        ("offline", 10), ("online", 5), ("online", 10), ("online", 20)
    }  # fmt: skip
    assert {*trials[1].settings} == {"optimizer.lr", "method.estimate", "method.super_epoch"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"number": 0}, "from 1 to 10,000 trials"),
        ({"number": 10**9}, "from 1 to 10,000 trials"),
        ({"methods": ["ogmm"]}, "did you mean 'ogm'"),
        ({"seeds": (0, 1000)}, "seed 1000"),
        ({"assigned": {"seed": 3}}, "--seeds"),
        ({"assigned": {"method": {"name": "agm"}}}, "what is compared"),
        ({"space": Space(methods={"joint": {}})}, r"\[methods\.ogm\]"),
        ({"space": Space(methods={"joint": {"threads": Dimension(times=(1, 2))}, "ogm": {}})}, "a range instead"),
        ({"space": Space(methods={"ogm": {"method.alpha": Dimension(range=(-1, 0))}, "joint": {}})}, "trial 1 of ogm"),
        ({"space": Space(methods={"ogm": {"method.alfa": Dimension(range=(0, 1))}, "joint": {}})}, "alpha"),
    ],
)
def test_what_cannot_be_searched_is_told(store, runs, changes, told):
    with pytest.raises(Misuse, match=told):
        plan(store, runs, **changes)


def test_the_best_on_val_wins_then_the_lower_loss_then_the_earlier(store, runs):
    planned = plan(store, runs, ["joint", "ogm"], 4)
    for trial, accuracy, loss in zip(planned.trials["joint"], (0.7, 0.9, 0.9, 0.9), (0.1, 0.5, 0.3, 0.3), strict=True):
        finish(runs, trial.cell, accuracy, loss)
    for trial in planned.trials["ogm"][:3]:
        finish(runs, trial.cell, 0.8, float("inf"))
    record = searching.record_of(planned)
    assert not record.settled and record.methods["ogm"].winner is None
    finish(runs, planned.trials["ogm"][3].cell, 0.8, 2.0)
    record = searching.record_of(planned)
    assert [method.winner for method in record.methods.values()] == [2, 3]
    winners = searching.winners_of(planned, record)
    assert [(cell.values["method"], cell.values["seed"]) for cell in winners] == [
        ("joint", "0"), ("ogm", "0"), ("joint", "1"), ("ogm", "1"), ("joint", "2"), ("ogm", "2")
    ]  # fmt: skip
    chosen = planned.trials["joint"][2].cell
    assert winners[0].experiment == chosen.experiment.model_copy(update={"seed": 0}) and winners[0].id != chosen.id
    assert [run.id for run in record.methods["joint"].runs] == [winners[index].id for index in (0, 2, 4)]


def test_failed_trials_are_recorded_and_never_win(store, runs):
    planned, said = plan(store, runs, ["joint", "ogm"], 2), []

    def run(cells):
        for cell in cells:
            if cell.values["method"] == "ogm":
                fail(runs, cell, "the loss is not finite")
            else:
                finish(runs, cell, 0.5)

    record, path = searching.search(planned, run, said.append)
    assert record.methods["ogm"].winner is None and record.methods["joint"].winner == 0
    assert [trial.failed for trial in record.methods["ogm"].failures] == ["the loss is not finite"] * 2
    assert said == ["ogm: 2 of 2 trials failed, the first one: the loss is not finite"]
    assert search_record.read(path) == record and path.parent == runs / "searches"
    assert {cell.values["method"] for cell in searching.winners_of(planned, record)} == {"joint"}


def test_shards_leave_the_choice_to_the_last_one(store, runs):
    planned, said, asked = plan(store, runs, ["joint", "ogm"], 2), [], []

    def shard(which):
        def run(cells):
            asked.append([cell.values for cell in cells])
            for cell in cells[which::2]:
                finish(runs, cell, 0.5)

        return run

    record, _ = searching.search(planned, shard(0), said.append)
    assert not record.settled and len(asked) == 1
    assert said == ["2 of 4 trials are missing, so nothing is chosen yet; go on with the same command"]
    record, _ = searching.search(planned, shard(1), said.append)
    assert record.settled and len(asked) == 3 and len(asked[2]) == 6


def test_a_longer_search_has_a_record_of_its_own_and_the_same_first_trials(store, runs):
    short, long = plan(store, runs, number=2), plan(store, runs, number=3)
    for cell in short.cells:
        finish(runs, cell, 0.5)
    assert short.name != long.name
    record = searching.record_of(long)
    assert [trial.settled for trial in record.methods["ogm"].trials] == [True, True, False]


@pytest.mark.parametrize(
    "damage",
    [
        lambda r: r.pop("seed"),
        lambda r: r["methods"]["ogm"]["trials"].pop(),
        lambda r: r.update(extra=1),
        lambda r: r.update(number=10**15),
        lambda r: r["methods"]["ogm"].update(winner=0),  # which no trial can be before it has an accuracy
    ],
)
def test_a_damaged_record_is_told(store, runs, damage):
    path = search_record.write(searching.record_of(plan(store, runs)), runs)
    values = json.loads(path.read_text())
    damage(values)
    path.write_text(json.dumps(values))
    with pytest.raises(InforegError, match=rf"{path.name} is no record of a search"):
        search_record.read(path)


def test_a_search_that_is_trained(store, runs, no_mlflow):
    """Nothing is trained twice, and the winners' fresh seeds are ordinary runs."""
    planned = plan(store, runs, ["joint", "ogm"], 2, assigned={"epochs": 1}, seeds=(0,))
    trained = []

    def run(cells):
        for cell in cells:
            folder = launch.folder_of(cell.experiment, store, runs)
            assert folder.path.name == cell.name
            outcome = launch.train(cell.experiment, store, folder, torch.device("cpu"), preset=cell.preset)
            trained.append(outcome.trained)

    record, _ = searching.search(planned, run, print)
    assert trained == [True] * 6
    searching.search(planned, run, print)
    assert trained[6:] == [False] * 6
    seeds = sorted(run.seed for run in all_runs(runs).runs)
    assert seeds == [0, 0, 1000, 1000, 1000, 1000]
    for method in record.methods.values():
        assert method.chosen.accuracy == max(trial.accuracy for trial in method.trials)
        assert (runs / method.runs[0].run / "result.json").is_file()
