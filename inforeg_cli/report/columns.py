"""What a reader sees of a comparison: its columns as text, in percent, each table's footer, and the legend of all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inforeg_cli.naming import ranges

if TYPE_CHECKING:
    from inforeg_cli.report.statistics import Difference, Summary
    from inforeg_cli.report.tables import Acted, Row, Table, Versus

MISSING = "–"


@dataclass(frozen=True)
class Column:
    """One column of a printed table; `block` names the columns that belong together where a table must be split.

    marks: of each cell whether it is the ``best`` of the column, or the ``second``; empty where none is marked.
    """

    block: str
    header: str
    cells: tuple[str, ...]
    marks: tuple[str | None, ...] = ()

    @property
    def numeric(self) -> bool:
        return not self.header.startswith("difference") and self.block not in ("name", "acted")


def columns(table: "Table", decimals: int) -> list[Column]:
    """The table's columns, the rows' names first; those that would hold nothing but dashes are left out."""

    def column(block: str, header: str, cell: "Callable[[Row], str]") -> Column:
        return Column(block, header, tuple(cell(row) for row in table.rows))

    modalities = table.modalities
    found = [
        column("name", "method", lambda row: row.name),
        column("scores", "n", lambda row: str(len(row.runs))),
        column("scores", "accuracy", lambda row: percent(row.accuracy, decimals)),
        column("scores", "macro-F1", lambda row: percent(row.macro_f1, decimals)),
        column("scores", "AUROC", lambda row: percent(row.auroc, decimals)),
        *(column("head", f"head\n{m}", lambda row, m=m: percent(row.head.get(m), decimals)) for m in modalities),
        *(
            column("own head", f"own head\n{m}", lambda row, m=m: percent(row.own_head.get(m), decimals))
            for m in modalities
        ),
        *(
            column(
                "measured",
                one.header,
                lambda row, key=key, unit=one.unit: measure(row.measured.get(key), unit, decimals),
            )
            for key, one in table.measures.items()
        ),
        column("difference", "difference", lambda row: difference(row.versus, decimals)),
        column("difference", "over seeds", lambda row: interval(row.versus and row.versus.over_seeds, decimals)),
        column("difference", "over clips", lambda row: interval(row.versus and row.versus.over_clips, decimals)),
        column("acted", "open epochs /\nregulated steps", lambda row: deeds(row.acted)),
    ]
    return [column for column in found if {*column.cells} != {MISSING}]


def footer(table: "Table") -> str:
    """What these numbers are of, in one line: split, epoch rule, split scheme, sizes, presets, seeds."""
    chosen = " or ".join("best on val" if rule == "val" else rule for rule in table.epoch_rules)
    parts = [
        f"{table.split} split",
        f"epoch: {chosen}" + (f" of {table.protocol['epochs']}" if "epochs" in table.protocol else ""),
        f"split scheme: {table.scheme or MISSING}",
        "clips: " + (", ".join(f"{count} {split}" for split, count in table.counts.items()) or MISSING),
        f"presets: {', '.join(table.presets)}" if table.presets else "no preset",
        f"seeds: {ranges(table.seeds)}",
    ]
    return "; ".join(parts)


def legend(tables: "Sequence[Table]") -> list[str]:
    """How to read the columns that these tables have."""
    rows = [row for table in tables for row in table.rows]
    scores = ["In percent: mean ± standard deviation over n seeds."]
    if any(row.auroc for row in rows):
        scores.append("AUROC: the area under the ROC curve of the second class.")
    if any(row.head for row in rows):
        scores.append("head: the fused head with the other features absent.")
    if any(row.own_head for row in rows):
        scores.append("own head: the modality's own trained head.")
    lines = [" ".join(scores)]
    measures = {one.header.partition("\n")[0]: one for table in tables for one in table.measures.values()}
    lines += [f"{name}: {one.definition}." for name, one in measures.items()]
    if any(row.versus for row in rows):
        lines.append(
            "Differences in percentage points, paired by seed; 95 % intervals over seeds (paired t) and over clips "
            "(paired bootstrap, seeds averaged) from three seeds on. *: both exclude zero after Holm over the table."
        )
    return lines


def percent(summary: "Summary | None", decimals: int) -> str:
    """Mean and spread, e.g. ``71.3 ± 0.8``."""
    if summary is None:
        return MISSING
    spread = "" if summary.std is None else f" ± {100 * summary.std:.{decimals}f}"
    return f"{100 * summary.mean:.{decimals}f}{spread}"


def measure(summary: "Summary | None", unit: str, decimals: int) -> str:
    """Mean and spread in percent, or else as they are, with three digits after the point."""
    if summary is None or unit == "%":
        return percent(summary, decimals)
    spread = "" if summary.std is None else f" ± {summary.std:.3f}"
    return f"{summary.mean:.3f}{spread}"


def points(fraction: float, decimals: int) -> str:
    """Percentage points with their sign."""
    return f"{round(100 * fraction, decimals) + 0.0:+.{decimals}f}"  # + 0.0: no negative zero


def interval(found: "Difference | None", decimals: int) -> str:
    return f"[{points(found.low, decimals)}, {points(found.high, decimals)}]" if found else MISSING


def difference(versus: "Versus | None", decimals: int) -> str:
    """E.g. ``+2.4* to joint``, the star where it is significant."""
    if versus is None:
        return MISSING
    mark = "*" if versus.significant else " "
    return f"{points(versus.mean, decimals):>{decimals + 4}}{mark} to {versus.baseline}"


def deeds(acted: "Acted | None") -> str:
    """How many epochs were open and steps regulated, by modality."""
    if acted is None:
        return MISSING
    counts = [(name, epochs, acted.regulated_steps[name]) for name, epochs in acted.open_epochs.items()]
    lines = [f"{name} {_count(epochs)} / {_count(steps)}" for name, epochs, steps in counts if epochs or steps]
    return "\n".join(lines) or "none"


def _count(mean: float) -> str:
    return f"{mean:.1f}".removesuffix(".0")
