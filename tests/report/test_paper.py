import csv
from collections.abc import Mapping
from pathlib import Path

import pytest
from report.paper_factory import make_row_run

from inforeg_cli import studies
from inforeg_cli.config import Experiment
from inforeg_cli.methods import METHODS
from inforeg_cli.report import paper
from inforeg_cli.report.groups import grouped
from inforeg_cli.report.runs import Run, all_runs
from inforeg_cli.resolve import resolve
from inforeg_cli.settings import dotted

PRINTED = Path(__file__).resolve().parents[2] / ".." / "shared" / "paper" / "tables.csv"
#: What the paper calls a row that is called otherwise here.
NAMES = {
    "joint (50 epochs)": "joint",
    "joint (100 epochs)": "joint twice as long",
    "inforeg (50 epochs)": "inforeg",
}


def study(table):
    return studies.load(paper.study_of(table))


def groups(folder):
    return grouped(all_runs(folder).runs)


def found(folder, table, dataset="digits"):
    """By row the names of the runs that fit it."""
    known = groups(folder)
    return {
        row.name: [run.name for group in paper.groups_of(study(table), row, known, dataset) for run in group.runs]
        for row in study(table).rows
    }


def run_of(raw: Mapping, store, seed=0) -> Run:
    """The run that training these raw settings on `store` would leave."""
    experiment = resolve({**raw, "seed": seed}, store)
    data = {"name": store.name, "digest": store.digest}
    return Run(
        path=Path(f"/runs/{experiment.id(store.digest)[:8]}"),
        id=experiment.id(store.digest),
        label=experiment.label,
        baseline=experiment.baseline,
        preset=None,
        experiment=experiment.model_dump(mode="json"),
        data=data,
        method_version=experiment.method_class.version,
        result={"test": {}},
    )


@pytest.mark.skipif(not PRINTED.is_file(), reason="the printed numbers are not here")
def test_every_printed_number_is_in_the_studies_and_nothing_else():
    printed = {}
    with PRINTED.open() as file:
        for line in csv.DictReader(file):
            table, method = int(line["table"][-1]), NAMES.get(line["method"], line["method"])
            place = {4: (method, line["window"]), 5: (method, line["fusion"])}.get(table, method)
            metric = line["metric"].removeprefix("accuracy_")
            printed[table, place, line["dataset"], metric] = float(line["value"])
    ours = {
        (table, row.cell or row.name, dataset, metric): value
        for table in paper.TABLES
        for row in study(table).rows
        for dataset, metrics in row.printed.items()
        for metric, value in metrics.items()
    }
    assert ours == printed


def test_rows_without_printed_numbers_are_called_ours():
    for table in paper.TABLES:
        for row in study(table).rows:
            assert row.ours == (not row.printed), row.name


def test_the_defaults_that_studies_spell_out_are_those_of_the_experiment():
    for name, method in METHODS.items():
        config = method.Config().model_dump()
        assert studies.DEFAULTS.get(name, {}) == {key: value for key, value in config.items() if key != "name"}, name
    assert Experiment.model_fields["epochs"].default == studies.EPOCHS
    assert Experiment.model_fields["optimizer"].default.encoder_lr_factor == 1


def test_what_a_row_names_exists():
    for table in paper.TABLES:
        for row in study(table).rows:
            assert row.method in studies.names_on("digits"), row.name
            assert row.window_of in (None, "inforeg")


@pytest.mark.parametrize("table", paper.TABLES)
def test_a_run_of_each_row_fits_that_row_alone(tmp_path, table):
    made = {row.name: [make_row_run(tmp_path, table, row.name).name] for row in study(table).rows}
    assert found(tmp_path, table) == made


@pytest.mark.parametrize("table", paper.TABLES)
def test_what_the_engine_makes_of_a_row_fits_it_on_data_without_presets(make_store, table):
    store = make_store()
    modalities = dict(enumerate(store.modalities))
    for row in study(table).rows:
        raw, _ = studies.row_settings(study(table), row, store.name, modalities)
        run = run_of(raw, store)
        for other in study(table).rows:
            fits = bool(paper.groups_of(study(table), other, grouped([run]), store.name))
            assert fits == (other.name == row.name), (row.name, other.name, dotted(raw))


def test_a_variant_of_a_method_is_not_the_method(make_store):
    store = make_store()
    rows = {row.name: row for row in study(2).rows} | {row.name: row for row in study(3).rows}
    for variant, row in (("ogm-ge", "ogm"), ("uniform-lr", "joint*"), ("greedy", "greedy")):
        raw, _ = studies.settings_of(store.name, variant)
        assert paper.groups_of(study(2), rows[row], grouped([run_of(raw, store)]), store.name) == [], variant
    raw, _ = studies.settings_of(store.name, "inforeg")
    for key, value in (("beta", 0.5), ("score", "sum_p")):
        other = {**raw, "method": {**raw["method"], key: value}}
        assert paper.groups_of(study(2), rows["inforeg"], grouped([run_of(other, store)]), store.name) == []


def test_the_longer_joint_training_keeps_the_schedule_of_the_shorter():
    rows = {row.name: studies.row_settings(study(1), row, "crema-d", {})[0] for row in study(1).rows}
    assert rows["joint"]["epochs"] == 50
    assert rows["joint twice as long"] == {**rows["joint"], "epochs": 100}
    assert rows["inforeg"]["epochs"] == 50
    digits = studies.row_settings(study(1), study(1).rows[1], "digits", {})[0]
    assert (digits["epochs"], digits["schedule"]["step_size"]) == (80, 30)


def test_methods_in_their_window_have_infoRegs_window_and_those_without_one_keep_their_runs():
    rows = {row.name: studies.row_settings(study(4), row, "digits", {})[0]["window"] for row in study(4).rows}
    of_inforeg = studies.settings_of("digits", "inforeg")[0]["window"]
    assert rows["ogm, prime"] == of_inforeg
    assert rows["agm, other"] == of_inforeg | {"when": "other"}
    whole = next(row for row in study(4).rows if row.name == "ogm, whole")
    in_table_2 = next(row for row in study(2).rows if row.name == "ogm")
    settings = [studies.row_settings(study(4), row, "digits", {}) for row in (whole, in_table_2)]
    assert settings[0] == settings[1]


def test_a_run_on_one_modality_is_of_no_row_but_one_that_asks_for_it(tmp_path):
    alone = make_row_run(tmp_path, 2, "joint", settings={"modalities": ["image"]})
    assert found(tmp_path, 2)["joint"] == []
    both = make_row_run(tmp_path, 2, "joint")
    assert found(tmp_path, 2)["joint"] == [both.name]
    row = studies.StudyRow(name="image", method="joint", modalities=[1])
    fitting = paper.groups_of(studies.Study(title="t", rows=[row]), row, groups(tmp_path), "digits")
    assert [group.first.name for group in fitting] == [alone.name]
    beyond = row.model_copy(update={"modalities": [5]})
    assert paper.groups_of(studies.Study(title="t", rows=[row]), beyond, groups(tmp_path), "digits") == []


def test_a_run_on_some_of_the_modalities_is_of_no_row(tmp_path):
    names, pair = ("text", "audio", "vision"), ["text", "audio"]
    for seed in range(5):
        make_row_run(tmp_path, 6, "joint", seed, modalities=names, settings={"modalities": pair})
    make_row_run(tmp_path, 6, "ogm", 0, modalities=names)
    chosen = paper.choose(study(6), groups(tmp_path), "digits")
    assert chosen.groups.keys() == {"ogm"}
    assert chosen.notes == ("not the table's settings, so left out: 5 runs of joint with modalities=text+audio",)


def test_a_window_that_goes_by_another_trace_is_no_rows(tmp_path):
    for seed in range(3):
        make_row_run(tmp_path, 2, "inforeg", seed, settings={"trace": {"reduction": "layer-mean"}})
    assert found(tmp_path, 2)["inforeg"] == []
    plain = make_row_run(tmp_path, 2, "inforeg")
    assert found(tmp_path, 2)["inforeg"] == [plain.name]


def test_all_runs_of_a_method_with_other_settings_are_counted(tmp_path):
    for precision in ("fp32", "bf16"):
        make_row_run(tmp_path, 2, "joint", settings={"epochs": 10, "precision": precision})
    chosen = paper.choose(study(2), groups(tmp_path), "digits")
    assert chosen.notes == ("not the table's settings, so left out: 2 runs of joint with epochs=10",)


def test_ways_to_fuse_are_compared_with_the_same_stand_in_for_an_absent_feature(tmp_path):
    for seed in range(3):
        make_row_run(tmp_path, 5, "joint, film", seed, settings={"fusion": {"absent": "zero"}})
    assert found(tmp_path, 5)["joint, film"] == []


def test_a_studys_axes_take_any_of_their_values(tmp_path):
    for beta in (0.1, 0.7, 0.8):
        make_row_run(tmp_path, 2, "inforeg", settings={"method": {"beta": beta}})
    row = studies.StudyRow(name="inforeg", method="inforeg")
    swept = studies.Study(title="t", rows=[row], axes={"method.beta": [0.1, 0.7, 1.0]})
    betas = {group.settings["method.beta"] for group in paper.groups_of(swept, row, groups(tmp_path), "digits")}
    assert betas == {0.1, 0.7}


def test_runs_on_other_data_are_not_taken(tmp_path):
    make_row_run(tmp_path, 2, "joint", dataset="crema-d", modalities=("audio", "video"))
    assert found(tmp_path, 2)["joint"] == []
    assert len(found(tmp_path, 2, "crema-d")["joint"]) == 1


def test_what_is_recorded_beside_training_never_matters_and_more_seeds_win(tmp_path):
    for seed in range(2):
        make_row_run(tmp_path, 2, "joint", seed, settings={"record": {"fisher": True}})
    for seed in range(3):
        make_row_run(tmp_path, 2, "joint", seed)
    chosen = paper.choose(study(2), groups(tmp_path), "digits")
    assert chosen.groups["joint"].seeds == (0, 1, 2)
    assert chosen.notes == ()


def test_of_two_versions_of_a_method_the_newer_is_taken_and_the_other_named(tmp_path):
    for seed in range(3):
        make_row_run(tmp_path, 2, "ogm", seed)
    make_row_run(tmp_path, 2, "ogm", 0, method_version=2)
    chosen = paper.choose(study(2), groups(tmp_path), "digits")
    assert chosen.groups["ogm"].first.method_version == 2
    assert chosen.notes == ("ogm: 3 runs with method.version=1 left out beside those with method.version=2",)


def test_a_table_is_of_the_protocol_that_covers_most_rows_then_most_seeds(tmp_path):
    for seed in range(5):
        make_row_run(tmp_path, 2, "joint", seed, settings={"precision": "bf16"})
    for row in ("joint", "ogm"):
        make_row_run(tmp_path, 2, row, 0)
    chosen = paper.choose(study(2), groups(tmp_path), "digits")
    assert {name: group.settings["precision"] for name, group in chosen.groups.items()} == {
        "joint": "fp32",
        "ogm": "fp32",
    }
    assert chosen.notes == ("5 runs with precision=bf16 left out: the table is of runs with precision=fp32",)
    for seed in range(2):
        make_row_run(tmp_path, 2, "ogm", seed, settings={"precision": "bf16"})
    chosen = paper.choose(study(2), groups(tmp_path), "digits")
    assert {group.settings["precision"] for group in chosen.groups.values()} == {"bf16"}


@pytest.mark.parametrize(
    "other", [{"digest": "e" * 64}, {"settings": {"data": {"scheme": "speaker", "label": "digit"}}}]
)
def test_other_data_and_another_split_scheme_are_other_protocols(tmp_path, other):
    make_row_run(tmp_path, 2, "joint")
    make_row_run(tmp_path, 2, "ogm", **other)
    chosen = paper.choose(study(2), groups(tmp_path), "digits")
    assert len(chosen.groups) == 1
    assert "1 run with" in chosen.notes[0]


def test_rows_that_differ_by_what_they_are_share_a_protocol(tmp_path):
    for table in (1, 3, 5):
        folder = tmp_path / str(table)
        for row in study(table).rows:
            settings = {"fusion": {"absent": "mean"}} if "film" in row.name else {}
            make_row_run(folder, table, row.name, settings=settings)
        assert len(paper.choose(study(table), groups(folder), "digits").groups) == len(study(table).rows)


def test_runs_of_a_rows_method_with_other_settings_are_named(tmp_path):
    make_row_run(tmp_path, 2, "joint", settings={"epochs": 10})
    chosen = paper.choose(study(2), groups(tmp_path), "digits")
    assert chosen.groups == {}
    assert chosen.notes == ("not the table's settings, so left out: 1 run of joint with epochs=10",)


def test_runs_that_stand_in_one_row_are_no_strays_of_another(tmp_path):
    """Joint with own losses has a row for the usual learning rate of the encoders, and one for another."""
    make_row_run(tmp_path, 3, "joint*")
    chosen = paper.choose(study(3), groups(tmp_path), "digits")
    assert {*chosen.groups} == {"joint*"} and not chosen.notes
