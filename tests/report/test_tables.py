import numpy as np
import pandas as pd
import pytest
from report.run_factory import make_run
from scipy import stats

from inforeg_cli.report.runs import all_runs
from inforeg_cli.report.tables import comparison


def tables_of(folder, **options):
    return comparison(all_runs(folder).runs, **options)


def rows_of(folder, **options):
    (table,) = tables_of(folder, **options)
    return {row.name: row for row in table.rows}


def test_a_row_holds_the_scores_of_its_runs(tmp_path):
    for seed, accuracy in enumerate((0.7, 0.8, 0.9)):
        make_run(tmp_path, "uniform", seed, accuracy)
    row = rows_of(tmp_path)["uniform"]
    assert (row.accuracy.mean, row.accuracy.std, row.accuracy.n) == pytest.approx((0.8, 0.1, 3))
    assert row.macro_f1.mean == pytest.approx(0.79)
    assert row.head["sound"].mean == pytest.approx(0.6)
    assert row.own_head["image"].mean == pytest.approx(0.7)
    assert row.best_epoch == (20, 20, 20)
    assert row.chosen_on_test.mean == pytest.approx(0.815)
    assert row.last.mean == pytest.approx(0.78)


def test_the_split_is_chosen_throughout(tmp_path):
    for seed in range(3):
        make_run(tmp_path, "joint", seed, 0.8)
        make_run(tmp_path, "ogm", seed, 0.85)
    (table,) = tables_of(tmp_path, split="val")
    assert table.split == "val"
    assert [row.accuracy.mean for row in table.rows] == pytest.approx([0.81, 0.86])
    assert all(row.chosen_on_test is None for row in table.rows)
    for file in tmp_path.glob("*/predictions-test-best.parquet"):
        file.unlink()
    assert tables_of(tmp_path, split="val")[0].notes == ()


def test_differences_are_paired_with_the_baseline_and_marked_where_both_intervals_exclude_zero(tmp_path):
    for seed, accuracy in enumerate((0.70, 0.72, 0.71)):
        make_run(tmp_path, "joint", seed, accuracy)
        make_run(tmp_path, "ogm", seed, accuracy + 0.15 + 0.005 * seed)
        make_run(tmp_path, "inforeg", seed, accuracy + (0.02, -0.02, 0.01)[seed])
    rows = rows_of(tmp_path)
    versus = rows["ogm"].versus
    test = stats.ttest_1samp([0.15, 0.155, 0.16], 0)
    assert (versus.baseline, versus.seeds, versus.mean) == ("joint", (0, 1, 2), pytest.approx(0.155))
    assert versus.over_seeds.p == pytest.approx(test.pvalue)
    assert versus.over_clips.mean == pytest.approx(0.155)
    assert versus.adjusted["over_seeds"] == pytest.approx(2 * test.pvalue)
    assert versus.significant
    assert not rows["inforeg"].versus.significant
    assert rows["joint"].versus is None


def test_an_interval_over_seeds_alone_is_no_significance(tmp_path):
    # One clip of 200 more with every seed: no spread over seeds, but one clip is no evidence over clips.
    for seed in range(3):
        make_run(tmp_path, "joint", seed, 0.8)
        make_run(tmp_path, "ogm", seed, 0.805)
    versus = rows_of(tmp_path)["ogm"].versus
    assert versus.over_seeds.p == 0
    assert versus.over_clips.p > 0.05
    assert not versus.significant


def test_what_is_significant_alone_may_not_be_among_many(tmp_path):
    for seed in range(3):
        make_run(tmp_path, "joint", seed, 0.7)
        make_run(tmp_path, "ogm", seed, (0.795, 0.82, 0.80)[seed])
    assert rows_of(tmp_path)["ogm"].versus.significant
    for index in range(12):
        for seed in range(3):
            make_run(tmp_path, f"other{index}", seed, (0.71, 0.69, 0.70)[seed])
    assert not rows_of(tmp_path)["ogm"].versus.significant


def test_fewer_than_three_common_seeds_claim_no_interval(tmp_path):
    for seed in range(3):
        make_run(tmp_path, "joint", seed, 0.7)
        make_run(tmp_path, "ogm", seed + 1, 0.9)
    versus = rows_of(tmp_path)["ogm"].versus
    assert versus.mean == pytest.approx(0.2)
    assert (versus.over_seeds, versus.over_clips, versus.significant) == (None, None, False)


def test_without_a_baseline_or_common_seeds_there_is_no_difference(tmp_path):
    make_run(tmp_path, "ogm", 0)
    assert rows_of(tmp_path)["ogm"].versus is None
    make_run(tmp_path, "joint", 1)
    assert rows_of(tmp_path)["ogm"].versus is None


def test_a_method_that_never_acted_says_so_and_is_no_improvement(tmp_path):
    for seed in range(3):
        make_run(tmp_path, "joint", seed, 0.7)
        make_run(tmp_path, "inforeg", seed, 0.9, acted=False)
        make_run(tmp_path, "ogm", seed, 0.9, acted=seed != 1)
    rows = rows_of(tmp_path)
    assert list(rows) == ["joint", "inforeg: never acted", "ogm: acted in 2 of 3 runs"]
    assert not rows["inforeg: never acted"].versus.significant
    assert max(rows["inforeg: never acted"].versus.adjusted.values()) < 0.05
    assert rows["ogm: acted in 2 of 3 runs"].acted.regulated_steps == {"image": 80, "sound": 0}
    assert rows["joint"].acted is None


def test_groups_that_share_a_label_are_told_apart_and_sorted_by_value(tmp_path):
    for beta in (10.0, 0.9, 0.5):
        make_run(tmp_path, "inforeg", settings={"method.beta": beta})
    for label in ("ogm", "uniform", "joint"):
        make_run(tmp_path, label)
    make_run(tmp_path, "joint", modalities=("sound",))
    assert list(rows_of(tmp_path)) == [
        "sound alone",
        "joint",
        "uniform",
        "inforeg (method.beta=0.5)",
        "inforeg (method.beta=0.9)",
        "inforeg (method.beta=10)",
        "ogm",
    ]


def test_method_versions_are_told_apart(tmp_path):
    make_run(tmp_path, "ogm", method_version=1)
    make_run(tmp_path, "ogm", method_version=2)
    assert list(rows_of(tmp_path)) == ["ogm (method.version=1)", "ogm (method.version=2)"]


def test_other_protocols_stand_in_tables_whose_titles_say_what_differs(tmp_path):
    make_run(tmp_path, "joint")
    make_run(tmp_path, "joint", settings={"optimizer.lr": 0.1, "epochs": 5})
    make_run(tmp_path, "joint", dataset="mosi", digest="e" * 64, modalities=("a", "b", "c"))
    make_run(tmp_path, "joint", dataset="mosi", digest="f" * 64, modalities=("a", "b", "c"))
    assert [table.title for table in tables_of(tmp_path)] == [
        "digits: image + sound (optimizer.lr=0.01, epochs=30)",
        "digits: image + sound (optimizer.lr=0.1, epochs=5)",
        "mosi: a + b + c (data.digest=eeeeeeee)",
        "mosi: a + b + c (data.digest=ffffffff)",
    ]


def test_a_table_knows_what_its_footer_needs(tmp_path):
    make_run(tmp_path, "joint", 3)
    make_run(tmp_path, "ogm", 5)
    (table,) = tables_of(tmp_path)
    assert (table.epoch_rules, table.scheme, table.seeds) == (("val",), "default", (3, 5))
    assert table.counts == {"train": 1000, "val": 100, "test": 200}
    assert table.presets == ("digits/joint", "digits/ogm")


def test_a_repeated_seed_is_noted(tmp_path):
    make_run(tmp_path, "joint", 0, name="one")
    make_run(tmp_path, "joint", 0, name="two")
    (table,) = tables_of(tmp_path)
    assert table.rows[0].accuracy.n == 1
    assert "two repeats seed 0" in table.notes[0]


def test_the_order_of_clips_in_the_files_does_not_matter(tmp_path):
    for seed in range(3):
        make_run(tmp_path, "joint", seed, 0.7)
        path = make_run(tmp_path, "ogm", seed, 0.8) / "predictions-test-best.parquet"
        before = rows_of(tmp_path)["ogm"].versus.over_clips if seed == 2 else None
        pd.read_parquet(path).sample(frac=1, random_state=seed).to_parquet(path)
    assert rows_of(tmp_path)["ogm"].versus.over_clips == before


@pytest.mark.parametrize("damage", ["absent", "cut", "columns", "clips", "twice"])
def test_unusable_predictions_cost_the_interval_over_clips_and_a_note(tmp_path, damage):
    for seed in range(3):
        make_run(tmp_path, "joint", seed, 0.7)
        path = make_run(tmp_path, "ogm", seed, 0.8) / "predictions-test-best.parquet"
    frame = pd.read_parquet(path)
    match damage:
        case "absent":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[:100])
        case "columns":
            frame[["id", "label"]].to_parquet(path)
        case "clips":
            frame.assign(id=np.where(np.arange(len(frame)) == 0, "another", frame["id"])).to_parquet(path)
        case "twice":
            frame.assign(id=frame["id"].iloc[0]).to_parquet(path)
    (table,) = tables_of(tmp_path)
    versus = table.rows[1].versus
    assert versus.over_clips is None
    assert versus.over_seeds is not None
    assert not versus.significant
    assert "no interval over clips for ogm" in table.notes[0]


def test_more_than_ten_classes_are_read_in_the_order_of_their_indices(tmp_path):
    # As text fused.10 comes before fused.2: read in that order, argmax would name other classes.
    for seed in range(3):
        for label, right in (("joint", 0), ("ogm", 200)):
            path = make_run(tmp_path, label, seed, right / 200) / "predictions-test-best.parquet"
            target = np.arange(200) % 12
            chosen = np.where(np.arange(200) < right, target, (target + 1) % 12)
            fused = (chosen[:, None] == np.arange(12)).astype(float)
            columns = {f"fused.{index}": fused[:, index] for index in range(12)}
            pd.DataFrame({"id": np.arange(200), "label": target, **columns}).to_parquet(path)
    assert rows_of(tmp_path)["ogm"].versus.over_clips.mean == 1


def test_no_finished_run_makes_no_table(tmp_path):
    make_run(tmp_path, finished=False)
    assert tables_of(tmp_path) == []


def test_who_trains_on_less_of_train_is_named(tmp_path):
    for seed in range(3):
        make_run(tmp_path, "joint", seed, 0.8)
        make_run(tmp_path, "g-blending", seed, 0.8, held_out=100)
    (table,) = tables_of(tmp_path)
    assert table.notes == ("g-blending trains on 900 of 1000 clips: the rest is held out for its probes",)
