"""The page of a report: it holds all it shows, asks for nothing, and reads no text of the user's as markup."""

from io import BytesIO

import pytest
from page_reader import Page
from PIL import Image

from inforeg_cli.report.columns import Column
from inforeg_cli.report.page import Picture, Section, Setup, html, write
from inforeg_cli.report.rendering import Sheet

NASTY = """<script src="http://example.org">alert('x')</script> & "quoted" <img onerror=x>"""


def png(width: int = 3) -> bytes:
    with BytesIO() as buffer:
        Image.new("RGB", (width, 2), "red").save(buffer, "png")
        return buffer.getvalue()


def sheet(title: str = "Table 2", name: str = "joint") -> Sheet:
    columns = (
        Column("name", "row", (name, "ogm", "agm")),
        Column("scores", "accuracy", ("71.0\npaper 66.61", "70.0", "69.0"), ("best", "second", None)),
        Column("difference", "difference", ("–", "-1.0", "-2.0")),
    )
    return Sheet(title, (columns,), ("test split",))


def setup(reference: str | None = "joint") -> Setup:
    return Setup(
        title="ogm · 3 seeds",
        command="inforeg sweep --seeds 0,1,2 --set 'inputs.a.b=\"<x>\"'",
        facts=[("seeds", "0–2"), ("device", "cpu\ncuda:0")],
        reference=reference,
        differing=[("method.alpha", "0.8", "–")],
        same=[("epochs", "40"), ("batch_size", "64")],
    )


def test_everything_that_is_given_is_there():
    page = Page(
        html(
            "Methods compared",
            [
                Section("What was run", facts=[("runs", "12")]),
                Section("Tables", sheets=[sheet(), sheet("Table 3")], lines=["In percent."]),
                Section("Figures", pictures=[Picture("Figure 1", "Figure 1 (train split)", png())]),
                Section("How", folded=[setup()], part=True),
            ],
        )
    )
    assert page.texts["title"] == page.texts["h1"] == ["Methods compared"]
    assert page.texts["h2"] == ["What was run", "Tables", "Figures"] and page.texts["h3"] == ["How"]
    assert page.texts["caption"] == ["Table 2", "Table 3"]
    assert page.tables[0] == [
        ["row", "accuracy", "difference"],
        ["joint", "71.0\npaper 66.61", "–"],
        ["ogm", "70.0", "-1.0"],
        ["agm", "69.0", "-2.0"],
    ]
    assert page.texts["p"] == ["test split", "test split", "In percent."]
    assert [picture.size for picture in page.pictures] == [(3, 2)]
    assert page.of("img")[0]["alt"] == "Figure 1" and page.texts["figcaption"] == ["Figure 1 (train split)"]
    assert page.texts["b"][0] == "71.0" and page.texts["u"][0] == "70.0"
    numeric = [attributes.get("class") for attributes in page.of("td")[:2]]
    assert numeric == ["number", None]


def test_links_lead_to_sections():
    page = Page(html("x", [Section("One", facts=[("a", "b")]), Section("Two"), Section("Part", part=True)]))
    targets = {attributes["id"] for attributes in page.of("section")}
    links = [attributes["href"] for attributes in page.of("a")]
    assert len(links) == 2 and {link.removeprefix("#") for link in links} < targets


def test_a_setup_says_first_how_it_differs():
    page = Page(html("x", [Section("How", folded=[setup()])]))
    assert page.texts["summary"] == ["ogm · 3 seeds", "The 2 settings that it shares with joint"]
    assert page.texts["pre"] == ["inforeg sweep --seeds 0,1,2 --set 'inputs.a.b=\"<x>\"'"]
    assert page.tables == [
        [["setting", "here", "joint"], ["method.alpha", "0.8", "–"]],
        [["setting", "value"], ["epochs", "40"], ["batch_size", "64"]],
    ]
    assert all("open" not in attributes for attributes in page.of("details"))


def test_the_reference_shows_all_its_settings():
    page = Page(html("x", [Section("How", folded=[setup(reference=None)])]))
    assert page.texts["summary"] == ["ogm · 3 seeds"]
    assert page.tables == [[["setting", "value"], ["epochs", "40"], ["batch_size", "64"]]]


def test_no_text_is_read_as_markup():
    nasty = Setup(NASTY, NASTY, [(NASTY, NASTY)], NASTY, [(NASTY,) * 3], [(NASTY,) * 2])
    text = html(
        NASTY,
        [
            Section(NASTY, facts=[(NASTY, NASTY)], sheets=[sheet(NASTY, NASTY)], lines=[NASTY]),
            Section(NASTY, pictures=[Picture(NASTY, NASTY, png())], folded=[nasty, sheet(NASTY)], part=True),
        ],
    ).replace("http:", "")  # the reader takes no address, not even one that is only text
    page, plain = Page(text), NASTY.replace("http:", "")
    assert not page.of("script") and len(page.of("img")) == 1
    assert page.of("img")[0]["alt"] == plain
    for tag in ("title", "h1", "h2", "h3", "dt", "dd", "caption", "figcaption", "pre"):
        assert page.texts[tag][0] == plain, tag
    assert plain in page.texts["summary"] and plain in page.texts["p"] and page.tables[0][1][0] == plain


def test_the_page_is_for_phones_paper_and_the_dark():
    text = html("x", [])
    page = Page(text)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.of("meta")
    assert any("default-src 'none'" in (attributes.get("content") or "") for attributes in page.of("meta"))
    style = page.texts["style"][0]
    assert style.count("{") == style.count("}")
    for medium in ("prefers-color-scheme: dark", "@media print", "max-width"):
        assert medium in style


@pytest.mark.parametrize(
    "damage", ["<b>", "</section>", '<img src="https://x.org/a.png" alt="a">', '<a href="x.html">']
)
def test_the_reader_of_these_tests_can_fail(damage):
    with pytest.raises(AssertionError):
        Page(html("x", []).replace("</main>", f"{damage}</main>"))


def test_it_is_written_whole(tmp_path):
    path = tmp_path / "new" / "report.html"
    write(path, "Title – ü", [])
    assert "Title – ü" in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
