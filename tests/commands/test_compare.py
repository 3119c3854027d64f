import json

import pytest
from report.run_factory import make_run
from typer.testing import CliRunner

from inforeg_cli import console
from inforeg_cli.commands.compare import compare_app
from inforeg_cli.errors import InforegError, Misuse


@pytest.fixture
def runs_dir(tmp_path):
    folder = tmp_path / "runs"
    for seed, accuracy in enumerate((0.70, 0.72, 0.71)):
        make_run(folder, "joint", seed, accuracy)
        make_run(folder, "ogm", seed, accuracy + 0.1)
    make_run(folder, "joint", 0, dataset="mosi", digest="e" * 64, modalities=("text", "audio", "vision"))
    return folder


@pytest.fixture
def compare(capsys, monkeypatch):
    """Run ``inforeg compare`` with these arguments: its standard output and standard error."""

    def run(*arguments, width=80):
        for stream in (console.out, console.err):
            monkeypatch.setattr(stream, "width", width)
        result = CliRunner().invoke(compare_app, [str(argument) for argument in arguments])
        if isinstance(result.exception, InforegError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout, result.stderr

    return run


def test_all_runs_of_the_default_folder_are_compared(compare, runs_dir):
    printed, _ = compare("runs")
    assert "digits: image + sound" in printed
    assert "mosi: text + audio + vision" in printed
    assert "+10.0* to joint" in printed


def test_only_runs_of_a_dataset_by_name_or_store(compare, runs_dir):
    for dataset in ("mosi", runs_dir.parent / "datasets" / "mosi"):
        printed, _ = compare("runs", "--dataset", dataset)
        assert "mosi" in printed
        assert "digits" not in printed


def test_an_unknown_dataset_is_told_the_nearest(compare, runs_dir):
    with pytest.raises(Misuse, match="did you mean 'mosi'"):
        compare("runs", "--dataset", "moso")


def test_chosen_runs_by_folder_name_and_id_count_once(compare, runs_dir):
    folder = next(runs_dir.glob("digits-ogm-s1-*"))
    identity = folder.name.rpartition("-")[2]
    printed, _ = compare("runs", folder, folder.name, identity, "--format", "json")
    (table,) = json.loads(printed)
    assert [row["runs"] for row in table["rows"]] == [[folder.name]]


def test_the_split_may_be_val(compare, runs_dir):
    printed, _ = compare("runs", "--dataset", "mosi", "--split", "val")
    assert "val split" in printed
    assert "81.0" in printed


def test_without_runs_the_command_that_makes_one_is_named(compare, tmp_path):
    with pytest.raises(Misuse, match=r"there are no runs in .*inforeg train --dataset digits --method joint"):
        compare("runs", "--runs", tmp_path / "nowhere", "--dataset", "digits")


def test_unfinished_runs_are_counted_and_named_with_what_resumes_them(compare, runs_dir):
    unfinished = [make_run(runs_dir, "inforeg", seed, finished=False).name for seed in range(2)]
    printed, complaints = compare("runs", "--runs", runs_dir, width=400)
    assert "inforeg" not in printed
    assert f"2 unfinished, left out: {', '.join(unfinished)}" in complaints
    assert f"inforeg train --resume {unfinished[0]} --runs {runs_dir}" in complaints


def test_only_unfinished_runs_are_nothing_to_compare(compare, tmp_path):
    make_run(tmp_path / "runs", finished=False)
    with pytest.raises(Misuse, match="none of the runs has finished"):
        compare("runs")


def test_a_damaged_run_is_named_beside_the_table_and_an_error_where_it_was_asked_for(compare, runs_dir):
    damaged = next(runs_dir.glob("digits-ogm-s1-*"))
    (damaged / "result.json").write_text("{")
    printed, complaints = compare("runs", width=400)
    assert "digits: image + sound" in printed
    assert f"unreadable run left out: {damaged / 'result.json'}" in complaints
    with pytest.raises(InforegError, match=r"result\.json cannot be read"):
        compare("runs", damaged.name)


@pytest.mark.parametrize(
    ("format", "extension"), [("rich", "txt"), ("markdown", "md"), ("csv", "csv"), ("json", "json"), ("latex", "tex")]
)
def test_out_writes_the_tables_and_says_where(compare, runs_dir, tmp_path, format, extension):
    target = tmp_path / "made" / "tables"
    printed, said = compare("runs", "--format", format, "--out", target, width=120)
    path = target / f"compare-runs.{extension}"
    assert str(path) in said.replace("\n", "")
    assert path.read_text(encoding="utf-8") == printed
    assert [file.name for file in target.iterdir()] == [path.name]


def test_names_with_markup_are_printed_as_they_are(compare, runs_dir):
    make_run(runs_dir, "joint", dataset="[bold]odd", digest="f" * 64, finished=True)
    make_run(runs_dir, "joint", 7, dataset="[bold]odd", digest="f" * 64, finished=False, name="[red]unfinished")
    printed, complaints = compare("runs", width=300)
    assert "[bold]odd: image + sound" in printed
    assert "[red]unfinished" in complaints


def test_measures_are_asked_for_one_by_one_or_in_one_list(compare, runs_dir):
    one = compare("runs", "--dataset", "mosi", "--measure", "ece", "--measure", "nll", "--format", "json")
    assert compare("runs", "--dataset", "mosi", "--measure", "ece, nll", "--format", "json") == one
    with pytest.raises(Misuse, match="did you mean 'ece'"):
        compare("runs", "--measure", "nll,ecce")
