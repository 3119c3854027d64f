"""`inforeg bench`: what methods, preparing and reading cost, beside what each is measured against."""

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from inforeg_cli.commands import options
from inforeg_cli.commands.tabular import Table, print_table

if TYPE_CHECKING:
    import torch

    from inforeg_cli.benchmarks.turns import Figures


class Part(StrEnum):
    steps = "steps"
    whole = "whole"
    prepare = "prepare"
    reading = "reading"
    around = "around"
    all = "all"


class Encoder(StrEnum):
    cnn = "cnn"
    resnet18 = "resnet18"


def bench(
    part: Annotated[
        Part,
        typer.Option(
            help="steps: of every method; whole: trainings by g-blending, whose probes no step shows; prepare: from raw "
            "files to a store; reading: batches from it; around: evaluation, grids and tables beside a training."
        ),
    ] = Part.all,
    turns: Annotated[
        int | None,
        typer.Option(min=3, show_default="30 for steps, else 3", help="How often every row is timed, in turn."),
    ] = None,
    encoder: Annotated[
        list[Encoder] | None, typer.Option(show_default="cnn, resnet18", help="Of the models whose steps are timed.")
    ] = None,
    modalities: Annotated[
        list[int] | None, typer.Option(min=2, show_default="2, 3", help="How many the models have.")
    ] = None,
    clips: Annotated[int, typer.Option(min=16, help="To prepare, and to read from.")] = 400,
    device: options.Device = "auto",
    format: options.FormatOption = options.Format.rich,
) -> None:
    """Time what training and data cost: medians of many turns, all in one process.

    A turn times every row once; a row's ratio is its time over the yardstick's in the same turn. The half-width is half
    the interquartile range of "joint again", which is joint a second time: differences below it mean nothing here.

    Forwards and backwards are passes of a whole batch through all encoders, counted. Memory is the most that a training
    and a turn of it need at a time: on CUDA what the allocator hands out, elsewhere the sum over living tensors.
    """
    from inforeg_cli.engine import device as devices

    chosen = devices.choose(device)
    for figures in _measured(part, turns, [*(encoder or Encoder)], modalities or [2, 3], clips, chosen):
        print_table(Table(figures.title, figures.columns, figures.rows), format)


def _measured(
    part: Part, turns: int | None, encoders: list[str], modalities: list[int], clips: int, device: "torch.device"
) -> "Iterator[Figures]":
    """One table after the other, each when it is done."""
    parts = {*Part} if part == Part.all else {part}
    if Part.steps in parts:
        from inforeg_cli.benchmarks.steps import bench_steps

        for name in encoders:
            for count in modalities:
                yield bench_steps(name, count, turns or 30, device)
    if Part.whole in parts:
        from inforeg_cli.benchmarks.whole import bench_whole

        for count in modalities:
            yield bench_whole(count, turns or 3, device)
    if parts & {Part.prepare, Part.reading}:
        from inforeg_cli.benchmarks.data import bench_data

        yield from bench_data(parts, clips, turns or 3)
    if Part.around in parts:
        from inforeg_cli.benchmarks.around import bench_around

        yield bench_around(turns or 3, device)
