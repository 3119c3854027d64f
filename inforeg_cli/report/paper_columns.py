"""What a reader sees of the paper's tables: columns as text, in percent, what to run for a missing row, and the protocol."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from inforeg_cli.naming import ranges
from inforeg_cli.report.columns import MISSING, Column, deeds, difference, interval, percent, points
from inforeg_cli.report.epochs import RULES
from inforeg_cli.report.rendering import Report, Sheet

if TYPE_CHECKING:
    from inforeg_cli.report.paper_tables import Row, Score, Table

_HEADERS = {"accuracy": "accuracy", "macro_f1": "macro-F1", "auroc": "AUROC"}
#: What would run what is missing of a table.
Command = Callable[["Table"], str | None]
#: What the paper's data were, where that is known and ours are others (see each dataset's README).
_DATA = {
    "crema-d": "it trained on 6,698 clips and had no val, which is carved from them here",
    "kinetics-sounds": "its lists of clips were not released, and had no val, which is carved from train here",
}


def report_of(tables: "Sequence[Table]", command: Command | None = None) -> Report:
    """The tables as they are shown. command: see `sweep_command`."""
    run = command or sweep_command

    def sheets(decimals: int) -> list[Sheet]:
        return [_sheet(table, decimals, run(table)) for table in tables]

    return Report(sheets, _legend(tables), lambda: [_record(table, run(table)) for table in tables])


def sweep_command(table: "Table", dataset: str | None = None, options: Sequence[str] = ()) -> str | None:
    """The one command that runs what is missing of the table; None where nothing is.

    dataset: how to ask for the data, where that is not their name. options: of the sweep, e.g. ``--runs DIR``.
    """
    if not table.missing:
        return None
    words = ["inforeg", "sweep", "--preset", table.study, "--dataset", dataset or table.dataset]
    if all(row.runs for row in table.rows):  # all rows are there, but not with all seeds
        seeds = {seed for some in table.missing.values() for seed in some}
        words += ["--seeds", ",".join(map(str, sorted(seeds)))]
    return shlex.join([*words, *options])


def _record(table: "Table", command: str | None) -> dict[str, Any]:
    def score(found: "Score") -> dict[str, Any]:
        return asdict(found) | {"gap": found.gap}

    rows = [
        {"name": row.name, **asdict(row), "scores": {measure: score(one) for measure, one in row.scores.items()}}
        for row in table.rows
    ]
    return asdict(table) | {"command": command, "rows": rows}


def _sheet(table: "Table", decimals: int, command: str | None) -> Sheet:
    laid_out = all(row.cell for row in table.rows)
    grids = [_laid_out(table, decimals)] if laid_out else []
    if table.started or not laid_out:
        grids.append(_columns(table, decimals, scores=not laid_out))
    lines = [_footer(table), _beside_the_paper(table), *_kinds(table), *table.notes, *_missing(table, command)]
    return Sheet(f"{table.title} ({table.dataset})", tuple(grids), tuple(lines))


def _columns(table: "Table", decimals: int, scores: bool) -> list[Column]:
    """One line a row of the study; without `scores`, what stands beside them only."""

    def column(block: str, header: str, cell: "Callable[[Row], str]", marks: tuple[str | None, ...] = ()) -> Column:
        return Column(block, header, tuple(cell(row) for row in table.rows), marks)

    def of(measure: str, cell: "Callable[[Score], str]") -> "Callable[[Row], str]":
        return lambda row: cell(row.scores[measure])

    kept = [column("name", "method", lambda row: row.name), column("scores", "n", lambda row: str(row.n))]
    for measure in table.measures if scores else ():
        block = "scores" if measure in _HEADERS else measure
        marks = _marks([row.scores[measure] for row in table.rows])
        optional = [
            column(block, "paper", of(measure, _printed)),
            column(block, "gap", of(measure, lambda s: MISSING if s.gap is None else points(s.gap, decimals))),
        ]
        kept.append(column(block, _header(table, measure), of(measure, lambda s: percent(s.measured, decimals)), marks))
        kept += _filled(optional)
    compared = [measure for measure in table.measures if any(row.scores[measure].versus for row in table.rows)]
    for measure in compared:
        block, suffix = f"difference {measure}", f"\n{_HEADERS.get(measure, measure)}" if len(compared) > 1 else ""
        texts = {
            "difference": lambda s: difference(s.versus, decimals),
            "over seeds": lambda s: interval(s.versus and s.versus.over_seeds, decimals),
            "over clips": lambda s: interval(s.versus and s.versus.over_clips, decimals),
        }
        kept += _filled([column(block, header + suffix, of(measure, text)) for header, text in texts.items()])
    return kept + _filled([column("acted", "open epochs /\nregulated steps", lambda row: deeds(row.acted))])


def _laid_out(table: "Table", decimals: int) -> list[Column]:
    """Lines and columns as in the paper; under each score, the printed one and the gap to it."""
    by_cell = {row.cell: row for row in table.rows}
    lines = tuple(dict.fromkeys(line for line, _ in by_cell))
    found = [Column("name", "method", lines)]
    for column in dict.fromkeys(column for _, column in by_cell):
        for measure in table.measures:
            scores = [by_cell[line, column].scores[measure] if (line, column) in by_cell else None for line in lines]
            header = column if len(table.measures) == 1 else f"{column}\n{_HEADERS.get(measure, measure)}"
            cells = tuple(MISSING if score is None else _with_printed(score, decimals) for score in scores)
            found.append(Column(column, header, cells, _marks(scores)))
    return found


def _with_printed(score: "Score", decimals: int) -> str:
    measured = percent(score.measured, decimals)
    if score.printed is None:
        return measured
    gap = "" if score.gap is None else f" ({points(score.gap, decimals)})"
    return f"{measured}\npaper {_printed(score)}{gap}"


def _printed(score: "Score") -> str:
    """With both of the decimals that the paper prints."""
    return MISSING if score.printed is None else f"{100 * score.printed:.2f}"


def _header(table: "Table", measure: str) -> str:
    if measure in _HEADERS:
        return _HEADERS[measure]
    kinds = {row.scores[measure].output for row in table.rows if row.scores[measure].output}
    return f"{kinds.pop().replace('_', ' ')}\n{measure}" if len(kinds) == 1 else f"alone\n{measure}"


def _marks(scores: "Sequence[Score | None]") -> tuple[str | None, ...]:
    """Of a column; nothing where none is marked."""
    marks = tuple(score and score.mark for score in scores)
    return marks if any(marks) else ()


def _filled(columns: Sequence[Column]) -> list[Column]:
    return [column for column in columns if {*column.cells} != {MISSING}]


def _footer(table: "Table") -> str:
    """What these numbers are of, in one line."""
    epochs = sorted({row.epochs for row in table.rows if row.epochs})
    parts = [
        f"{table.split} split",
        "epoch" + (f" (of {' or '.join(map(str, epochs))})" if epochs else "") + f": {RULES[table.epoch_rule].text}",
        f"split scheme: {table.scheme or MISSING}",
        "clips: " + (", ".join(f"{count} {split}" for split, count in table.counts.items()) or MISSING),
        f"seeds: {ranges(table.seeds) or MISSING}",
        f"preset: {table.study}" + (f", of {', '.join(table.presets)}" if table.presets else ""),
    ]
    return "; ".join(parts)


def _beside_the_paper(table: "Table") -> str:
    """Where our protocol differs from the paper's."""
    if not table.in_paper:
        return f"the paper's table has no numbers for {table.dataset}"
    chosen = {
        "val": "its released code chose the best epoch on test, and here val chooses",
        "last": "its released code chose the best epoch on test, and here the last one counts",
        "test": "none in the epoch, which its released code chose on test, too; such a choice flatters every row",
    }[table.epoch_rule]
    parts = [chosen, _DATA.get(table.dataset), "it says neither how many seeds its numbers are of nor their spread"]
    return f"differences to the paper's protocol: {'; '.join(part for part in parts if part)}"


def _kinds(table: "Table") -> list[str]:
    """Whose the single modalities' scores are, where there are any."""
    kinds: dict[str, list[str]] = {}
    for row in table.rows:
        for output in {score.output for score in row.scores.values()} - {None, "fused"}:
            kinds.setdefault(output, []).append(row.label)
    texts = {
        "head": "the fused head with the other features absent",
        "own_head": "the modality's own trained head, of rows with unimodal losses",
    }
    lines = []
    for kind, text in texts.items():
        if kind in kinds:
            rows = f" ({'; '.join(kinds[kind])})" if len(kinds) > 1 else ""
            lines.append(f"{kind.replace('_', ' ')}{rows}: {text}")
    return lines


def _missing(table: "Table", command: str | None) -> list[str]:
    if command is None:
        return []
    if not table.started:
        return [f"nothing of it has been run. Run it with: {command}"]
    seeds = {row.label: row.seeds for row in table.rows}
    absent = [
        name if not seeds[name] else f"{name} with seed{'s' if len(some) > 1 else ''} {ranges(some)}"
        for name, some in table.missing.items()
    ]
    return [f"not run: {'; '.join(absent)}. Run it with: {command}"]


def _legend(tables: "Sequence[Table]") -> list[str]:
    """How to read the columns that these tables have."""
    scores = [(row, score) for table in tables for row in table.rows for score in row.scores.values()]
    lines = ["In percent: mean ± standard deviation over n seeds. –: not run, or not there."]
    if any(score.printed is not None for _, score in scores):
        lines.append("paper: what the InfoReg paper printed. gap: measured less printed, in percentage points.")
    if any(row.ours for table in tables for row in table.rows):
        lines.append("(ours): a row that the paper does not print.")
    if any(score.versus for _, score in scores):
        lines.append(
            "Differences in percentage points, paired by seed, to the row named; 95 % intervals over seeds (paired t) and "
            "over clips (paired bootstrap, seeds averaged) from three seeds on. *: both exclude zero after Holm over the table."
        )
    if any(score.measured for _, score in scores):
        lines.append(
            "1st, bold: the best of its column, where both intervals of its difference to every other row exclude zero. "
            "2nd, underlined: likewise the second, against all rows below it. Rows that cannot be told apart have no mark."
        )
    return lines
