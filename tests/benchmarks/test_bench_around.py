"""What surrounds a training is measured on runs that fill the paper's tables."""

import torch

from inforeg_cli import presets
from inforeg_cli.benchmarks import around
from inforeg_cli.report.paper_tables import PaperTables

CPU = torch.device("cpu")


def test_every_figure_stands_beside_a_training_and_the_tables_are_full(monkeypatch, no_mlflow):
    load, made = presets.load, []
    monkeypatch.setattr(presets, "load", lambda name: load(name) | {"epochs": 1})
    monkeypatch.setattr(around, "CELLS", 100)
    monkeypatch.setattr(around, "RUNS", 28)

    class Seen(PaperTables):
        def table(self, number, dataset):
            made.append(super().table(number, dataset))
            return made[-1]

    monkeypatch.setattr(around, "PaperTables", Seen)
    figures = around.bench_around(3, CPU)
    rows = {row[0]: row for row in figures.rows}
    assert rows[around.TRAINING][-1] == 1.0
    assert all(len(row) == len(figures.columns) and row[1] >= 0 for row in figures.rows)
    assert "100 cells of a grid" in rows and "tables 1 to 6 of 28 runs" in rows
    assert [table.number for table in made[:6]] == [1, 2, 3, 4, 5, 6]
    assert all(0 not in seeds for table in made for seeds in table.missing.values())
