"""The command that makes runs again asks for the very same experiments."""

import shlex
from pathlib import Path

import pytest

from inforeg_cli import studies
from inforeg_cli.commands import reproduce
from inforeg_cli.report.runs import Run
from inforeg_cli.resolve import resolve
from inforeg_cli.settings import merge
from inforeg_cli.sweep import axes
from inforeg_cli.sweep.grid import grid


@pytest.fixture
def store(make_store):
    return make_store()


def run_of(store, raw, preset=None, seed=0, digest=None):
    experiment = resolve(merge(raw, {"seed": seed}), store)
    return Run(
        path=Path("run"),
        id=experiment.id(store.digest),
        label=experiment.label,
        baseline=None,
        preset=preset,
        experiment=experiment.model_dump(mode="json"),
        data={"name": store.name, "path": str(store.path), "digest": digest or store.digest},
        method_version=1,
        result=None,
    )


def swept(command: str, store, tmp_path) -> list[str]:
    """The ids of the cells that a printed command asks for, by the options that it has."""
    words = shlex.split(command)
    assert words[:2] == ["inforeg", "sweep"]
    options = list(zip(words[2::2], words[3::2], strict=True))
    given = dict(options)
    cells = grid(
        store,
        tmp_path,
        [],
        seeds=axes.of_seeds(given["--seeds"]),
        presets=[given["--preset"]] if "--preset" in given else [],
        method=given.get("--method"),
        assigned=reproduce.presets.from_assignments([value for option, value in options if option == "--set"]),
    ).cells
    assert given["--dataset"] == store.name
    return [cell.id for cell in cells]


CHANGES = {
    "the preset": {},
    "numbers": {"optimizer": {"lr": 0.002}, "epochs": 3},
    "words": {"window": {"when": "0-1"}, "fusion": {"name": "sum"}},
    "a list": {"modalities": ["picture"]},
    "another optimizer": {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.5, "weight_decay": 0.02}},
    "yes and no": {"record": {"fisher": True, "test_curve": False}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("with_presets", [True, False])
def test_the_command_asks_for_the_same_runs(store, tmp_path, change, with_presets):
    if with_presets:
        folder = tmp_path / "presets" / store.name
        folder.mkdir(parents=True)
        (folder / "ogm.toml").write_text('optimizer = "adamw"\n[method]\nname = "ogm"\nalpha = 0.7\n')
    raw, preset = studies.settings_of(store.name, "ogm")
    assert (preset == f"{store.name}/ogm") is with_presets
    runs = [run_of(store, merge(raw, change), preset, seed) for seed in (0, 5)]
    command = reproduce.command(runs)
    assert swept(command, store, tmp_path) == [run.id for run in runs]
    assert command.count("--set") <= sum(len(v) if isinstance(v, dict) else 1 for v in change.values())


def test_a_preset_of_another_method_is_given_the_method(store, tmp_path):
    folder = tmp_path / "presets" / store.name
    folder.mkdir(parents=True)
    (folder / "protocol.toml").write_text("batch_size = 16\n")
    raw, preset = studies.settings_of(store.name, "inforeg-own")
    assert preset == f"{store.name}/protocol"
    run = run_of(store, raw, preset)
    command = reproduce.command([run])
    assert "--method inforeg" in command and swept(command, store, tmp_path) == [run.id]


@pytest.mark.parametrize("lost", ["data", "preset"])
def test_without_data_or_preset_every_setting_is_named(store, tmp_path, lost):
    raw, _ = studies.settings_of(store.name, "pmr")
    run = run_of(
        store, raw, *(["mine/gone"] if lost == "preset" else [None]), digest="0" * 64 if lost == "data" else None
    )
    command = reproduce.command([run])
    assert command.count("--set") > 20 and swept(command, store, tmp_path) == [run.id]
