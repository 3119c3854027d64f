"""The area under the ROC curve, against scikit-learn, and where it is shown."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from inforeg_cli.app import app
from inforeg_cli.commands.train import result_lines
from inforeg_cli.engine import launch
from inforeg_cli.engine.evaluate import Predictions, nested
from inforeg_cli.engine.metrics import auroc
from inforeg_cli.errors import InforegError
from inforeg_cli.report.rendering import as_text
from inforeg_cli.report.runs import read_run
from inforeg_cli.report.tables import comparison
from inforeg_cli.resolve import resolve


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("levels", [2, 5, 10_000])
def test_it_agrees_with_scikit_learn_with_and_without_ties(seed, levels):
    random = np.random.default_rng(seed)
    positive = random.random(200) < 0.3
    score = random.integers(0, levels, 200) + positive * random.integers(0, 2)
    assert auroc(score.astype("f4"), positive) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


def test_it_is_the_share_of_pairs_in_the_right_order():
    score = np.array([0.1, 0.4, 0.4, 0.8, 0.8, 0.9])
    positive = np.array([False, True, False, False, True, True])
    pairs = product(score[positive], score[~positive])
    expected = np.mean([0.5 if mine == other else float(mine > other) for mine, other in pairs])
    assert auroc(score, positive) == expected


def test_ends_and_what_has_none():
    positive = np.array([False, False, True])
    assert auroc(np.array([1, 2, 3]), positive) == 1.0
    assert auroc(np.array([3, 2, 1]), positive) == 0.0
    assert auroc(np.zeros(3), positive) == 0.5
    assert auroc(np.arange(3), np.ones(3, bool)) is None
    assert auroc(np.arange(3), np.zeros(3, bool)) is None


def predictions(classes: int, clips: int = 60, target: np.ndarray | None = None) -> Predictions:
    random = np.random.default_rng(0)
    outputs = {
        name: torch.from_numpy(random.normal(size=(clips, classes)).astype("f4")).log_softmax(-1).numpy()
        for name in ("fused", "head.a", "own_head.a")
    }
    target = random.integers(0, classes, clips) if target is None else target
    return Predictions(np.arange(clips), target, outputs)


def test_of_two_classes_every_output_has_it():
    found = predictions(2)
    tree = nested(found.scores())
    for output, scores in (("fused", tree), ("head.a", tree["head"]["a"]), ("own_head.a", tree["own_head"]["a"])):
        probability = np.exp(found.log_probabilities[output][:, 1])
        assert scores["auroc"] == pytest.approx(roc_auc_score(found.target, probability), abs=1e-12)
        assert {"accuracy", "macro_f1"} < {*scores}


def test_of_more_classes_or_of_clips_of_one_there_is_none():
    assert not [name for name in predictions(3).scores() if "auroc" in name]
    assert not [name for name in predictions(2, target=np.zeros(60, int)).scores() if "auroc" in name]


def test_confident_outputs_are_still_told_apart():
    """Probabilities of float32 are all 1 here, and would tie."""
    margin = torch.tensor([30.0, 40.0, 50.0, 60.0])
    logits = torch.stack([torch.zeros(4), margin], dim=1).log_softmax(-1).numpy()
    found = Predictions(np.arange(4), np.array([0, 0, 1, 1]), {"fused": logits})
    assert found.scores()["auroc"] == 1.0


@pytest.fixture
def run(make_store, no_mlflow):
    """`run(classes)`: the folder of a short training on so many classes."""

    def trained(classes: int):
        store = make_store(classes=classes)
        settings = {"method": "uniform", "epochs": 1, "batch_size": 16}
        experiment = resolve(settings, store)
        folder = launch.folder_of(experiment, store, store.path.parents[1] / "runs", None)
        return launch.train(experiment, store, folder, torch.device("cpu")).folder.path

    return trained


def _evaluated(folder):
    arguments = ["evaluate", str(folder), "--only", "accuracy,modalities", "--device", "cpu", "--format", "json"]
    printed = CliRunner().invoke(app, arguments)
    assert printed.exit_code == 0
    return json.loads(printed.stdout)


def test_results_and_commands_show_it_of_two_classes(run):
    folder = run(2)
    result = json.loads((folder / "result.json").read_text())
    area = result["test"]["auroc"]
    assert 0 <= area <= 1 and 0 <= result["last"]["val"]["auroc"] <= 1
    assert all("auroc" in scores for kind in ("head", "own_head") for scores in result["test"][kind].values())
    assert f"AUROC {area:.2%} (epoch" in result_lines(result)[0]

    tables = comparison([read_run(folder)])
    assert tables[0].rows[0].auroc.mean == area
    shown = as_text(tables, "markdown")
    assert "| AUROC |" in shown and f"{100 * area:.2f}" in shown
    assert "AUROC: the area under the ROC curve of the second class" in shown

    (evaluated,) = _evaluated(folder)
    assert evaluated["accuracy"]["scores"]["auroc"]["value"] == pytest.approx(area, rel=1e-12)
    head = evaluated["modalities"]["by_modality"]["picture"]["head"]["auroc"]["value"]
    assert head == pytest.approx(result["test"]["head"]["picture"]["auroc"], rel=1e-12)


def test_results_and_commands_leave_it_out_of_more(run):
    folder = run(3)
    text = (folder / "result.json").read_text()
    assert "auroc" not in text and "AUROC" not in result_lines(json.loads(text))[0]
    assert "AUROC" not in as_text(comparison([read_run(folder)]), "markdown")
    (evaluated,) = _evaluated(folder)
    assert "macro_f1" in evaluated["accuracy"]["scores"] and "auroc" not in json.dumps(evaluated)


def test_a_damaged_one_is_told(run):
    folder = run(2)
    result = json.loads((folder / "result.json").read_text())
    result["test"]["auroc"] = 61.0
    (folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(InforegError, match=r"'auroc' on test is 61\.0, where a fraction is meant"):
        read_run(folder)
