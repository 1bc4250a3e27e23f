r"""Tables of the command line: designed on a terminal, plain rows in a pipe.

On a terminal a column is never crushed: words and numbers stay whole, long texts are broken between words or stand as
numbered notes below, and a table that is wider than the terminal all the same is printed as a block per row. Anywhere
else every row is one line of cells separated by tabs, without loss, for ``cut``, ``awk -F'\t'`` or
``pandas.read_csv(sep="\t", comment="#")``; titles and remarks stand on lines that begin with ``#``.
"""

import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

Kind = Literal["number", "text", "wrap", "path", "note", "group", "pipe"]
_GAP = 2  # columns between two columns
_NARROWEST = 14  # of a column whose texts may be broken


class Either(NamedTuple):
    """A cell that a terminal shows otherwise than a pipe, such as an indented label."""

    terminal: str
    pipe: str


Cell = str | Text | Either


@dataclass
class _Column:
    name: str
    kind: Kind
    cells: list[Cell] = field(default_factory=list)

    def shown(self, row: int) -> Text:
        cell = self.cells[row]
        return cell if isinstance(cell, Text) else Text(cell.terminal if isinstance(cell, Either) else cell)

    def plain(self, row: int) -> str:
        cell = self.cells[row]
        return " ".join((cell.pipe if isinstance(cell, Either) else str(cell)).split())

    @property
    def widths(self) -> tuple[int, int]:
        """The narrowest that breaks no word, and the one that breaks no cell."""
        texts = [self.shown(row).plain for row in range(len(self.cells))]
        whole = max(map(cell_len, texts), default=0)
        longest = max((cell_len(word) for text in texts for word in text.split()), default=0)
        name = max(map(cell_len, self.name.split()), default=0)
        narrowest = whole
        if self.kind in ("wrap", "path"):
            narrowest = max(longest if self.kind == "wrap" else 0, min(_NARROWEST, whole))
        return max(narrowest, name), max(whole, name)


class Table:
    """Rows under named columns, with a title above and remarks below.

    Args:
        title: above the rows.
        caption: remarks below them, a line each.
    """

    def __init__(self, title: str = "", caption: str = "") -> None:
        self.title, self.caption = title, caption
        self._columns: list[_Column] = []
        self._styles: list[str] = []
        self._ends: set[int] = set()

    def add_column(self, name: str, kind: Kind = "text") -> None:
        """A column.

        Args:
            name: its heading.
            kind: ``number`` (set right) and ``text`` stay whole; ``wrap`` may be broken between words; a ``note``
                stands below the table, under a number; a ``path`` may be broken anywhere; a ``group`` is a heading
                above its rows; ``pipe`` is for pipes alone.
        """
        self._columns.append(_Column(name, kind))

    def add_columns(self, *names: str, text: Collection[str] = (), wrap: Collection[str] = ()) -> None:
        """Columns of numbers, but of text where they are named in ``text`` or ``wrap``."""
        for name in names:
            self.add_column(name, "text" if name in text else "wrap" if name in wrap else "number")

    def add_row(self, *cells: Cell, style: str | None = None) -> None:
        """A row, a cell for every column."""
        for column, cell in zip(self._columns, cells, strict=True):
            column.cells.append(cell)
        self._styles.append(style or "")

    def add_section(self) -> None:
        """A space below the last row."""
        self._ends.add(len(self._styles) - 1)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not console.is_terminal:
            for line in self.plain_lines():
                yield Segment(line + "\n")
            return
        if self.title:
            yield Text(self.title, style="bold")
        yield from self._on_terminal(console, options.max_width)
        for number, note in enumerate(self._notes, start=1):
            for position, line in enumerate(textwrap.wrap(note, options.max_width - 5, break_long_words=False)):
                yield Text(("" if position else f"[{number}]").ljust(5) + line, style="dim")
        for line in self.caption.splitlines():
            yield Text(line, style="dim")
        yield Text()

    def plain_lines(self) -> Iterator[str]:
        """What a pipe gets."""
        yield from (f"# {line}" for line in self.title.splitlines())
        yield "\t".join(column.name for column in self._columns)
        for row in range(len(self._styles)):
            yield "\t".join(column.plain(row) for column in self._columns)
        yield from (f"# {line}" for line in self.caption.splitlines())

    @property
    def _notes(self) -> list[str]:
        notes = (column for column in self._columns if column.kind == "note")
        texts = (column.plain(row) for column in notes for row in range(len(self._styles)))
        return [text for text in dict.fromkeys(texts) if text]

    def _on_terminal(self, console: Console, width: int) -> Iterator[Text]:
        shown = [self._numbered(column) for column in self._columns if column.kind not in ("group", "pipe")]
        groups = [column for column in self._columns if column.kind == "group"]
        widths = _fitted([column.widths for column in shown], width)
        names = max((cell_len(column.name) for column in shown), default=0)
        if widths is not None:
            heads = [textwrap.wrap(column.name, size) or [""] for column, size in zip(shown, widths, strict=True)]
            yield from _lines(shown, widths, [[Text(part, style="bold") for part in head] for head in heads], "bottom")
            yield Text("─" * (sum(widths) + _GAP * (len(widths) - 1)), style="dim")
        above = ""
        for row in range(len(self._styles)):
            heading = " · ".join(filter(None, (group.shown(row).plain for group in groups)))
            if heading != above:
                yield from [Text()] if row else []
                yield Text(heading, style="cyan")
                above = heading
            cells, style = [column.shown(row) for column in shown], self._styles[row]
            if widths is None:
                yield from _block(console, [column.name.ljust(names) for column in shown], cells, style, width)
                continue
            parts = [list(cell.wrap(console, size)) for cell, size in zip(cells, widths, strict=True)]
            for line in _lines(shown, widths, parts):
                line.stylize_before(style)
                yield line
            if row in self._ends and row + 1 < len(self._styles):
                yield Text()

    def _numbered(self, column: _Column) -> _Column:
        """A column of notes with their numbers in place of them."""
        if column.kind != "note":
            return column
        notes = self._notes
        texts = (column.plain(row) for row in range(len(column.cells)))
        return _Column("", "text", [f"[{notes.index(text) + 1}]" if text else "" for text in texts])


def _fitted(widths: Sequence[tuple[int, int]], available: int) -> list[int] | None:
    """A width for every column, whole where there is room, the widest ones narrowed first; None where none fits."""
    fitted = [whole for _, whole in widths]
    excess = sum(fitted) + _GAP * (len(fitted) - 1) - available
    while excess > 0:
        narrowable = [n for n, (narrowest, _) in enumerate(widths) if fitted[n] > narrowest]
        if not narrowable:
            return None
        fitted[max(narrowable, key=lambda n: fitted[n])] -= 1
        excess -= 1
    return fitted


def _lines(
    shown: Sequence[_Column], widths: Sequence[int], parts: Sequence[Sequence[Text]], stand: str = "top"
) -> Iterator[Text]:
    """The lines of one row, whose cells have one part a line; ``stand`` says where shorter cells stand."""
    height = max(map(len, parts), default=0)
    for number in range(height):
        line = Text(no_wrap=True, overflow="ignore")
        for column, width, cell in zip(shown, widths, parts, strict=True):
            position = number - (height - len(cell) if stand == "bottom" else 0)
            text = cell[position].copy() if 0 <= position < len(cell) else Text()
            text.rstrip()
            space = " " * max(0, width - cell_len(text.plain))
            line.append_text(Text(space) + text if column.kind == "number" else text + Text(space))
            line.append(" " * _GAP)
        line.rstrip()
        yield line


def _block(console: Console, names: Sequence[str], cells: Sequence[Text], style: str, width: int) -> Iterator[Text]:
    """A row of a table that is wider than the terminal: a line for every cell, a space below."""
    for name, cell in zip(names, cells, strict=True):
        indent = len(name) + _GAP
        for number, part in enumerate(cell.wrap(console, max(_NARROWEST, width - indent)) or [Text()]):
            line = Text((f"{name}{' ' * _GAP}" if number == 0 else " " * indent), style="dim", no_wrap=True)
            part.stylize_before(style)
            yield line + part
    yield Text()
