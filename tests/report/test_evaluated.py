"""What evaluations have kept, as columns of a comparison."""

import csv
import io
import json

import pytest
from report.run_factory import make_run

from inforeg_cli import evaluation_record as record
from inforeg_cli.errors import Misuse
from inforeg_cli.report import evaluated
from inforeg_cli.report.rendering import as_text
from inforeg_cli.report.runs import all_runs
from inforeg_cli.report.tables import comparison


def keep(run, ece: float | None = None, probe: dict | None = None, split: str = "test", **measures) -> None:
    (run / "best.pt").write_bytes(b"weights")
    if ece is not None:
        measures["accuracy"] = {"scores": {"ece": {"value": ece}}}
    if probe is not None:
        found = {name: {"probe": {"accuracy": {"value": value}}} for name, value in probe.items()}
        measures["modalities"] = {"by_modality": found}
    record.write(run, split, "best", record.about(run / "best.pt", "d" * 64), measures)


@pytest.fixture
def seeds(tmp_path):
    return [make_run(tmp_path, "joint", seed) for seed in range(3)]


def table(tmp_path, *names, split="test"):
    runs = all_runs(tmp_path).runs
    (found,) = evaluated.with_measures(comparison(runs, split), runs, names, split)
    return found


def test_means_over_seeds_by_measure_and_modality(seeds, tmp_path):
    for index, run in enumerate(seeds):
        keep(run, ece=0.01 * (index + 1), probe={"image": 0.5, "sound": 0.9})
    found = table(tmp_path, "ece", "probe")
    (row,) = found.rows
    assert row.measured["ece"].mean == pytest.approx(0.02) and row.measured["ece"].std == pytest.approx(0.01)
    assert row.measured["probe.sound"].mean == pytest.approx(0.9)
    assert list(found.measures) == ["ece", "probe.image", "probe.sound"]
    text = as_text([found], "markdown")
    assert "| ECE |" in text and "| probe sound |" in text and "2.00 ± 1.00" in text
    assert "ECE: the mean over clips" in text
    assert json.loads(as_text([found], "json"))[0]["rows"][0]["measured"]["ece"]["n"] == 3
    (line,) = csv.DictReader(io.StringIO(as_text([found], "csv")))
    assert float(line["measured.ece.mean"]) == row.measured["ece"].mean


def test_without_being_asked_nothing_is_added(seeds, tmp_path):
    keep(seeds[0], ece=0.1)
    assert "ECE" not in as_text(comparison(all_runs(tmp_path).runs), "markdown")


def test_a_row_of_which_one_run_is_not_evaluated_has_no_number(seeds, tmp_path):
    for run in seeds[:2]:
        keep(run, ece=0.1)
    found = table(tmp_path, "ece")
    assert not found.rows[0].measured and seeds[2].name in found.notes[-1] and "inforeg evaluate" in found.notes[-1]
    keep(seeds[2], ece=0.4)
    assert table(tmp_path, "ece").rows[0].measured["ece"].mean == pytest.approx(0.2)
    (seeds[2] / "best.pt").write_bytes(b"trained again")
    assert not table(tmp_path, "ece").rows[0].measured


def test_splits_are_kept_apart(seeds, tmp_path):
    for run in seeds:
        keep(run, ece=0.1)
        keep(run, ece=0.3, split="val")
    assert table(tmp_path, "ece").rows[0].measured["ece"].mean == pytest.approx(0.1)
    assert table(tmp_path, "ece", split="val").rows[0].measured["ece"].mean == pytest.approx(0.3)


def test_a_damaged_evaluation_is_named(seeds, tmp_path):
    for run in seeds:
        keep(run, ece=0.1)
    record.path_of(seeds[1], "test", "best").write_text("{")
    found = table(tmp_path, "ece")
    assert "is damaged" in found.notes[-1] and not found.rows[0].measured


@pytest.mark.parametrize("value", ["high", [0.1], {}], ids=str)
def test_what_is_no_number_has_not_been_measured(value, seeds, tmp_path):
    for run in seeds:
        keep(run, ece=value, contribution={"shapley": {"accuracy": value}})
    found = table(tmp_path, "ece", "shapley")
    assert not found.rows[0].measured and "not evaluated" in found.notes[-1]


def test_every_measure_is_found_where_an_evaluation_has_it(seeds, tmp_path):
    score = {"value": 0.25}
    scores = dict.fromkeys(("balanced_accuracy", "top5", "nll", "ece", "overconfidence"), score)
    each = {"probe": {"accuracy": score}, "minus_alone": {"probe": 0.25}}
    for run in seeds:
        keep(
            run,
            accuracy={"scores": scores},
            modalities={"by_modality": {"image": each, "sound": each}},
            contribution={"shapley": {"accuracy": {"image": 0.25, "sound": 0.25}}, "imbalance": {"accuracy": 0.25}},
            missing=[
                {"present": present, "accuracy": 0.25} for present in (["image", "sound"], ["image"], ["sound"], [])
            ],
            damage={"image": {"noise": {"area": 0.2}, "blur": {"area": 0.4}}, "sound": {"noise": {"area": 0.2}}},
        )
    found = table(tmp_path, *evaluated.MEASURES)
    measured = found.rows[0].measured
    assert {key.partition(".")[0] for key in measured} == {*evaluated.MEASURES}
    assert {summary.mean for summary in measured.values()} == {0.25}
    assert {key for key in measured if key.startswith("missing")} == {"missing.image", "missing.sound"}
    assert "0.250 ± 0.000" in as_text([found], "markdown")  # nats and the index are no percentages


def test_an_unknown_measure_is_refused_with_the_nearest():
    with pytest.raises(Misuse, match=r"no measure 'eec'; did you mean 'ece'\?"):
        evaluated.check(["nll", "eec"])
