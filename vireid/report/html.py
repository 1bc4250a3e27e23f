"""HTML of a report: escaped by default (markupsafe), tables with captions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vireid.core.messages import DASH


class Html(Markup):
    """Finished HTML, which notebooks show as it stands; what is joined, formatted or added to it is escaped."""

    def _repr_html_(self) -> str:
        return str(self)

    def __repr__(self) -> str:  # a notebook keeps this too
        return f"<{type(self).__name__} of {len(self)} characters>"


def tag(name: str, *content: str, **attributes: str | None) -> Html:
    """An element; attributes are escaped, ``class_`` is written ``class``, None leaves one out."""
    given = [
        Html(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value)
        for key, value in attributes.items()
        if value is not None
    ]
    return Html("<{0}{1}>{2}</{0}>").format(name, Html().join(given), Html().join(content))


def join(pieces: Iterable[str], separator: str = "\n") -> Html:
    """Pieces one after the other."""
    return Html(separator).join(pieces)


def paragraph(*content: str, class_: str | None = None) -> Html:
    """A paragraph."""
    return tag("p", *content, class_=class_)


def absent(*content: str) -> Html:
    """A paragraph in place of a section that has nothing to show."""
    return tag("p", *content, class_="absent")


def unfilled(missing: str, *commands: str) -> Html:
    """In place of a section that nothing was measured for: what is missing, and the commands that fill it."""
    pieces = [f"{missing}; "]
    for number, command in enumerate(commands):
        pieces += [", then " if number else "", tag("code", command)]
    return absent(*pieces, " fills this section.")


def bullets(items: Iterable[str]) -> Html:
    """A list."""
    return tag("ul", *(tag("li", item) for item in items))


def link(target: str, text: str) -> Html:
    """A link to a file beside the page."""
    return tag("a", text, href=target)


def links(copies: Iterable[str]) -> Html:
    """Links to copies in a row; those that are not kept are empty and left out."""
    return join((copy for copy in copies if copy), " · ")


def saved(before: str, *copies: str, after: str = ".") -> Html:
    """A sentence that ends with links to copies; nothing where none is kept."""
    return paragraph(before, links(copies), after, class_="method") if any(copies) else Html()


@dataclass(frozen=True)
class Column:
    """Heading of a column; numbers are set right, text left; a unit goes below the name in small print."""

    name: str
    unit: str = ""
    text: bool = False

    @property
    def align(self) -> str | None:
        """Style of its entries."""
        return "text" if self.text else None


Rows = Sequence[Sequence[str]]


def table(
    columns: Sequence[Column], blocks: Iterable[tuple[str, Rows]], caption: str, files: str = "", folded: str = ""
) -> Html:
    """A captioned table that scrolls sideways where the page is narrower than it.

    Args:
        columns: headings.
        blocks: rows below a heading of their own, which is empty for none.
        caption: what the table shows.
        files: links to its copies.
        folded: what stands in place of the rows until a reader opens them; empty to show them.
    """
    heads = [tag("th", c.name, tag("small", c.unit) if c.unit else "", scope="col", class_=c.align) for c in columns]
    body: list[Html] = []
    for heading, rows in blocks:
        if heading:
            cell = tag("th", heading, colspan=str(len(columns)), scope="rowgroup")
            body.append(tag("tr", cell, class_="block"))
        for row in rows:
            body.append(tag("tr", *(tag("td", e, class_=c.align) for c, e in zip(columns, row, strict=True))))
    remarks = [" ", tag("span", files, class_="files")] if files else []
    inner = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *body))
    note = tag("figcaption", caption, *remarks)
    shown = tag("div", inner, class_="scroll")
    if folded:
        shown = tag("details", tag("summary", folded), shown)
    return tag("figure", note, shown, class_="table")


def with_ratio(value: float | None, reference: float | None, digits: int) -> str:
    """A cost with its ratio to the reference's (None: none) in small print."""
    if value is None:
        return DASH
    ratio = f"×{value / reference:.2f}" if reference else ""
    return tag("span", f"{value:.{digits}f}", tag("small", ratio))
