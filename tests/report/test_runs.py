import json

import pytest
from report.run_factory import make_run

from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.report.runs import all_runs, find_run, read_run
from inforeg_cli.settings import dotted


def test_a_run_is_read_as_its_folder_tells_it(tmp_path):
    run = read_run(make_run(tmp_path, "inforeg", seed=4, accuracy=0.75))
    assert (run.label, run.baseline, run.preset, run.seed) == ("inforeg", "joint", "digits/inforeg", 4)
    assert (run.dataset, run.modalities, run.finished) == ("digits", ("image", "sound"), True)
    assert run.result["test"]["accuracy"] == 0.75
    assert len(run.predictions("test")) == 200


def test_without_a_result_a_run_is_unfinished(tmp_path):
    assert not read_run(make_run(tmp_path, finished=False)).finished


def test_all_runs_are_in_order_and_nothing_else_counts(tmp_path):
    for seed in (2, 0, 1):
        make_run(tmp_path, seed=seed)
    (tmp_path / "mlruns" / "1").mkdir(parents=True)
    (tmp_path / "mlflow.db").write_bytes(b"no run")
    (tmp_path / ".half-written").mkdir()
    (tmp_path / ".half-written" / "config.json").write_text("{")
    found = all_runs(tmp_path)
    assert [run.seed for run in found.runs] == [0, 1, 2]
    assert found.unreadable == ()


def test_a_folder_of_runs_that_is_not_there_holds_none(tmp_path):
    assert all_runs(tmp_path / "nowhere").runs == ()


def _result(more):
    scores = '{"accuracy": 1, "macro_f1": 1}'
    return f'{{"val": {scores}, "test": {scores}, {more}}}'


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", "{", "cannot be read"),
        ("config.json", "[]", "no JSON object"),
        ("config.json", '{"label": "joint"}', "'id' is missing"),
        ("result.json", '{"test": {}}', "'val' is missing"),
        ("result.json", b"\xff\xfe", "cannot be read"),
        ("result.json", '{"val": {"accuracy": "high"}}', "'accuracy' is 'high'"),
        ("result.json", '{"val": {"accuracy": NaN}}', "'accuracy' on val is nan"),
        ("result.json", '{"val": {"accuracy": 93.5}}', "'accuracy' on val is 93.5"),
        ("result.json", '{"val": {"accuracy": 1, "macro_f1": 1, "head": 0.5}}', "'head' is 0.5"),
        ("result.json", '{"val": {"accuracy": 1, "macro_f1": 1, "head": {"a": 1}}}', "'a' is 1"),
        ("result.json", '{"val": {"accuracy": 1, "macro_f1": 1, "head": {"a": {"auroc": "x"}}}}', "'auroc' is 'x'"),
        ("result.json", '{"val": {"accuracy": 1, "macro_f1": 1}, "last": {"val": 5}}', "'val' is 5"),
        ("result.json", _result('"last": {"test": {"head": []}}'), "'head' is []"),
        ("result.json", _result('"test_if_chosen_on_test": {"accuracy": "x"}'), "'accuracy' is 'x'"),
        ("result.json", _result('"open_epochs": {"a": 1}'), "'a' is 1"),
        ("result.json", _result('"regulated_steps": {"a": [1]}'), "'a' is [1]"),
        ("result.json", _result('"versions": []'), "'versions' is []"),
        ("result.json", _result('"seconds": "x"'), "'seconds' is 'x'"),
    ],
)
def test_a_damaged_run_is_named_and_the_others_are_read(tmp_path, file, content, said):
    damaged = make_run(tmp_path, seed=0)
    make_run(tmp_path, seed=1)
    (damaged / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    found = all_runs(tmp_path)
    assert [run.seed for run in found.runs] == [1]
    assert len(found.unreadable) == 1
    assert str(damaged / file) in found.unreadable[0]
    assert said in found.unreadable[0]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda config: config["experiment"].pop("method"), "'method' is missing"),
        (lambda config: config["experiment"].update(method={"name": 5}), "'name' is 5"),
        (lambda config: config["experiment"].update(record=[1]), "'record' is [1]"),
        (lambda config: config["data"].update(held_out="x"), "'held_out' is 'x'"),
        (lambda config: config["data"].update(counts=[1]), "'counts' is [1]"),
        (lambda config: config["data"].update(path=None), "'path' is missing"),
    ],
)
def test_a_damaged_configuration_is_named(tmp_path, damage, said):
    folder = make_run(tmp_path, seed=0)
    config = json.loads((folder / "config.json").read_text())
    damage(config)
    (folder / "config.json").write_text(json.dumps(config))
    (problem,) = all_runs(tmp_path).unreadable
    assert str(folder / "config.json") in problem and said in problem


def test_a_result_without_a_configuration_is_named(tmp_path):
    folder = make_run(tmp_path)
    (folder / "config.json").unlink()
    assert "config.json does not exist" in all_runs(tmp_path).unreadable[0]


def test_damaged_predictions_are_an_error_that_names_them(tmp_path):
    folder = make_run(tmp_path)
    (folder / "predictions-test-best.parquet").write_bytes(b"PAR1")
    with pytest.raises(InforegError, match=r"predictions-test-best\.parquet cannot be read"):
        read_run(folder).predictions("test")
    with pytest.raises(InforegError, match="does not exist"):
        read_run(folder).predictions("test", "last")


def test_a_run_is_found_by_folder_name_and_id(tmp_path, monkeypatch):
    folder = make_run(tmp_path, seed=0)
    make_run(tmp_path, seed=1)
    identity = json.loads((folder / "config.json").read_text())["id"]
    monkeypatch.chdir(tmp_path)
    for argument in (str(folder), folder.name, identity, identity[:8], identity[:20], f"./{folder.name}/"):
        assert find_run(argument, tmp_path) == folder.resolve()


def test_a_named_run_is_found_by_its_id(tmp_path):
    folder = make_run(tmp_path, name="mine")
    identity = json.loads((folder / "config.json").read_text())["id"]
    assert find_run(identity[:6], tmp_path) == folder.resolve()


def test_an_ambiguous_id_lists_the_candidates(tmp_path):
    first, second = make_run(tmp_path, name="first"), make_run(tmp_path, name="second")
    identity = json.loads((first / "config.json").read_text())["id"]
    with pytest.raises(Misuse, match=r"any of 2 runs: first, second"):
        find_run(identity[:8], tmp_path)
    assert find_run("second", tmp_path) == second.resolve()


def test_an_unknown_run_is_told_its_nearest_names(tmp_path):
    make_run(tmp_path, name="digits-inforeg")
    make_run(tmp_path, name="mosi-ogm", seed=1)
    with pytest.raises(Misuse, match=r"did you mean digits-inforeg\?"):
        find_run("digit-infroeg", tmp_path)
    with pytest.raises(Misuse, match="2 runs"):
        find_run("zzzz", tmp_path)
    with pytest.raises(Misuse):
        find_run("", tmp_path)


def test_where_there_are_no_runs_the_command_that_makes_one_is_named(tmp_path):
    with pytest.raises(Misuse, match="inforeg train"):
        find_run("anything", tmp_path / "nowhere")


def test_a_folder_that_is_no_runs_is_said_to_be_none(tmp_path):
    with pytest.raises(Misuse, match=r"holds no config\.json"):
        find_run(str(tmp_path), tmp_path)


def test_dotted_settings():
    assert dotted({"a": {"b": {"c": 1}, "d": [1, 2]}, "e": None}) == {"a.b.c": 1, "a.d": [1, 2], "e": None}
