"""One HTML page that holds everything it shows: it opens offline, on a phone, in print, and asks nothing of any server."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path

from inforeg_cli.files import write_text
from inforeg_cli.naming import count
from inforeg_cli.report.columns import Column
from inforeg_cli.report.page_style import STYLE
from inforeg_cli.report.rendering import Sheet

#: No browser may fetch anything for the page, whatever stands in it.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Picture:
    """A PNG. text: what it shows, for people who cannot see it; the caption says more."""

    text: str
    caption: str
    png: bytes


@dataclass(frozen=True)
class Setup:
    """How a group of runs was made. command: what makes it again. facts: seeds, device, versions and the like.

    reference: the name of what it is told by; None for what others are told by. differing: the settings in which it
    differs from that, as (setting, value, the reference's value). same: the rest of its settings.
    """

    title: str
    command: str
    facts: Sequence[tuple[str, str]]
    reference: str | None
    differing: Sequence[tuple[str, str, str]]
    same: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    """A heading, and below it facts, tables, pictures, what few people look for folded up, and lines, in this order.

    part: of the section before it.
    """

    title: str
    facts: Sequence[tuple[str, str]] = ()
    sheets: Sequence[Sheet] = ()
    pictures: Sequence[Picture] = ()
    folded: Sequence[Sheet | Setup] = ()
    lines: Sequence[str] = ()
    part: bool = False

    @property
    def content(self) -> bool:
        return bool(self.facts or self.sheets or self.pictures or self.folded)


def write(path: Path, title: str, sections: Sequence[Section]) -> None:
    write_text(path, html(title, sections))


def html(title: str, sections: Sequence[Section]) -> str:
    """The page. Every text is escaped: none of them is read as markup."""
    places = [(f"part-{number}", section) for number, section in enumerate(sections, 1)]
    links = " ".join(f'<a href="#{place}">{escape(section.title)}</a>' for place, section in places if not section.part)
    body = "\n".join(line for place, section in places for line in _section(place, section))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<nav>{links}</nav>
<main>
{body}
</main>
</body>
</html>
"""


def _section(place: str, section: Section) -> Iterator[str]:
    yield f'<section id="{place}">'
    heading = "h3" if section.part else "h2"
    yield f"<{heading}>{escape(section.title)}</{heading}>"
    yield from _facts(section.facts)
    for sheet in section.sheets:
        yield from _sheet(sheet, caption=True)
    for picture in section.pictures:
        yield from _picture(picture)
    for one in section.folded:
        yield from _folded(one.title, _setup(one) if isinstance(one, Setup) else _sheet(one))
    yield from _lines(section.lines)
    yield "</section>"


def _lines(lines: Sequence[str]) -> Iterator[str]:
    yield from (f'<p class="note">{escape(line)}</p>' for line in lines)


def _facts(facts: Sequence[tuple[str, str]]) -> Iterator[str]:
    if facts:
        yield "<dl>"
        yield from (f"<dt>{escape(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts)
        yield "</dl>"


def _sheet(sheet: Sheet, caption: bool = False) -> Iterator[str]:
    for columns in sheet.grids:
        yield '<div class="wide"><table>'
        if caption:
            yield f"<caption>{escape(sheet.title)}</caption>"
            caption = False
        yield from _grid(columns)
        yield "</table></div>"
    yield from _lines(sheet.lines)


def _grid(columns: Sequence[Column]) -> Iterator[str]:
    header = (f'<th scope="col"{_class(column)}>{_text(column.header)}</th>' for column in columns)
    yield f"<thead><tr>{''.join(header)}</tr></thead>"
    yield "<tbody>"
    for index in range(len(columns[0].cells)):
        name, *cells = (_cell(column, index) for column in columns)
        values = (f"<td{_class(column)}>{cell}</td>" for cell, column in zip(cells, columns[1:], strict=True))
        yield f'<tr><th scope="row">{name}</th>{"".join(values)}</tr>'
    yield "</tbody>"


def _cell(column: Column, index: int) -> str:
    """The best of a column is bold, the second underlined."""
    text, mark = _text(column.cells[index]), column.marks[index] if column.marks else None
    tag = {"best": "b", "second": "u"}.get(mark or "")
    if tag is None:
        return text
    first, *rest = text.split("<br>")
    return "<br>".join([f"<{tag}>{first}</{tag}>", *rest])


def _picture(picture: Picture) -> Iterator[str]:
    yield "<figure>"
    yield f'<img src="data:image/png;base64,{b64encode(picture.png).decode()}" alt="{escape(picture.text)}">'
    yield f"<figcaption>{escape(picture.caption)}</figcaption>"
    yield "</figure>"


def _setup(setup: Setup) -> Iterator[str]:
    yield f"<pre>{escape(setup.command)}</pre>"
    yield from _facts(setup.facts)
    if setup.reference is None:
        yield from _settings(("setting", "value"), setup.same)
        return
    yield from _settings(("setting", "here", setup.reference), setup.differing)
    shared = f"The {count(len(setup.same), 'setting')} that it shares with {setup.reference}"
    yield from _folded(shared, _settings(("setting", "value"), setup.same))


def _settings(headers: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    cells = zip(*rows, strict=True) if rows else ((),) * len(headers)
    yield from _sheet(Sheet("", (tuple(map(partial(Column, "name"), headers, cells)),), ()))


def _folded(title: str, content: Iterator[str]) -> Iterator[str]:
    yield f"<details><summary>{escape(title)}</summary>"
    yield from content
    yield "</details>"


def _text(text: str) -> str:
    return "<br>".join(map(escape, text.strip().split("\n")))


def _class(column: Column) -> str:
    return ' class="number"' if column.numeric else ""
