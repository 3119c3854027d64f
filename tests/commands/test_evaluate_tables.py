"""The tables of evaluations, from hand-made ones: many classes, runs that differ in what they have, and widths."""

import numpy as np
import pytest

from inforeg_cli.commands.evaluate_tables import Evaluated, tables_of
from inforeg_cli.commands.options import Format
from inforeg_cli.commands.tabular import Table, print_table
from inforeg_cli.evaluation.scores import by_class

SCORE = {"value": 0.5, "low": 0.4, "high": 0.6}


def one(title: str, classes: int = 3, **measures) -> Evaluated:
    names = tuple(f"class {index}" for index in range(classes))
    counts = np.eye(classes, dtype=int) * 4
    counts[1, 2] = 3
    counts[0, 1] = 1
    accuracy = {
        "scores": {"accuracy": SCORE, "nll": SCORE, "overconfidence": {"value": -0.0001, "low": -0.02, "high": 0.02}},
        "by_class": by_class(counts, names),
        "confusion": counts.tolist(),
    }
    return Evaluated(title, {"run": title}, names, {"accuracy": accuracy, **measures})


def titled(tables, start: str):
    return [table for table in tables if table.title.startswith(start)]


def test_classes_are_called_as_they_are_written(capsys):
    """A confusion matrix has them as headers, where brackets are no markup."""
    print_table(Table("Confusions", ("", "[bold]one", "[/two]"), [("[bold]one", 3, 1)]), Format.rich)
    printed = capsys.readouterr().out
    assert printed.count("[bold]one") == 2 and "[/two]" in printed


def test_units_and_signs():
    (table,) = titled(tables_of([one("mine")]), "Fused")
    assert dict(table.rows) == {
        "accuracy": "50.0 [40.0, 60.0]",
        "negative log-likelihood": "0.500 [0.400, 0.600]",
        "overconfidence": "+0.0 [-2.0, +2.0]",
    }


def test_of_many_classes_those_are_shown_that_need_looking_at():
    tables = tables_of([one("mine", classes=30)])
    (table,) = titled(tables, "By class")
    assert "the 10 of 30 with the lowest F1" in table.title and len(table.rows) == 10
    assert [row[0] for row in table.rows[:2]] == ["class 1", "class 2"]
    (pairs,) = titled(tables, "Most frequent confusions")
    assert pairs.rows == [("mine", "class 1", "class 2", 3), ("mine", "class 0", "class 1", 1)]
    (matrix,) = titled(tables_of([one("mine")]), "Confusions")
    assert matrix.rows[1] == ("class 1", 0, 4, 3)
    assert not titled(tables_of([one("mine")], width=30), "Confusions")


@pytest.mark.parametrize(("width", "expected"), [(None, [5]), (150, [5]), (100, [3, 2]), (40, [1] * 5)])
def test_as_many_runs_stand_side_by_side_as_fit(width, expected):
    tables = titled(tables_of([one(f"run {index}") for index in range(5)], width), "Fused")
    assert [len(table.columns) - 1 for table in tables] == expected
    assert [name for table in tables for name in table.columns[1:]] == [f"run {index}" for index in range(5)]


def test_runs_that_lack_a_number_have_a_dash():
    alone = {"accuracy": 0.6, "seeds": [0, 1, 2], "runs": ["a", "b", "c"]}
    probed = {"by_modality": {"sound": {"probe": {"accuracy": SCORE}, "alone": alone, "minus_alone": {"probe": -0.1}}}}
    headed = {"by_modality": {"sound": {"head": {"accuracy": SCORE, "constant": True}, "probe": {"accuracy": SCORE}}}}
    (table,) = titled(tables_of([one("a", modalities=probed), one("b", modalities=headed)]), "Each modality")
    assert {name: cells for name, *cells in table.rows} == {
        "sound: probe": ["50.0 [40.0, 60.0]  -10.0", "50.0 [40.0, 60.0]"],
        "sound: alone": ["60.0 (seed 0–2)", "–"],
        "sound: head": ["–", "50.0 [40.0, 60.0]  constant"],
    }
    assert not titled(tables_of([one("a")]), "Each modality")


def test_of_many_subsets_those_are_shown_that_lack_or_have_one_modality():
    def missing(count: int) -> list[dict]:
        present = ([f"m{index}" for index in range(count) if code >> index & 1] for code in range(2**count))
        return [{"present": names, "accuracy": 0.5} for names in sorted(present, key=len, reverse=True)]

    (table,) = titled(tables_of([one("a", missing=missing(4))]), "With only")
    assert len(table.rows) == 16
    (table,) = titled(tables_of([one("a", missing=missing(5))]), "With only")
    assert "of 32 subsets" in table.title and len(table.rows) == 1 + 5 + 5 + 1
    assert (table.rows[0][0], table.rows[-1][0]) == ("m0 + m1 + m2 + m3 + m4", "none")


def test_rows_stand_in_the_order_of_the_run_that_has_most():
    learnt = {"best_epoch": 3, "epochs": 5, "best_val_accuracy": 0.5, "final_val_accuracy": 0.5}
    baseline = {"prime_epochs": [2], "peak_trace": 2.0, "peak_epoch": 1, "final_trace": 0.5}
    acted = {"prime_epochs": [], "open_epochs": [0, 1, 2], "regulated_steps": 1234, **baseline}
    runs = [
        one(name, dynamics={**learnt, "by_modality": {"sound": of_sound}})
        for name, of_sound in (("joint", baseline), ("ogm", acted))
    ]
    (table,) = titled(tables_of(runs), "Learning dynamics")
    assert table.rows[2:5] == [
        ("sound: prime epochs", "2", "2"),
        ("sound: open epochs", "–", "0–2"),
        ("sound: regulated steps", "–", "1,234"),
    ]


def test_curves_of_one_run_and_areas_of_several():
    curve = {"unit": "dB", "strengths": [None, 20, -5], "accuracy": [0.9, 0.8, 0.1], "area": 0.65}
    damaged = one("mine", damage={"sound": {"noise": curve}, "image": {"blur": {**curve, "area": 0.85}}})
    (table,) = titled(tables_of([damaged]), "One modality damaged")
    assert table.rows[0] == ("sound: noise", "20 to -5 dB", "90.0 80.0 10.0", "65.0")
    assert table.rows[-1] == ("robustness", "", "", "75.0")
    (table,) = titled(tables_of([damaged, damaged]), "One modality damaged")
    assert table.rows[0] == ("sound: noise", "65.0", "65.0") and table.rows[-1] == ("robustness", "75.0", "75.0")
