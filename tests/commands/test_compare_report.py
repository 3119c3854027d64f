"""`inforeg compare report` and `inforeg compare searches`, on run folders as training and searches leave them."""

import csv
import io
import json

import pytest
from matplotlib.figure import Figure
from page_reader import Page
from report.paper_factory import make_table
from report.run_factory import make_run
from typer.testing import CliRunner

from inforeg_cli import search_record
from inforeg_cli.commands.compare import compare_app
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.report.figures import paper
from inforeg_cli.report.runs import read_run
from inforeg_cli.search_record import SearchRecord, TriedSettings, TunedMethod, WinnersRun


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def compare():
    def run(*arguments):
        result = CliRunner().invoke(compare_app, [str(argument) for argument in arguments])
        if isinstance(result.exception, InforegError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout, result.stderr

    return run


def search(runs, label="joint", winner=1):
    """A record of two trials, one of which failed, and the winner's runs."""
    done = read_run(make_run(runs, label, 1000, 0.8, settings={"optimizer.lr": 0.02}))
    again = [read_run(make_run(runs, label, seed, 0.8, settings={"optimizer.lr": 0.02})) for seed in (0, 1, 2)]
    fates = {
        1 - winner: {"id": "f" * 64, "run": "gone", "failed": "diverged"},
        winner: {"id": done.id, "run": done.name, "accuracy": 0.8, "loss": 0.25},
    }
    rates = {1 - winner: 0.5, winner: 0.02}
    trials = [TriedSettings(trial=one, settings={"optimizer.lr": rates[one]}, **fates[one]) for one in (0, 1)]
    winners = [WinnersRun(seed=run.seed, id=run.id, run=run.name) for run in again]
    method = TunedMethod(space={}, trials=trials, winner=winner, runs=winners)
    record = SearchRecord(
        name="digits-2-trials-abc", dataset="digits", data_digest="d" * 64, number=2, seed=1000, assigned={},
        methods={label: method},
    )  # fmt: skip
    search_record.write(record, runs)


def test_the_page_has_tables_facts_and_setups(compare, runs, tmp_path):
    for seed, accuracy in enumerate((0.70, 0.72, 0.71)):
        make_run(runs, "joint", seed, accuracy)
        make_run(runs, "ogm", seed, accuracy + 0.1)
    search(runs)
    printed, _ = compare("report")
    path = tmp_path / "figures" / "digits" / "report.html"
    assert str(path) in printed.replace("\n", "")
    page = Page(path.read_text(encoding="utf-8"))
    assert page.texts["caption"] == ["digits: image + sound", "digits: image + sound: tuned, 2 trials each"]
    assert [row[0] for row in page.tables[0][1:]] == ["joint", "ogm"]
    assert "10 finished runs of 3 experiments, 1 of them trials of searches" in page.texts["dd"]
    assert {"joint · 3 seeds", "ogm · 3 seeds"} < {*page.texts["summary"]}
    assert "1 of 2 trials failed: diverged" in page.everything
    assert any(command.startswith("inforeg sweep --dataset digits --seeds 0,1,2") for command in page.texts["pre"])
    differing = [table for table in page.tables if table[0] == ["setting", "here", "joint"]]
    assert ["method.name", "ogm", "joint"] in differing[0]


def test_the_papers_tables_are_there_of_which_anything_was_run(compare, runs, tmp_path):
    make_table(runs, 2, {"joint": 0.7, "ogm": 0.8})
    compare("report")
    page = Page((tmp_path / "figures" / "digits" / "report.html").read_text(encoding="utf-8"))
    printed = [text for text in page.texts["caption"] if text.startswith("Table ")]
    assert [text.partition(":")[0] for text in printed] == [f"Table {number}" for number in (1, 2, 3, 4, 5, 6)]
    second = page.tables[printed.index(next(text for text in printed if text.startswith("Table 2")))]
    assert next(row[2] for row in second if row[0] == "ogm").startswith("80.")
    assert "Run it with: inforeg sweep --preset paper/table4 --dataset digits" in page.everything


def test_figures_are_in_it_and_one_that_fails_keeps_no_other(compare, runs, tmp_path, monkeypatch):
    make_run(runs, "joint", 0)

    def picture(number, runs, dataset, extract):
        if number == 3:
            raise InforegError("its file is damaged")
        figure = Figure(figsize=(1, 1)) if number in (1, 7) else None
        return paper.Picture(number, f"Figure {number}: <b>", figure, "3 seeds", (), (), [])

    monkeypatch.setattr(paper, "picture", picture)
    _, said = compare("report")
    page = Page((tmp_path / "figures" / "digits" / "report.html").read_text(encoding="utf-8"))
    assert page.texts["figcaption"] == ["Figure 1: <b> (3 seeds)", "Figure 7: <b> (3 seeds)"]
    assert len(page.pictures) == 2 and "figure 3 left out: its file is damaged" in said


def test_what_stands_in_two_tables_is_set_up_once(compare, runs, tmp_path):
    search(runs, winner=0)
    compare("report")
    page = Page((tmp_path / "figures" / "digits" / "report.html").read_text(encoding="utf-8"))
    assert len(page.texts["caption"]) == 2
    assert page.texts["summary"].count("joint · 3 seeds") == 1


def test_names_with_special_characters_are_text(compare, runs, tmp_path):
    name = "<b>&'digits\""
    make_run(runs, "joint", 0, dataset=name, name="a&b<i>")
    compare("report", "--out", tmp_path)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.texts["h1"] == [f"Methods compared on {name}"]
    assert "a&b<i>" in page.texts["dd"] and not page.of("i")


def test_a_report_is_of_one_dataset(compare, runs, tmp_path):
    make_run(runs, "joint", 0)
    make_run(runs, "joint", 0, dataset="mosi", digest="e" * 64)
    with pytest.raises(Misuse, match="digits, mosi: choose one with --dataset"):
        compare("report")
    with pytest.raises(Misuse, match="did you mean 'mosi'"):
        compare("report", "--dataset", "mossi")
    compare("report", "--dataset", "mosi", "--out", tmp_path)
    assert "digits" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_without_runs_there_is_no_report(compare, runs):
    with pytest.raises(Misuse, match="there are no finished runs"):
        compare("report")
    make_run(runs, "joint", 0, finished=False)
    with pytest.raises(Misuse, match="there are no finished runs"):
        compare("report")


def test_trials_are_listed_with_their_fate(compare, runs):
    search(runs)
    rows = list(csv.DictReader(io.StringIO(compare("searches", "--format", "csv")[0])))
    assert [(row["trial"], row["settings"], row["fate"]) for row in rows] == [
        ("0", "lr 0.5", "failed: diverged"),
        ("1", "lr 0.02", "chosen"),
    ]
    (record,) = json.loads(compare("searches", "digits-2-trials-abc", "--format", "json")[0])
    assert record["methods"]["joint"]["winner"] == 1
    with pytest.raises(Misuse, match="did you mean 'digits-2-trials-abc'"):
        compare("searches", "digits-2-trials-abd")


def test_no_searches_is_said_with_what_makes_one(compare, runs):
    with pytest.raises(Misuse, match="inforeg sweep method --search"):
        compare("searches")


def test_the_comparison_of_runs_leaves_trials_out_and_says_so(compare, runs):
    make_run(runs, "joint", 0)
    search(runs)
    printed, said = compare("runs")
    assert "tuned, 2 trials each" in printed
    assert "1 trial of searches not shown" in said
    shown = json.loads(compare("runs", "--format", "json")[0])
    assert [(table["seeds"], len(table["rows"])) for table in shown] == [([0], 1), ([0, 1, 2], 1)]
