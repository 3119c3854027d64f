import dataclasses

import numpy as np
import pandas as pd
import pytest
from report.paper_factory import make_row_run, make_table
from scipy import stats

from inforeg_cli import studies
from inforeg_cli.report import paper
from inforeg_cli.report.groups import grouped
from inforeg_cli.report.paper_tables import PaperTables
from inforeg_cli.report.runs import all_runs


def table_of(folder, number, dataset="digits", **options):
    return PaperTables(grouped(all_runs(folder).runs), **options).table(number, dataset)


def rows_of(folder, number, dataset="digits", **options):
    return {row.label: row for row in table_of(folder, number, dataset, **options).rows}


def test_a_row_has_mean_spread_and_number_of_its_seeds_and_the_gap_to_what_was_printed(tmp_path):
    options = {"dataset": "crema-d", "modalities": ("audio", "video")}
    for seed, accuracy in enumerate((0.60, 0.65, 0.70)):
        make_row_run(tmp_path, 2, "ogm", seed, accuracy, **options)
    row = rows_of(tmp_path, 2, "crema-d")["ogm"]
    score = row.scores["accuracy"]
    assert (score.measured.mean, score.measured.std, score.measured.n) == pytest.approx((0.65, 0.05, 3))
    assert (score.output, score.printed, score.gap) == ("fused", pytest.approx(0.687), pytest.approx(0.65 - 0.687))
    assert row.scores["audio"].gap == pytest.approx(0.55 - 0.5684)
    assert row.scores["video"].printed == pytest.approx(0.3952)
    assert (row.n, row.seeds) == (3, (0, 1, 2))


def test_other_data_have_no_printed_numbers(tmp_path):
    make_row_run(tmp_path, 2, "ogm")
    table = table_of(tmp_path, 2)
    assert not table.in_paper
    assert all(score.printed is None and score.gap is None for row in table.rows for score in row.scores.values())
    assert table_of(tmp_path, 2, "crema-d").in_paper


def test_what_has_not_been_run_is_missing_row_by_row_and_seed_by_seed(tmp_path):
    make_table(tmp_path, 2, {"joint": 0.8})
    make_row_run(tmp_path, 2, "ogm", 1)
    make_row_run(tmp_path, 2, "agm", 0, finished=False)
    table = table_of(tmp_path, 2)
    assert table.missing == {
        "ogm": (0, 2), "greedy": (0, 1, 2), "pmr": (0, 1, 2), "agm": (0, 1, 2), "inforeg": (0, 1, 2),
    }  # fmt: skip
    unrun = next(row for row in table.rows if row.label == "agm")
    assert (unrun.n, unrun.runs, unrun.scores["accuracy"].measured) == (0, (), None)
    assert table.started
    assert not table_of(tmp_path, 2, "crema-d").started


def test_differences_to_joint_are_paired_by_seed_with_both_intervals_and_corrected_over_the_table(tmp_path):
    for seed, accuracy in enumerate((0.70, 0.72, 0.71)):
        make_row_run(tmp_path, 2, "joint", seed, accuracy)
        make_row_run(tmp_path, 2, "ogm", seed, accuracy + 0.15 + 0.005 * seed)
        make_row_run(tmp_path, 2, "inforeg", seed, accuracy + (0.02, -0.02, 0.01)[seed])
    rows = rows_of(tmp_path, 2)
    versus = rows["ogm"].scores["accuracy"].versus
    test = stats.ttest_1samp([0.15, 0.155, 0.16], 0)
    interval = test.confidence_interval(0.95)
    assert (versus.baseline, versus.seeds, versus.mean) == ("joint", (0, 1, 2), pytest.approx(0.155))
    assert (versus.over_seeds.low, versus.over_seeds.high) == pytest.approx((interval.low, interval.high))
    assert versus.over_clips.low < 0.155 < versus.over_clips.high
    assert versus.adjusted["over_seeds"] == pytest.approx(2 * test.pvalue)
    assert versus.significant
    assert not rows["inforeg"].scores["accuracy"].versus.significant
    assert rows["joint"].scores["accuracy"].versus is None
    assert rows["ogm"].scores["sound"].versus is None


def test_fewer_than_three_seeds_claim_no_interval_and_no_mark(tmp_path):
    make_table(tmp_path, 2, {"joint": 0.5, "ogm": 0.9}, seeds=2)
    rows = rows_of(tmp_path, 2)
    versus = rows["ogm"].scores["accuracy"].versus
    assert versus.mean == pytest.approx(0.4)
    assert (versus.over_seeds, versus.over_clips, versus.significant) == (None, None, False)
    assert rows["ogm"].scores["accuracy"].mark is None


def test_a_method_that_never_acted_says_so_and_is_no_improvement(tmp_path):
    make_table(tmp_path, 2, {"joint": 0.6})
    make_table(tmp_path, 2, {"ogm": 0.9}, acted=False)
    row = rows_of(tmp_path, 2)["ogm"]
    assert row.name == "ogm: never acted"
    assert max(row.scores["accuracy"].versus.adjusted.values()) < 0.05
    assert not row.scores["accuracy"].versus.significant


def marks(folder, number, measure="accuracy", **options):
    found = {row.label: row.scores[measure].mark for row in table_of(folder, number, **options).rows}
    return {name: mark for name, mark in found.items() if mark}


def test_best_and_second_are_marked_where_the_intervals_tell_them_from_all_below(tmp_path):
    make_table(tmp_path, 2, {"joint": 0.6, "ogm": 0.9, "pmr": 0.75})
    assert marks(tmp_path, 2) == {"ogm": "best", "pmr": "second"}
    assert marks(tmp_path, 2, "image") == {"ogm": "best", "pmr": "second"}


def test_rows_that_cannot_be_told_apart_have_no_mark(tmp_path):
    make_table(tmp_path, 2, {"joint": 0.6, "ogm": 0.9})
    make_table(tmp_path, 2, {"pmr": 0.895}, errors_from=100)
    assert marks(tmp_path, 2) == {}


def test_the_best_stands_alone_where_the_second_is_not_told_from_the_third(tmp_path):
    make_table(tmp_path, 2, {"joint": 0.7, "ogm": 0.9})
    make_table(tmp_path, 2, {"pmr": 0.695}, errors_from=100)
    assert marks(tmp_path, 2) == {"ogm": "best"}


def test_a_row_of_too_few_seeds_cannot_be_told_to_be_worse(tmp_path):
    make_table(tmp_path, 2, {"joint": 0.6, "ogm": 0.9})
    assert marks(tmp_path, 2) == {"ogm": "best"}
    make_row_run(tmp_path, 2, "pmr", 0, 0.3)
    assert marks(tmp_path, 2) == {}


def test_one_interval_is_not_enough_for_a_mark(tmp_path):
    # One clip of 200 more with every seed: no spread over seeds, but one clip is no evidence over clips.
    make_table(tmp_path, 2, {"joint": 0.8, "ogm": 0.805})
    assert marks(tmp_path, 2) == {}


def test_in_a_table_of_columns_each_is_ranked_for_itself(tmp_path):
    accuracies = {"joint, sum": 0.9, "inforeg, sum": 0.6, "joint, concat": 0.7, "inforeg, concat": 0.85}
    make_table(tmp_path, 5, accuracies)
    assert marks(tmp_path, 5) == {"joint, sum": "best", "inforeg, concat": "best"}


def test_table_1_compares_each_modality_alone(tmp_path):
    for seed in range(3):
        make_row_run(tmp_path, 1, "joint", seed, modality_accuracy={"sound": 0.8, "image": 0.3})
        make_row_run(tmp_path, 1, "joint twice as long", seed, modality_accuracy={"sound": 0.8, "image": 0.31})
        make_row_run(tmp_path, 1, "inforeg", seed, modality_accuracy={"sound": 0.8, "image": 0.5})
    table = table_of(tmp_path, 1)
    rows = {row.label: row for row in table.rows}
    assert table.measures == ("sound", "image")
    assert (rows["joint"].epochs, rows["joint twice as long"].epochs) == (40, 80)
    assert rows["joint"].scores["image"].output == "head"
    assert rows["inforeg"].scores["image"].versus.mean == pytest.approx(0.2)
    assert rows["inforeg"].scores["image"].versus.significant
    assert rows["inforeg"].scores["image"].mark == "best"
    assert rows["inforeg"].scores["sound"].versus.mean == 0
    assert rows["inforeg"].scores["sound"].mark is None


def test_table_3_measures_the_fairness_group_against_joint_with_the_same_losses(tmp_path):
    names = [row.name for row in studies.load("paper/table3").rows]
    make_table(tmp_path, 3, {name: 0.6 + 0.02 * index for index, name in enumerate(names)})
    rows = rows_of(tmp_path, 3)
    baselines = {
        name: row.scores["accuracy"].versus and row.scores["accuracy"].versus.baseline for name, row in rows.items()
    }
    assert baselines == {
        "joint": None,
        "joint*": "joint",
        "g-blending": "joint*",
        "mmpareto": "joint*",
        "joint* at 1.5 x encoder rate": "joint*",
        "inforeg*": "joint*",
        "joint + slice losses": "joint",
        "inforeg + slice losses": "joint + slice losses",
    }
    assert rows["inforeg*"].scores["accuracy"].versus.mean == pytest.approx(0.08)


def test_modalities_have_their_own_heads_score_where_there_are_own_heads_only(tmp_path):
    for row in studies.load("paper/table3").rows:
        make_row_run(tmp_path, 3, row.name)
    rows = rows_of(tmp_path, 3)
    own = {"joint*", "g-blending", "mmpareto", "joint* at 1.5 x encoder rate", "inforeg*"}
    for name, row in rows.items():
        assert row.scores["image"].output == ("own_head" if name in own else "head"), name
    # 0.8 less 0.2 for the second modality; own heads have 0.05 more.
    assert rows["joint"].scores["image"].measured.mean == pytest.approx(0.60)
    assert rows["joint*"].scores["image"].measured.mean == pytest.approx(0.65)


def test_rows_that_the_paper_does_not_print_are_marked_as_ours(tmp_path):
    names = [row.name for row in table_of(tmp_path, 3).rows if row.ours]
    assert names == [
        "joint* at 1.5 x encoder rate (ours)", "joint + slice losses (ours)", "inforeg + slice losses (ours)",
    ]  # fmt: skip


def test_table_5_measures_each_fusion_against_joint_with_that_fusion(tmp_path):
    make_table(tmp_path, 5, {row.name: 0.7 for row in studies.load("paper/table5").rows})
    for name, row in rows_of(tmp_path, 5).items():
        method, fusion = name.split(", ")
        versus = row.scores["accuracy"].versus
        assert (versus and versus.baseline) == (None if method == "joint" else f"joint, {fusion}")


def test_table_6_has_accuracy_and_macro_f1(tmp_path):
    modalities = ("text", "audio", "vision")
    make_table(tmp_path, 6, {"joint": 0.6, "ogm": 0.7}, dataset="cmu-mosi", modalities=modalities)
    table = table_of(tmp_path, 6, "cmu-mosi")
    assert table.measures == ("accuracy", "macro_f1")
    ogm = next(row for row in table.rows if row.label == "ogm")
    assert ogm.scores["macro_f1"].printed == pytest.approx(0.6132)
    assert ogm.scores["macro_f1"].versus.over_clips.low > 0


@pytest.mark.parametrize(("rule", "shift"), [("val", 0), ("last", -0.02), ("test", 0.015)])
def test_each_epoch_rule_shows_the_scores_and_the_clips_of_its_epoch(tmp_path, rule, shift):
    for seed in range(3):
        make_row_run(tmp_path, 3, "joint", seed, 0.7)
        make_row_run(tmp_path, 3, "joint*", seed, 0.8)
    rows = rows_of(tmp_path, 3, epoch_rule=rule)
    scores = rows["joint*"].scores
    assert scores["accuracy"].measured.mean == pytest.approx(0.8 + shift)
    assert scores["image"].measured.mean == pytest.approx(0.65 + shift)
    assert rows["joint"].scores["sound"].measured.mean == pytest.approx(0.6 + shift)
    macro = rows_of(tmp_path, 3, epoch_rule=rule, metric="macro_f1")["joint*"].scores["macro_f1"].measured.mean
    assert macro == pytest.approx(0.8 + shift, abs=0.01)
    # Another epoch's predictions are not needed.
    which = {"val": "best", "last": "last", "test": "test-best"}[rule]
    for file in tmp_path.glob("*/predictions-*.parquet"):
        if file.stem != f"predictions-test-{which}":
            file.unlink()
    assert rows_of(tmp_path, 3, epoch_rule=rule)["joint*"].scores["accuracy"].versus.over_clips is not None
    for file in tmp_path.glob("*/predictions-*.parquet"):
        file.unlink()
    table = table_of(tmp_path, 3, epoch_rule=rule)
    assert table.rows[1].scores["accuracy"].versus.over_clips is None
    assert any("does not exist" in note for note in table.notes)


def test_a_run_without_test_scores_by_epoch_is_left_out_under_that_rule(tmp_path):
    make_table(tmp_path, 2, {"joint": 0.7})
    folder = make_row_run(tmp_path, 2, "joint", 3, 0.9)
    text = (folder / "result.json").read_text()
    chosen = text[text.index('"test_if_chosen_on_test"') : text.index(', "open_epochs"')]
    (folder / "result.json").write_text(text.replace(chosen, '"test_if_chosen_on_test": null'))
    table = table_of(tmp_path, 2, epoch_rule="test")
    assert table.rows[0].n == 3
    assert any(folder.name in note and "record.test_curve" in note for note in table.notes)
    assert table_of(tmp_path, 2).rows[0].n == 4


def test_the_metric_asked_for_replaces_each_tables_own_and_has_its_own_intervals(tmp_path):
    make_table(tmp_path, 2, {"joint": 0.7, "ogm": 0.9})
    for metric in ("macro_f1", "auroc"):
        table = table_of(tmp_path, 2, metric=metric)
        assert table.measures == (metric, "sound", "image")
        ogm = table.rows[1]
        assert ogm.scores[metric].versus.over_clips.low > 0.1
        assert ogm.scores["image"].measured is not None
    assert table_of(tmp_path, 6, metric="accuracy").measures == ("accuracy",)


def test_printed_accuracies_stand_beside_no_other_score(tmp_path):
    options = {"dataset": "crema-d", "modalities": ("audio", "video")}
    make_row_run(tmp_path, 2, "ogm", **options)
    row = rows_of(tmp_path, 2, "crema-d", metric="macro_f1")["ogm"]
    assert [score.printed for score in row.scores.values()] == [None, None, None]


def test_an_auroc_that_no_run_has_is_said_to_be_none(tmp_path):
    folder = make_row_run(tmp_path, 2, "joint")
    (folder / "result.json").write_text((folder / "result.json").read_text().replace('"auroc"', '"other"'))
    table = table_of(tmp_path, 2, metric="auroc")
    assert table.rows[0].n == 0
    assert "AUROC is of two classes: these runs have none" in table.notes


def test_what_a_reader_must_know_of_a_row_is_noted_where_the_row_was_run(tmp_path):
    make_row_run(tmp_path, 2, "joint")
    assert table_of(tmp_path, 2).notes == ()
    make_row_run(tmp_path, 2, "greedy")
    make_row_run(tmp_path, 3, "g-blending", held_out=100)
    assert any("port to one fused head" in note for note in table_of(tmp_path, 2).notes)
    assert "g-blending trains on 900 of 1000 clips: the rest is held out for its probes" in table_of(tmp_path, 3).notes


def test_a_table_takes_groups_that_were_found_elsewhere(tmp_path):
    make_table(tmp_path, 2, {"joint": 0.6})
    make_table(tmp_path, 2, {"ogm": 0.9}, settings={"optimizer": {"lr": 0.5}})
    groups = grouped(all_runs(tmp_path).runs)
    chosen = {"joint": groups[0], "ogm": groups[1]}
    table = PaperTables(groups).table_of(2, studies.load(paper.study_of(2)), "digits", chosen)
    assert table.rows[1].scores["accuracy"].versus.mean == pytest.approx(0.3)
    assert PaperTables(groups).table(2, "digits").rows[1].runs == ()


def test_the_same_table_twice_is_the_same(tmp_path):
    make_table(tmp_path, 2, {"joint": 0.7, "ogm": 0.75, "pmr": 0.72})
    assert dataclasses.asdict(table_of(tmp_path, 2)) == dataclasses.asdict(table_of(tmp_path, 2))


def test_scores_agree_with_the_predictions_that_intervals_are_made_of(tmp_path):
    folder = make_row_run(tmp_path, 3, "joint*", 0, 0.73)
    frame = pd.read_parquet(folder / "predictions-test-best.parquet")
    correct = frame[["own_head.image.0", "own_head.image.1"]].to_numpy().argmax(axis=1) == frame["label"]
    assert rows_of(tmp_path, 3)["joint*"].scores["image"].measured.mean == pytest.approx(np.mean(correct))
