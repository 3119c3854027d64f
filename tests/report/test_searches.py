"""Searches in tables: winners in one of their own, trials in none, and what failed is said."""

import json

import pytest
from run_factory import make_run

from inforeg_cli import search_record
from inforeg_cli.report.rendering import Format, as_text
from inforeg_cli.report.runs import all_runs, read_run
from inforeg_cli.report.searches import all_searches, tuned_tables
from inforeg_cli.report.tables import comparison
from inforeg_cli.search_record import SearchRecord, TriedSettings, TunedMethod, WinnersRun

RATES = (0.01, 0.02, 0.05)


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def tuned(runs, label, val, *, seeds=(0, 1, 2), failed=None, accuracy=0.8, retrained=True) -> TunedMethod:
    """A method's three trials as run folders, and its winner with fresh seeds."""
    trials = []
    for number, (rate, score) in enumerate(zip(RATES, val, strict=True)):
        settings = {"optimizer.lr": rate}
        run = read_run(make_run(runs, label, 1000, score, settings=settings, finished=failed is None))
        said = {"failed": failed} if failed else {"accuracy": score, "loss": 0.5}
        trials.append(TriedSettings(trial=number, settings=settings, id=run.id, run=run.name, **said))
    method = TunedMethod(space={}, trials=trials)
    if (winner := method.best()) is None:
        return method
    again = []
    for seed in seeds:
        settings = {"optimizer.lr": RATES[winner]}
        run = read_run(make_run(runs, label, seed, accuracy + 0.001 * seed, settings=settings, finished=retrained))
        again.append(WinnersRun(seed=seed, id=run.id, run=run.name))
    return method.model_copy(update={"winner": winner, "runs": again})


def record(runs, name="digits-3-trials-abcdef01", **methods) -> SearchRecord:
    made = SearchRecord(
        name=name, dataset="digits", data_digest="d" * 64, number=3, seed=1000, assigned={}, methods=methods
    )
    search_record.write(made, runs)
    return made


def shown(runs, split="test"):
    return tuned_tables(all_searches(runs), all_runs(runs).runs, split)


def test_winners_are_a_table_of_their_own_with_joints_winner_as_baseline(runs):
    record(
        runs,
        joint=tuned(runs, "joint", (0.6, 0.7, 0.65), accuracy=0.7),
        ogm=tuned(runs, "ogm", (0.6, 0.5, 0.8), accuracy=0.8),
    )
    (table,) = shown(runs)
    assert table.title == "digits: image + sound: tuned, 3 trials each"
    assert [(row.label, row.seeds) for row in table.rows] == [("joint", (0, 1, 2)), ("ogm", (0, 1, 2))]
    joint, ogm = table.rows
    assert joint.versus is None and ogm.versus.baseline == "joint"
    assert ogm.versus.mean == pytest.approx(0.1) and ogm.versus.over_seeds is not None
    assert "optimizer.lr" not in table.protocol and table.protocol["epochs"] == 30
    assert any(note.startswith("ogm: trial 2 (lr 0.05), 80.0% on val") for note in table.notes)


def test_trials_and_what_only_a_search_has_leave_the_other_tables(runs):
    record(
        runs,
        joint=tuned(runs, "joint", (0.9, 0.7, 0.65)),  # its preset won: an ordinary run, too
        ogm=tuned(runs, "ogm", (0.6, 0.5, 0.8)),
    )
    for seed in (0, 1, 2):
        make_run(runs, "ogm", seed)
    found = all_runs(runs).runs
    searches = all_searches(runs)
    assert len(searches.trials_among(found)) == 6
    (table,) = comparison(searches.untuned(found))
    assert [(row.label, row.seeds) for row in table.rows] == [("joint", (0, 1, 2)), ("ogm", (0, 1, 2))]
    assert table.protocol["optimizer.lr"] == 0.01
    assert [row.label for row in shown(runs)[0].rows] == ["joint", "ogm"]


def test_runs_of_a_drawn_setting_are_left_out_whatever_their_seed(runs):
    record(runs, joint=tuned(runs, "joint", (0.6, 0.7, 0.65)))
    for rate in RATES:
        make_run(runs, "joint", 9, settings={"optimizer.lr": rate})
    found = all_runs(runs).runs
    assert [(run.seed, run.experiment["optimizer"]["lr"]) for run in all_searches(runs).untuned(found)] == [(9, 0.01)]


def test_a_methods_own_baseline_is_preferred_where_it_was_tuned_too(runs):
    methods = {
        "joint": tuned(runs, "joint", (0.6, 0.7, 0.65)),
        "uniform": tuned(runs, "uniform", (0.6, 0.7, 0.65)),
        "inforeg-own": tuned(runs, "inforeg+own", (0.6, 0.7, 0.65)),
    }
    record(runs, **methods)
    against = {row.label: row.versus and row.versus.baseline for row in shown(runs)[0].rows}
    assert against == {"joint": None, "uniform": "joint", "inforeg-own": "uniform"}


def test_failures_and_what_is_missing_are_said(runs):
    record(
        runs,
        joint=tuned(runs, "joint", (0.6, 0.7, 0.65)),
        ogm=tuned(runs, "ogm", (0.6, 0.5, 0.8), failed="the loss is not finite"),
        pmr=tuned(runs, "pmr", (0.6, 0.5, 0.8), retrained=False),
    )
    (table,) = shown(runs)
    assert [row.label for row in table.rows] == ["joint"]
    text = as_text([table], Format.markdown)
    assert "ogm: nothing was chosen; 3 of 3 trials failed: the loss is not finite" in text
    assert "pmr: trial 2 (lr 0.05), 80.0% on val; not yet trained again" in text


def test_more_seeds_than_the_record_names_are_shown_too(runs):
    record(runs, joint=tuned(runs, "joint", (0.6, 0.7, 0.65), seeds=(0,)))
    make_run(runs, "joint", 7, settings={"optimizer.lr": 0.02})
    assert shown(runs)[0].rows[0].seeds == (0, 7)


def test_two_searches_of_one_size_are_told_apart_by_name(runs):
    method = tuned(runs, "joint", (0.6, 0.7, 0.65))
    record(runs, "digits-3-trials-aaaaaaaa", joint=method)
    record(runs, "digits-3-trials-bbbbbbbb", joint=method)
    assert [table.title[-10:-1] for table in shown(runs)] == ["-aaaaaaaa", "-bbbbbbbb"]


def test_a_search_without_finished_winners_has_no_table(runs):
    record(runs, joint=tuned(runs, "joint", (0.6, 0.7, 0.65), retrained=False))
    assert shown(runs) == []


def test_a_damaged_record_is_named_and_leaves_the_others(runs):
    record(runs, joint=tuned(runs, "joint", (0.6, 0.7, 0.65)))
    (runs / "searches" / "broken.json").write_text(json.dumps({"name": "broken"}))
    searches = all_searches(runs)
    assert len(searches.records) == 1
    assert len(searches.unreadable) == 1 and "broken.json is no record of a search" in searches.unreadable[0]
