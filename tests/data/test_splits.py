"""Carving: shares, strata, groups, and independence from the order of the rows."""

import numpy as np
import pytest

from inforeg_cli.data.problems import Problems
from inforeg_cli.data.recipe import Splits
from inforeg_cli.data.splits import carve, complete, nearest_split, report_unlearnable, shared_groups, split_name

LABELS = [f"class-{i % 4}" for i in range(200)]
KEYS = [f"clip-{i}" for i in range(200)]


def test_every_class_gives_the_same_share():
    taken = carve(LABELS, None, 0.2, seed=0)
    assert {name: sum(taken[i] for i in range(200) if LABELS[i] == name) for name in set(LABELS)} == dict.fromkeys(
        (f"class-{i}" for i in range(4)), 10
    )


def test_the_seed_decides_and_nothing_else():
    assert np.array_equal(carve(LABELS, None, 0.2, 0), carve(LABELS, None, 0.2, 0))
    assert not np.array_equal(carve(LABELS, None, 0.2, 0), carve(LABELS, None, 0.2, 1))


@pytest.mark.parametrize("grouped", [False, True])
def test_the_order_of_the_rows_does_not_matter(grouped):
    groups = [f"group-{i % 23}" for i in range(200)] if grouped else None
    taken = carve(LABELS, groups, 0.2, 0, KEYS)
    order = np.random.default_rng(0).permutation(200)
    shuffled = carve(
        [LABELS[i] for i in order], [groups[i] for i in order] if grouped else None, 0.2, 0, [KEYS[i] for i in order]
    )
    assert np.array_equal(taken[order], shuffled)


def test_a_known_choice_stays_what_it_is():
    # Stores of the same recipe must agree over versions of NumPy and of this package.
    assert np.flatnonzero(carve(["a"] * 10, None, 0.3, 0)).tolist() == [1, 6, 9]


@pytest.mark.parametrize("fraction", [0.01, 0.15, 0.5, 0.99])
def test_small_classes_stand_on_both_sides_where_they_can(fraction):
    labels = ["one"] + ["two"] * 2 + ["three"] * 3
    taken = carve(labels, None, fraction, 0)
    sides = {name: {bool(taken[i]) for i in range(6) if labels[i] == name} for name in set(labels)}
    assert sides == {"one": {False}, "two": {False, True}, "three": {False, True}}


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_never_torn_and_shares_are_kept_nearly(seed):
    random = np.random.default_rng(seed)
    groups = [f"group-{g}" for g in random.integers(0, 40, 600)]
    labels = [f"class-{c}" for c in random.integers(0, 5, 600)]
    taken = carve(labels, groups, 0.2, seed)
    for group in set(groups):
        assert len({bool(taken[i]) for i in range(600) if groups[i] == group}) == 1
    assert 0.15 < taken.mean() < 0.25
    for name in set(labels):
        share = np.mean([taken[i] for i in range(600) if labels[i] == name])
        assert 0.1 < share < 0.3


def test_with_groups_every_class_stays_in_train():
    # The only clip of class "rare" lies in a group that its other clips would make welcome among the taken.
    labels = ["rare", "often"] + ["often"] * 8
    groups = ["a", "a"] + [f"b{i // 2}" for i in range(8)]
    for seed in range(10):
        taken = carve(labels, groups, 0.4, seed)
        assert taken[2:].sum() == 4
        assert not taken[:2].any()


def test_a_class_whose_groups_are_all_too_large_is_still_carved():
    labels = ["a"] * 20 + ["b"] * 2
    groups = ["g1"] * 10 + ["g2"] * 10 + ["g3", "g4"]
    taken = carve(labels, groups, 0.1, 0)
    assert taken[:20].sum() == 10
    assert taken[20:].sum() == 1


def test_missing_splits_are_carved_and_given_ones_stay():
    given = ["test"] * 40 + ["train"] * 160
    splits = complete(given, LABELS, None, Splits(val=0.25), "split", KEYS)
    assert (splits[:40] == "test").all()
    assert np.count_nonzero(splits == "val") == 40
    nothing_given = complete([None] * 200, LABELS, None, Splits(val=0.2, test=0.3), "split", KEYS)
    assert {name: int(np.count_nonzero(nothing_given == name)) for name in ("train", "val", "test")} == {
        "train": 100,
        "val": 40,
        "test": 60,
    }


def test_complete_splits_are_left_alone():
    given = [("train", "val", "test")[i % 3] for i in range(200)]
    assert complete(given, LABELS, None, Splits(), "split", KEYS).tolist() == given


def test_names_of_splits():
    assert [split_name(text) for text in ("train", " Train", "VALID", "validation", "dev", "test")] == [
        "train",
        "train",
        "val",
        "val",
        "val",
        "test",
    ]
    assert split_name("trian") is None
    assert nearest_split("trian") == "train"
    assert nearest_split("held-out") is None


def test_shared_groups_are_counted():
    assert shared_groups(["train", "test", "train", None], ["a", "a", "b", "b"]) == 1


def told(splits, labels) -> str:
    problems = Problems()
    report_unlearnable("split", splits, {"label": labels}, problems)
    return "\n".join(problems.lines())


def test_what_cannot_be_learned_is_told():
    assert told(["train", "train", "val", "test"], ["a", "b", "a", "b"]) == ""
    assert "'b', only in test and val" in told(["train", "val", "test", "test"], ["a", "b", "b", "a"])
    assert "there is one class only ('a')" in told(["train", "val", "test"], ["a", "a", "a"])
    assert "the split has no clips (val; train has too few" in told(["train", "train", "test"], ["a", "b", "a"])
