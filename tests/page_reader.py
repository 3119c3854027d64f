"""A report's page as a browser would take it apart: its elements, its text, and whatever it would fetch."""

from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

from PIL import Image

_EMPTY = {"meta", "img", "br"}
_ADDRESSES = {"src", "href", "srcset", "data", "poster", "action", "background", "cite", "xlink:href"}


class Page(HTMLParser):
    """Raises AssertionError for tags that do not nest, and for anything that would be fetched from elsewhere."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.tables: list[list[list[str]]] = []
        self.pictures: list[Image.Image] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"
        assert "http:" not in text and "https:" not in text and "//" not in "".join(self.texts["style"])
        assert "url(" not in text and "@import" not in text

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def everything(self) -> str:
        return " ".join(text for tag, texts in self.texts.items() if tag != "style" for text in texts)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        for name in _ADDRESSES & {*attributes}:
            assert attributes[name].startswith(("data:", "#")), f"{tag} {name}={attributes[name]}"
        assert not any(name.startswith("on") for name in attributes), f"{tag} runs a script"
        if tag == "img":
            kind, _, content = attributes["src"].partition(";base64,")
            assert kind == "data:image/png" and attributes["alt"]
            picture = Image.open(BytesIO(b64decode(content, validate=True)))
            picture.load()
            self.pictures.append(picture)
        if tag not in _EMPTY:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")
        elif tag == "br" and self._open[-1] in ("th", "td"):
            self.tables[-1][-1][-1] += "\n"

    def handle_endtag(self, tag):
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data):
        for tag in self._open:
            self.texts[tag][-1] += data
        if {"th", "td"} & {*self._open}:
            self.tables[-1][-1][-1] += data
