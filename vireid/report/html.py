"""HTML pieces of a report: escaped by default, tables with captions, safe to put beside each other."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, repr=False)
class Fragment:
    """Finished HTML; notebooks show it as it stands."""

    html: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.html)} characters>"

    def __str__(self) -> str:
        return self.html

    def __add__(self, other: Fragment) -> Fragment:
        return Fragment(f"{self.html}\n{other.html}")


Content = str | Fragment


def escape(content: Content) -> str:
    """HTML of a piece of text; fragments pass as they are."""
    return content.html if isinstance(content, Fragment) else html.escape(content)


def tag(name: str, *content: Content, **attributes: str | None) -> Fragment:
    """An element; attributes are escaped, ``class_`` is written ``class``, None leaves one out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Fragment(f"<{name}{given}>{''.join(map(escape, content))}</{name}>")


def join(pieces: Iterable[Content], separator: str = "\n") -> Fragment:
    """Pieces one after the other."""
    return Fragment(separator.join(map(escape, pieces)))


def paragraph(*content: Content, class_: str | None = None) -> Fragment:
    """A paragraph."""
    return tag("p", *content, class_=class_)


def bullets(items: Iterable[Content]) -> Fragment:
    """A list."""
    return tag("ul", *(tag("li", item) for item in items))


@dataclass(frozen=True)
class Column:
    """Heading of a column; numbers are set right, text left; a unit goes below the name in small print."""

    name: str
    unit: str = ""
    text: bool = False


@dataclass(frozen=True)
class Rows:
    """Rows below a heading of their own (empty for none)."""

    heading: str
    rows: Sequence[Sequence[Content]]


def table(columns: Sequence[Column], blocks: Sequence[Rows], caption: Content, files: Content = "") -> Fragment:
    """A captioned table that scrolls sideways where the page is narrower than it."""
    head = tag("tr", *map(_heading, columns))
    body: list[Fragment] = []
    for block in blocks:
        if block.heading:
            heading = tag("th", block.heading, colspan=str(len(columns)), scope="rowgroup")
            body.append(tag("tr", heading, class_="block"))
        for row in block.rows:
            entries = [
                tag("td", entry, class_="text" if column.text else None)
                for column, entry in zip(columns, row, strict=True)
            ]
            body.append(tag("tr", *entries))
    remarks: list[Content] = [" ", tag("span", files, class_="files")] if files else []
    inner = tag("table", tag("thead", head), tag("tbody", *body))
    note = tag("figcaption", caption, *remarks)
    return tag("figure", note, tag("div", inner, class_="scroll"), class_="table")


def _heading(column: Column) -> Fragment:
    unit: Content = tag("small", column.unit) if column.unit else ""
    return tag("th", column.name, unit, scope="col", class_="text" if column.text else None)


def link(target: str, text: str) -> Fragment:
    """A link to a file beside the page."""
    return tag("a", text, href=target)
