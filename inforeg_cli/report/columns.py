"""What a reader sees of a comparison: its columns as text, in percent, each table's footer, and the legend of all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inforeg_cli.naming import ranges

if TYPE_CHECKING:
    from inforeg_cli.report.statistics import Difference, Summary
    from inforeg_cli.report.tables import Acted, Row, Table

MISSING = "–"


@dataclass(frozen=True)
class Column:
    """One column of a printed table; `block` names the columns that belong together where a table must be split."""

    block: str
    header: str
    cells: tuple[str, ...]

    @property
    def numeric(self) -> bool:
        return self.header != "difference" and self.block not in ("name", "acted")


def columns(table: "Table", decimals: int) -> list[Column]:
    """The table's columns, the rows' names first; those that would hold nothing but dashes are left out."""

    def column(block: str, header: str, cell: "Callable[[Row], str]") -> Column:
        return Column(block, header, tuple(cell(row) for row in table.rows))

    def percent(summary: "Summary | None") -> str:
        if summary is None:
            return MISSING
        spread = "" if summary.std is None else f" ± {100 * summary.std:.{decimals}f}"
        return f"{100 * summary.mean:.{decimals}f}{spread}"

    def points(fraction: float) -> str:
        return f"{round(100 * fraction, decimals) + 0.0:+.{decimals}f}"  # + 0.0: no negative zero

    def difference(row: "Row") -> str:
        if row.versus is None:
            return MISSING
        mark = "*" if row.versus.significant else " "
        return f"{points(row.versus.mean):>{decimals + 4}}{mark} to {row.versus.baseline}"

    def interval(found: "Difference | None") -> str:
        return f"[{points(found.low)}, {points(found.high)}]" if found else MISSING

    modalities = table.modalities
    found = [
        column("name", "method", lambda row: row.name),
        column("scores", "n", lambda row: str(len(row.runs))),
        column("scores", "accuracy", lambda row: percent(row.accuracy)),
        column("scores", "macro-F1", lambda row: percent(row.macro_f1)),
        column("scores", "AUROC", lambda row: percent(row.auroc)),
        *(column("head", f"head\n{m}", lambda row, m=m: percent(row.head.get(m))) for m in modalities),
        *(column("own head", f"own head\n{m}", lambda row, m=m: percent(row.own_head.get(m))) for m in modalities),
        column("difference", "difference", difference),
        column("difference", "over seeds", lambda row: interval(row.versus and row.versus.over_seeds)),
        column("difference", "over clips", lambda row: interval(row.versus and row.versus.over_clips)),
        column("acted", "open epochs /\nregulated steps", lambda row: _deeds(row.acted)),
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
    if any(row.versus for row in rows):
        lines.append(
            "Differences in percentage points, paired by seed; 95 % intervals over seeds (paired t) and over clips "
            "(paired bootstrap, seeds averaged) from three seeds on. *: both exclude zero after Holm over the table."
        )
    return lines


def _deeds(acted: "Acted | None") -> str:
    if acted is None:
        return MISSING
    counts = [(name, epochs, acted.regulated_steps[name]) for name, epochs in acted.open_epochs.items()]
    lines = [f"{name} {_count(epochs)} / {_count(steps)}" for name, epochs, steps in counts if epochs or steps]
    return "\n".join(lines) or "none"


def _count(mean: float) -> str:
    return f"{mean:.1f}".removesuffix(".0")
