"""`inforeg train`: one experiment, from its settings to its result."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inforeg_cli import paths
from inforeg_cli.commands import options
from inforeg_cli.console import err, out
from inforeg_cli.errors import Misuse
from inforeg_cli.naming import ranges

if TYPE_CHECKING:
    from inforeg_cli.config import Experiment
    from inforeg_cli.data.store import Store
    from inforeg_cli.engine.launch import Outcome
    from inforeg_cli.progress import Silent

_WHAT, _HOW, _WHERE = "What is trained", "How it is trained", "Where, and what happens"


def train(
    dataset: Annotated[
        str | None,
        typer.Option(
            show_default="crema-d if prepared, else digits",
            help="A prepared dataset's name or folder.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            show_default="joint",
            help="One of those that `inforeg methods` lists; takes presets/<dataset>/<method>.toml where there is one.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    fusion: Annotated[
        str | None,
        typer.Option(
            show_default="the preset's, else concat", help="concat, sum, gated or film.", rich_help_panel=_WHAT
        ),
    ] = None,
    modalities: Annotated[
        str | None, typer.Option(show_default="all", help="Only these, e.g. sound,image.", rich_help_panel=_WHAT)
    ] = None,
    unimodal_losses: Annotated[
        str | None,
        typer.Option(
            show_default="the preset's, else none",
            help="none, own (a head a modality) or slice (each one's part of the fused head).",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            show_default="the method's",
            help="When the method acts: whole, prime, other, or epochs such as 0-9.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(show_default=False, help="Settings from dataset/name, or from a TOML file.", rich_help_panel=_HOW),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            show_default=False,
            help="Any setting, e.g. method.beta=0.5; --dry-run lists them.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            show_default="the preset's, else 0", help="Where all randomness comes from.", rich_help_panel=_HOW
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(show_default="the preset's, else 50", help="Passes over the train split.", rich_help_panel=_HOW),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(show_default="the preset's, else 64", help="Clips a step.", rich_help_panel=_HOW)
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            show_default="the preset's, else 0.01", help="The learning rate at the start.", rich_help_panel=_HOW
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:<index> or mps.", rich_help_panel=_WHERE)] = "auto",
    root: options.Root = None,
    runs: options.Runs = None,
    name: Annotated[
        str | None, typer.Option(show_default="made from the settings", help="The run's name.", rich_help_panel=_WHERE)
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", show_default=False, help="Go on with an interrupted run.", rich_help_panel=_WHERE),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Train again, though the run exists.", rich_help_panel=_WHERE)
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print every setting, the parameters and steps; touch nothing.", rich_help_panel=_WHERE
        ),
    ] = False,
) -> None:
    """Train one model with one method, and say how good it is.

    Val chooses the best epoch, and the result is that epoch's test score. Settings come from the preset, then --set,
    then the options here. Ctrl-C saves everything; --resume goes on to the same bits.
    """
    flags = {
        "fusion": fusion and {"name": fusion},
        "modalities": modalities,
        "unimodal_losses": unimodal_losses,
        "window": window and {"when": window},
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": None if lr is None else {"lr": lr},
    }
    flags = {key: value for key, value in flags.items() if value is not None}
    from inforeg_cli.engine import device as devices

    chosen_device = devices.choose(device)
    if resume is not None:
        if flags or dataset or method or preset or settings or name or force:
            raise Misuse("--resume goes on with the run as it is; leave out the options that would change it")
        experiment, store, folder, used_preset = _resumed(resume, paths.runs(runs))
    else:
        experiment, store, used_preset = assemble(dataset, method, preset, settings or [], flags, dry_run=dry_run)
        folder = None
    from inforeg_cli.engine import launch

    folder = folder or launch.folder_of(experiment, store, paths.runs(runs), name)
    if dry_run:
        _print_plan(experiment, store, folder.path, used_preset)
        return
    progress = _progress()
    outcome = launch.train(experiment, store, folder, chosen_device, preset=used_preset, force=force, progress=progress)
    _print_outcome(outcome, experiment)


def assemble(
    dataset: str | None,
    method: str | None,
    preset: str | None,
    assignments: list[str],
    flags: dict[str, Any],
    *,
    dry_run: bool = False,
    say: Callable[[str], None] = lambda line: err.print(line, markup=False),
) -> "tuple[Experiment, Store, str | None]":
    """The experiment that the options ask for, the store it runs on, and the preset it came from, if any."""
    from inforeg_cli import presets
    from inforeg_cli.data import catalogue
    from inforeg_cli.methods import METHODS
    from inforeg_cli.resolve import resolve
    from inforeg_cli.settings import merge

    layers = [] if preset is None else [presets.load(preset)]
    assigned = presets.from_assignments(assignments)
    if "dataset" in assigned:
        raise Misuse("the dataset is chosen with --dataset, not with --set")
    if dataset is None:
        dataset = next((layer["dataset"] for layer in layers if "dataset" in layer), None)
    if dataset is None:
        dataset = catalogue.default_dataset()
        say(f"no --dataset given: training on {dataset}")
    if not isinstance(dataset, str):
        raise Misuse(f"preset {preset}: dataset is a name, not {dataset!r}")
    store = catalogue.open_store(dataset, temporary=dry_run)
    if preset is None:
        preset = next(
            (name for name in (f"{store.name}/{method or 'joint'}", f"{store.name}/protocol") if presets.find(name)),
            None,
        )
        if preset is not None:
            layers.append(presets.load(preset))
    if preset is not None:
        say(f"settings from preset {preset}")
    # A preset's name, such as ogm-ge, is a method with its options.
    if method is not None and not (preset == f"{store.name}/{method}" and method not in {*METHODS, "uniform"}):
        layers.append({"method": {"name": method}})
    layers += [assigned, flags]
    raw: dict[str, Any] = {}
    for layer in layers:
        raw = merge(raw, layer)
    return resolve(raw, store), store, preset


def _resumed(run: str, runs: Path) -> "tuple[Experiment, Store, Any, str | None]":
    from inforeg_cli.data import catalogue
    from inforeg_cli.engine import launch
    from inforeg_cli.report.runs import find_run
    from inforeg_cli.run_folder import RunFolder

    folder = RunFolder(find_run(run, runs))
    experiment, preset = launch.resume(folder)
    if not folder.last.exists():
        err.print("the run has no checkpoint yet: from the beginning")
    return experiment, catalogue.store_of_run(folder.read_config()), folder, preset


def _progress() -> "Silent":
    from inforeg_cli.progress import Lines, LiveView

    return LiveView(out) if out.is_terminal and out.width >= LiveView.narrowest else Lines(out)


def _print_plan(experiment: "Experiment", store: "Store", folder: Path, preset: str | None) -> None:
    import torch

    from inforeg_cli.engine.build import build_model, build_optimizer
    from inforeg_cli.settings import dotted

    transforms, model = build_model(experiment, store, torch.device("cpu"))
    clips = {split: len(store.split(experiment.data.scheme, split)) for split in ("train", "val", "test")}
    out.print(f"# {experiment.label} on {store.name}" + (f", preset {preset}" if preset else ""), markup=False)
    for key, value in dotted(experiment.model_dump(mode="json")).items():
        out.print(f"{key} = {value}", markup=False)
    out.print("# parameters")
    for group in build_optimizer(model, experiment).param_groups:
        shape = f", input {tuple(transforms[group['name']].shape)}" if group["name"] in transforms else ""
        out.print(
            f"{group['name']}: {sum(p.numel() for p in group['params']):,} at lr {group['base_lr']:g}{shape}",
            markup=False,
        )
    out.print("# data")
    out.print(", ".join(f"{count:,} {split}" for split, count in clips.items()) + " clips")
    from inforeg_cli.data.batches import steps_per_epoch

    out.print(f"{steps_per_epoch(clips['train'], experiment.batch_size)} steps an epoch, {experiment.epochs} epochs")
    out.print(f"# would be written to {folder}", markup=False)


def _print_outcome(outcome: "Outcome", experiment: "Experiment") -> None:
    result, path = outcome.result, outcome.folder.path
    if not outcome.trained:
        out.print(f"{path.name} is finished already; --force trains it again", markup=False)
    for line in result_lines(result):
        out.print(line, markup=False)
    out.print(f"run folder      {path}", markup=False)
    elsewhere = [] if path.parent == paths.runs() else ["--runs", str(path.parent)]
    compare = shlex.join(["inforeg", "compare", "runs", "--dataset", experiment.dataset, *elsewhere])
    out.print(f"compare         {compare}", markup=False)
    if outcome.ui_command:
        out.print(f"MLflow          {outcome.ui_command}", markup=False)


def result_lines(result: dict[str, Any]) -> list[str]:
    """What came out, as a person wants to read it."""
    test, val = result["test"], result["val"]

    def heads(kind: str) -> str:
        return ", ".join(f"{name} {scores['accuracy']:.1%}" for name, scores in test[kind].items())

    area = f", AUROC {test['auroc']:.2%}" if "auroc" in test else ""
    lines = [
        f"{result['label']}: test accuracy {test['accuracy']:.2%}, macro-F1 {test['macro_f1']:.2%}{area} "
        f"(epoch {result['best_epoch']}, the best on val with {val['accuracy']:.2%})",
        f"by modality     head: {heads('head')}" + (f"; own head: {heads('own_head')}" if test["own_head"] else ""),
    ]
    if on_test := result["test_if_chosen_on_test"]:
        lines.append(f"for the record  choosing the epoch on test would have printed {on_test['accuracy']:.2%}")
    if result["acted"] is not None:
        opened = "; ".join(f"{name} {ranges(epochs) or 'never'}" for name, epochs in result["open_epochs"].items())
        steps = ", ".join(f"{name} {count}" for name, count in result["regulated_steps"].items())
        lines.append(f"window open     {opened} (epochs)")
        lines.append(f"steps changed   {steps} of {result['steps']}")
        if not result["acted"]:
            lines.append(
                f"NOTE            the method never acted: these are its baseline's numbers, not {result['label']}'s"
            )
    return lines
