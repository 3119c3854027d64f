"""What an evaluation says of a finished training's course, from hand-made records."""

import pandas as pd
import pytest

from inforeg_cli.errors import InforegError
from inforeg_cli.evaluation.dynamics import dynamics

TRACES = {"sound": [1.0, 2.0, 4.0, 4.1, 3.0], "image": [5.0, 4.0, 3.0, 3.5, 9.0]}
SETTINGS = {"modalities": ["sound", "image"], "window": {"when": "prime", "K": 0.1}}


@pytest.fixture
def folder(tmp_path):
    rows = []
    for epoch in range(5):
        train = {f"trace.{name}": past[epoch] for name, past in TRACES.items()}
        train |= {"open.sound": epoch in (2, 3), "open.image": False}
        train |= {"regulated.sound": 7.0 * (epoch in (2, 3)), "regulated.image": 0.0}
        rows.append({"epoch": epoch, "split": "train", "accuracy": 0.9, **train})
        rows.append({"epoch": epoch, "split": "val", "accuracy": (0.1, 0.5, 0.7, 0.7, 0.6)[epoch]})
    pd.DataFrame(rows).to_parquet(tmp_path / "metrics.parquet")
    return tmp_path


def test_windows_steps_and_traces(folder):
    found = dynamics(folder, SETTINGS, baseline=False)
    assert (found["best_epoch"], found["best_val_accuracy"], found["final_val_accuracy"]) == (2, 0.7, 0.6)
    assert found["by_modality"]["sound"] == {
        # (2 - 1) / 2 and (4 - 2) / 4 are above K, (4.1 - 4) / 4.1 is not.
        "prime_epochs": [2, 3],
        "open_epochs": [2, 3],
        "regulated_steps": 14,
        "final_trace": 3.0,
        "peak_trace": 4.1,
        "peak_epoch": 3,
    }
    assert found["by_modality"]["image"]["prime_epochs"] == [4]
    assert found["by_modality"]["image"]["regulated_steps"] == 0


def test_the_leaders_trace_decides_for_all(folder):
    led = {**SETTINGS, "window": {**SETTINGS["window"], "leader": "sound"}}
    found = dynamics(folder, led, baseline=False)
    assert found["by_modality"]["image"]["prime_epochs"] == [2, 3]
    assert found["by_modality"]["image"]["peak_trace"] == 9.0


def test_a_baseline_has_windows_and_no_deeds(folder):
    found = dynamics(folder, SETTINGS, baseline=True)["by_modality"]["sound"]
    assert found["prime_epochs"] == [2, 3] and not {"open_epochs", "regulated_steps"} & {*found}


def test_a_run_without_traces_has_the_rest(folder):
    table = pd.read_parquet(folder / "metrics.parquet")
    table.drop(columns=["trace.sound", "trace.image"]).to_parquet(folder / "metrics.parquet")
    assert {*dynamics(folder, SETTINGS, baseline=False)["by_modality"]["sound"]} == {"open_epochs", "regulated_steps"}


def test_what_is_absent_or_damaged_is_named(folder):
    (folder / "metrics.parquet").write_bytes(b"half")
    with pytest.raises(InforegError, match=r"metrics\.parquet cannot be read"):
        dynamics(folder, SETTINGS, baseline=False)
    (folder / "metrics.parquet").unlink()
    with pytest.raises(InforegError, match="has not finished an epoch"):
        dynamics(folder, SETTINGS, baseline=False)


@pytest.mark.parametrize(
    ("column", "value"), [("regulated.sound", float("nan")), ("accuracy", "high"), ("epoch", None)], ids=str
)
def test_what_is_no_number_is_damage(column, value, folder):
    table = pd.read_parquet(folder / "metrics.parquet")
    table.assign(**{column: value}).to_parquet(folder / "metrics.parquet")
    with pytest.raises(InforegError, match=r"metrics\.parquet (is damaged|cannot be read)"):
        dynamics(folder, SETTINGS, baseline=False)
