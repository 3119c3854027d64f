"""`inforeg methods`: what each method does, what it costs, and where its numbers come from."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from inforeg_cli.commands import options
from inforeg_cli.commands.tabular import Table, print_json, print_table
from inforeg_cli.console import out

if TYPE_CHECKING:
    from inforeg_cli.descriptions import Description


def methods(
    name: Annotated[str | None, typer.Argument(show_default="all", help="Everything about this one.")] = None,
    format: options.FormatOption = options.Format.rich,
) -> None:
    """List the methods: what each changes, what it is compared with, its options and its cost. With a name: all of it.

    Forwards and backwards are passes through all encoders with a whole batch.
    """
    from inforeg_cli.descriptions import describe, descriptions

    if name is not None:
        _print_page(describe(name), format)
        return
    found = descriptions()
    if format == options.Format.json:
        print_json([asdict(one) for one in found])
        return
    columns = ("method", "changes", "group", "baseline", "options", "a step and a training cost")
    rows = [
        (
            one.name,
            one.changes,
            one.group,
            one.baseline,
            ", ".join(f"{o.name}={o.default}" for o in one.options),
            one.cost,
        )
        for one in found
    ]
    print_table(Table("Methods; inforeg methods NAME shows one whole", columns, rows), format)


def _print_page(one: "Description", format: options.Format) -> None:
    """For people, under headings; as JSON everything; as CSV the options."""
    columns = ("option", "type", "default", "meaning", "where the default comes from")
    table = Table(f"Options of {one.name}", columns, [tuple(asdict(option).values()) for option in one.options])
    if format in (options.Format.json, options.Format.csv):
        print_json(asdict(one)) if format == options.Format.json else print_table(table, format)
        return
    facts = {
        "paper": one.paper,
        "changes": one.changes,
        "group": one.group,
        "baseline": one.baseline,
        "cost": one.cost,
        "window": one.window,
        "requires": ", ".join(one.requires),
        "presets": ", ".join(one.presets),
    }
    _print(f"# {one.name}", one.title, format=format)
    for key, value in facts.items():
        if value:
            _print(f"- {key}: {value}", format=format, apart=False)
    _print("## What it does", *one.summary, format=format)
    if one.deviations:
        _print("## Deviations from paper and code", one.deviations, format=format)
    if one.equations:
        _print("## Equations", *(f"{name}: {text}" for name, text in one.equations.items()), format=format)
    if one.options:
        out.print()
        print_table(table, format)
    _print("## Example", f"    {one.example}", format=format)


def _print(*paragraphs: str, format: options.Format, apart: bool = True) -> None:
    """Markdown as it is; on a terminal headings are bold in place of their hashes, and words are not broken."""
    for text in paragraphs:
        terminal = format == options.Format.rich
        heading = text.startswith("#") and terminal
        if apart and not text.startswith("# "):
            out.print()
        out.print(
            text.lstrip("# ") if heading else text,
            markup=False,
            style="bold" if heading else None,
            soft_wrap=not terminal or text.startswith("    "),
        )
