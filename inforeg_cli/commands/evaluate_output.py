"""What `inforeg evaluate` prints: a block of tables for people; every number, unrounded, for programs."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from inforeg_cli.commands.evaluate_tables import Evaluated, subset, tables_of
from inforeg_cli.commands.options import Format
from inforeg_cli.commands.tabular import as_text, print_table
from inforeg_cli.console import out
from inforeg_cli.naming import count
from inforeg_cli.settings import dotted


def show(evaluated: Sequence[Evaluated], format: Format) -> None:
    """Print it on standard output."""
    if format != Format.rich:
        out.out(text_of(evaluated, format), highlight=False)
        return
    for block in blocks(evaluated):
        for line in _heading(block):
            out.print(line, markup=False)
        for table in tables_of(block, out.width):
            out.print()
            print_table(table, format)
        out.print()
    out.print("What each number means: inforeg evaluate --help", style="dim")


def text_of(evaluated: Sequence[Evaluated], format: Format) -> str:
    """The same as text; what a terminal shows as grids is Markdown in a file."""
    if format == Format.json:
        records = [{**one.facts, "note": one.note, "classes": list(one.classes), **one.measures} for one in evaluated]
        return json.dumps(records, indent=2, ensure_ascii=False)
    if format == Format.csv:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["run", "dataset", "split", "checkpoint", "measure", "name", "value"])
        for one in evaluated:
            of = [one.facts[key] for key in ("run", "dataset", "split", "checkpoint")]
            writer.writerows([*of, measure, name, value] for measure, name, value in _flat(one))
        return text.getvalue().rstrip("\n")
    parts = []
    for block in blocks(evaluated):
        parts += [line + "\n" for line in _heading(block)]
        parts += [as_text(table, Format.markdown) for table in tables_of(block)]
    return "\n".join(parts)


def blocks(evaluated: Sequence[Evaluated]) -> list[list[Evaluated]]:
    """Runs that were asked about the same clips, which alone can stand side by side."""
    found: dict[str, list[Evaluated]] = {}
    for one in evaluated:
        found.setdefault(one.facts["data"], []).append(one)
    return list(found.values())


def _heading(block: Sequence[Evaluated]) -> list[str]:
    facts = block[0].facts
    where = (
        f"{facts['dataset']}: {facts['split']} split, {count(facts['clips'], 'clip')}, {facts['checkpoint']} checkpoint"
    )
    names = [f"{one.title}: {one.facts['run']}" for one in block if one.title != one.facts["run"]]
    return [where, *names, *dict.fromkeys(f"NOTE {one.note}" for one in block if one.note)]


def _flat(one: Evaluated) -> list[tuple[str, str, Any]]:
    """Every number as (measure, dotted name, value); epochs and strengths with spaces between them."""
    rows = []
    for measure, found in one.measures.items():
        if measure == "missing":
            found = {subset(row["present"]): {k: v for k, v in row.items() if k != "present"} for row in found}
        if measure == "accuracy":
            cells = [dict(zip(one.classes, row, strict=True)) for row in found["confusion"]]
            found = {**found, "confusion": dict(zip(one.classes, cells, strict=True))}
        for name, value in dotted(found).items():
            if isinstance(value, list):
                value = " ".join("none" if part is None else str(part) for part in value)
            rows.append((measure, name, value))
    return rows
