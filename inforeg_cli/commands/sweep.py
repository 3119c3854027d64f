"""`inforeg sweep`: a grid of experiments, each trained once, by as many processes or machines as there are."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inforeg_cli import console, paths
from inforeg_cli.commands import options, sweep_output, sweep_search
from inforeg_cli.commands.sweep_crew import Engines, crew_of
from inforeg_cli.errors import Misuse

if TYPE_CHECKING:
    from inforeg_cli.data.store import Store
    from inforeg_cli.sweep.cells import Cell

_WHAT, _HOW, _WHO, _WHERE = "What is swept", "How it is trained", "Who trains it", "Where, and what happens"


def sweep(
    axis: Annotated[
        list[str] | None,
        typer.Argument(metavar="AXIS", show_default=False, help="A setting and its values, as above."),
    ] = None,
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
            show_default="inforeg where an axis is a setting of it or of its window, else joint",
            help="That of all cells, unless `method` is an axis; takes presets/<dataset>/<method>.toml where there is one.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(
            show_default=False,
            help="A study such as paper/table2 or paper/figure7, or FILE.toml; or an experiment, dataset/name. Several "
            "share the cells that are the same. Axes multiply each.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            show_default="a study's own, else the preset's, else 0",
            help="0-4 or 0,1,2: an axis that --zip leaves alone.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    paired: Annotated[
        bool,
        typer.Option("--zip", help="Pair the axes' values, first with first, and so on.", rich_help_panel=_WHAT),
    ] = False,
    search: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default=False,
            help="Tune each method of the axis `method` fairly: N trials each from presets/search.toml, chosen on val, "
            "winners trained again with --seeds (0,1,2).",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            show_default=False,
            help="A setting of every cell, over the presets'; `inforeg train --dry-run` lists them.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(show_default="the presets', else 50", help="Passes over the train split.", rich_help_panel=_HOW),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            show_default="1, or one a device",
            help="Cells at once. On this machine they share out its cores.",
            rich_help_panel=_WHO,
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            show_default="auto",
            help="cpu, or e.g. cuda:0,cuda:1 to use them all; --engine ray: one kind, cpu or cuda.",
            rich_help_panel=_WHO,
        ),
    ] = None,
    per_device: Annotated[int, typer.Option(help="Cells at once on each device.", rich_help_panel=_WHO)] = 1,
    engine: Annotated[
        Engines,
        typer.Option(help="local: processes on this machine; ray: a cluster of machines.", rich_help_panel=_WHO),
    ] = Engines.local,
    address: Annotated[
        str | None,
        typer.Option(show_default="a cluster on this machine", help="The Ray cluster's.", rich_help_panel=_WHO),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            show_default=False,
            help="Only part I of N, counted from 1, e.g. 1/4: for the arrays of batch systems.",
            rich_help_panel=_WHO,
        ),
    ] = None,
    root: options.Root = None,
    runs: options.Runs = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try cells again that failed before.", rich_help_panel=_WHERE)
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the cells, which of them exist already, and about how long the rest takes; touch nothing.",
            rich_help_panel=_WHERE,
        ),
    ] = False,
    format: Annotated[
        options.Format, typer.Option(help="How --dry-run prints the cells.", rich_help_panel=_WHERE)
    ] = options.Format.rich,
) -> None:
    """Train every combination of the axes' values once, and go on where an earlier call of the same was stopped.

    Cells that are done are never trained again, whatever sweep or `inforeg train` they came from; interrupted ones go
    on. The command may be killed and called again at any time, twice at once, or on several machines that share --runs.

    \b
    inforeg sweep beta K                      the paper's grids, six values each
    inforeg sweep method --seeds 0-4          every method, five seeds each
    inforeg sweep method window=whole,prime   axes multiply
    inforeg sweep lr=.01,.03 batch_size=64    short names are those of train
    inforeg sweep method.alpha=0:1:0.25 --method ogm     0, 0.25, 0.5, 0.75, 1
    inforeg sweep lr=0.01:1:x3                0.01, 0.1, 1: the same ratio apart
    inforeg sweep beta=.5,.9 K=.02,.04 --zip  .5 with .02, and .9 with .04
    inforeg sweep --preset paper/table2       what a table of the paper needs
    inforeg sweep method --search 16          16 trials a method, chosen on val

    An axis is any setting of an experiment by its path, e.g. optimizer.momentum=0,.9, or by a short name: beta, K, method,
    fusion, window and seed, which have values of their own, lr, epochs, batch_size, unimodal_losses and modalities
    (modalities=sound,image,sound+image). A setting that a cell's method has not is left out of it, and combinations that
    are one experiment are one cell: joint has neither beta nor a window.
    """
    if not axis and not preset and seeds is None:
        raise Misuse("nothing to sweep: name an axis (inforeg sweep beta), a --preset (paper/table2) or --seeds")
    from inforeg_cli.sweep import axes

    parsed = [axes.parse(argument) for argument in axis or []]
    seed_axis = None if seeds is None else axes.of_seeds(seeds)
    assigned = _assigned(settings or [], epochs)
    crew = crew_of(engine, jobs, devices, per_device, address)
    store = _store(dataset, preset or [], temporary=dry_run)
    folder = paths.runs(runs)
    as_printed = not assigned and all(one.key == "seed" for one in parsed)  # else no table knows them for its rows
    command = sweep_output.Command(dataset or store.name, (preset or []) if as_printed else [], runs)
    if search is not None:
        if preset or paired:
            raise Misuse("--search takes the axis method and nothing else to multiply: leave out --preset and --zip")
        planned = sweep_search.planned_search(parsed, method, seed_axis, search, store, folder, assigned)
        if dry_run:
            sweep_search.print_search(planned, shard, crew, retry, format)
        elif not sweep_search.run_search(planned, shard, crew, retry, command):
            raise typer.Exit(1)
        return
    from inforeg_cli.sweep import grid

    made = grid.grid(
        store, folder, parsed, seeds=seed_axis, paired=paired, presets=preset or [], method=method, assigned=assigned
    )
    cells = grid.shard(made.cells, shard)
    if dry_run:
        sweep_output.print_plan(cells, made.merged, store, folder, crew, retry, format)
        return
    from inforeg_cli.sweep.run import run_sweep
    from inforeg_cli.sweep.view import view_for

    if made.merged:
        console.err.print(sweep_output.merged_line(made.merged), markup=False)
    what = [Path(name).stem for name in preset or []] + [one.name for one in parsed] or ["seeds"]
    summary = run_sweep(
        cells,
        store,
        folder,
        engine=crew.engine,
        retry=retry,
        sweep=_name(store, what, made.cells),
        view=view_for(console.out),
    )
    sweep_output.print_summary(summary, command)
    if summary.failed:
        raise typer.Exit(1)


def _assigned(settings: list[str], epochs: int | None) -> dict[str, Any]:
    """--set, and --epochs over it."""
    from inforeg_cli import presets

    assigned = presets.from_assignments(settings)
    if "dataset" in assigned:
        raise Misuse("the dataset is chosen with --dataset, not with --set")
    return assigned if epochs is None else assigned | {"epochs": epochs}


def _store(dataset: str | None, presets_given: Sequence[str], temporary: bool) -> "Store":
    from inforeg_cli import presets, studies
    from inforeg_cli.data import catalogue

    if dataset is None:
        experiments = [presets.load(name) for name in presets_given if not studies.is_study(name)]
        named = {settings["dataset"] for settings in experiments if "dataset" in settings}
        if len(named) > 1:
            raise Misuse(
                f"a sweep has one dataset, but the presets are for {' and '.join(sorted(named))}: give --dataset"
            )
        dataset = named.pop() if named else None
    if dataset is None:
        dataset = catalogue.default_dataset()
        console.err.print(f"no --dataset given: sweeping on {dataset}", markup=False)
    return catalogue.open_store(dataset, temporary=temporary)


def _name(store: "Store", what: Sequence[str], cells: "Sequence[Cell]") -> str:
    """The sweep's in MLflow: the same for all shards, and whenever it is called again."""
    from inforeg_cli.files import digest

    return f"{store.name}-{'-'.join(what)}-{digest(*(cell.id for cell in cells))[:8]}"
