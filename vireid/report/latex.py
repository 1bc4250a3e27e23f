"""Tables that an author pastes: LaTeX floats as wide as one column of a paper or as its page (booktabs, siunitx).

A table holds one protocol and one re-ranking. What all its rows share stands in the caption, once: protocol, seeds,
what an interval is. The best of a column is bold and the second underlined, as printed: equal numbers share a mark.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vireid.report.effects.estimate import Effect
from vireid.statistics.seeds import Summary

Kind = Literal["text", "check", "number", "score", "change"]
Entry = str | bool | float | Summary | Effect | None
Mark = Literal["best", "second", ""]

PACKAGES = r"\usepackage{amssymb,booktabs,graphicx,siunitx}"
COLUMN, PAGE = 234.0, 497.0  # points: a column and a page of the two-column styles of CVPR, ICCV, WACV and IEEE
# Points that a digit of Computer Modern takes in a paper of 10: wider for its size the smaller. Times is narrower.
_SIZES = {"small": 4.63, "footnotesize": 4.25, "scriptsize": 3.98}
_NARROW, _BROAD, _WIDE = "fijlrt.,:;'!|()[]/- ", "w&+=<>~×±−÷→λΔ", "mMW%"
_GAP = 3.0  # points on either side of a column
_NONE = "{--}"

_CHARACTERS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "×": r"$\times$", "±": r"$\pm$", "−": r"$-$",
    "÷": r"$\div$", "→": r"$\rightarrow$", "λ": r"$\lambda$", "Δ": r"$\Delta$", "·": r"$\cdot$", "–": "--",
    "<": r"$<$", ">": r"$>$",
}  # fmt: skip


def escape(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(_CHARACTERS.get(character, character) for character in text)


def _width(text: str) -> float:
    """What a text takes in print, in digits: a little too much, as Computer Modern is wider than Times."""
    return sum(0.6 if c in _NARROW else 1.75 if c in _WIDE else 1.5 if c in _BROAD or c.isupper() else 1 for c in text)


def standings(values: Sequence[float | None], digits: int = 1) -> list[Mark]:
    """Which values are the best and which the second, the highest being the best, as printed with that many digits.

    Nothing is marked where fewer than three values differ in print: of two the reader sees which is larger.
    """
    printed = [None if value is None else round(value, digits) for value in values]
    order = sorted({value for value in printed if value is not None}, reverse=True)
    marks: dict[float | None, Mark] = {} if len(order) < 3 else {order[0]: "best", order[1]: "second"}
    return [marks.get(value, "") if value is not None else "" for value in printed]


@dataclass(frozen=True)
class PaperColumn:
    """A column: its heading, and what its entries are.

    ``text`` and ``number`` speak for themselves, ``check`` is a tick or nothing, ``score`` a fraction printed in
    percent with its spread over seeds, ``change`` an effect in percentage points with its interval, bold where shown.
    """

    head: str
    kind: Kind = "text"
    digits: int = 1


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper.

    Args:
        caption: all that its rows share.
        columns: headings.
        rows: one entry per column.
        wide: whether it may take both columns of the page.
    """

    caption: str
    columns: tuple[PaperColumn, ...]
    rows: tuple[tuple[Entry, ...], ...]
    wide: bool = False

    def latex(self, label: str) -> str:
        """The float, in the largest print in which it should fit; a paper refers to it by ``tab:`` and the label."""
        size, parts = self._fitted()
        float_name = "table*" if self.wide else "table"
        lines = [
            f"% needs {PACKAGES}, siunitx 3 (TeX Live 2021 or later)",
            rf"\begin{{{float_name}}}",
            r"\centering",
            r"\ifdim\belowcaptionskip<4pt \setlength{\belowcaptionskip}{4pt}\fi",  # article has none above a table
            rf"\caption{{{escape(self.caption)}}}",
            rf"\label{{tab:{label}}}",
            rf"\{size}",
            rf"\setlength{{\tabcolsep}}{{{_GAP:g}pt}}",
            r"\sisetup{retain-explicit-plus, text-series-to-math, reset-text-series=false, propagate-math-font}",
            rf"\begin{{tabular}}{{@{{}}{''.join(part.columns for part in parts)}@{{}}}}",
            r"\toprule",
            " & ".join(part.head for part in parts) + r" \\",
            r"\midrule",
            *(" & ".join(part.cells[row] for part in parts) + r" \\" for row in range(len(self.rows))),
            r"\bottomrule",
            r"\end{tabular}",
            rf"\end{{{float_name}}}",
        ]
        return "\n".join(lines) + "\n"

    def _fitted(self) -> tuple[str, list["_Set"]]:
        """Print and columns: headings of ticks are turned, and at last texts are broken, where there is no room."""
        upright = [_set(column, [row[position] for row in self.rows]) for position, column in enumerate(self.columns)]
        turned = [_turned(part) if c.kind == "check" else part for part, c in zip(upright, self.columns, strict=True)]
        for name, size in _SIZES.items():
            for parts in (upright, turned):
                if self._room(parts, size) >= 0:
                    return name, parts
        return "scriptsize", self._broken(turned, _SIZES["scriptsize"])

    def _broken(self, parts: Sequence["_Set"], size: float) -> list["_Set"]:
        """The same with texts broken into lines: as many columns of them as must, all of those equally wide at most."""
        texts = [part for part, column in zip(parts, self.columns, strict=True) if column.kind == "text"]
        left = self._room(parts, size) + sum(part.room for part in texts) * size
        limit = 0.0
        for count, part in enumerate(sorted(texts, key=lambda part: part.room)):
            limit = left / (len(texts) - count)
            if part.room * size > limit:
                break
            left -= part.room * size
        return [
            part.broken(max(limit, part.word * size)) if column.kind == "text" and part.room * size > limit else part
            for part, column in zip(parts, self.columns, strict=True)
        ]

    def _room(self, parts: Sequence["_Set"], size: float) -> float:
        """Points that are left of the line."""
        gaps = 2 * _GAP * (sum(part.gaps for part in parts) - 1)
        return (PAGE if self.wide else COLUMN) - sum(part.room for part in parts) * size - gaps


@dataclass(frozen=True)
class _Set:
    """A column as LaTeX sets it: specification, heading, entries, and what it takes of the line, in digits."""

    columns: str
    head: str
    cells: list[str]
    room: float
    gaps: int = 1
    word: float = 0  # of the longest word of a text, which is never broken

    def broken(self, points: float) -> "_Set":
        """The same in lines that are so long."""
        return replace(self, columns=rf">{{\raggedright\arraybackslash}}p{{{points:.0f}pt}}")


def _set(column: PaperColumn, entries: Sequence[Entry]) -> _Set:
    head = escape(column.head)
    if column.kind == "text":
        texts = [entry if isinstance(entry, str) else "–" for entry in entries]
        words = [word for text in (column.head, *texts) for word in text.split()]
        widest, longest = (max(map(_width, parts)) for parts in ((column.head, *texts), words or [""]))
        return _Set("l", head, [escape(text) for text in texts], widest, word=longest)
    if column.kind == "check":
        return _Set("c", head, [r"\checkmark" if entry else "" for entry in entries], _width(column.head))
    if column.kind == "number":
        values = [entry if isinstance(entry, float) else None for entry in entries]
        form, width = _format(values, column.digits)
        cells = [_NONE if value is None else f"{value:.{column.digits}f}" for value in values]
        return _Set(form, f"{{{head}}}", cells, max(width, _width(column.head)))
    if column.kind == "score":
        return _scores(column, [entry if isinstance(entry, Summary) else None for entry in entries])
    return _changes(column, [entry if isinstance(entry, Effect) else None for entry in entries])


def _turned(part: _Set) -> _Set:
    """The same with its heading upwards."""
    return replace(part, head=rf"\rotatebox{{90}}{{{part.head}}}", room=2)


def _format(values: Sequence[float | None], digits: int, *, sign: bool = False) -> tuple[str, int]:
    """An ``S`` column for these numbers, and its width in digits."""
    whole = max([len(str(int(abs(round(value, digits))))) for value in values if value is not None] or [1])
    plus = "+" if sign else ""
    return f"S[table-format={plus}{whole}.{digits}]", whole + bool(digits) + digits + 2 * sign


def _scores(column: PaperColumn, scores: Sequence[Summary | None]) -> _Set:
    """Means, and in smaller print what they scatter over seeds, where there are several."""
    means = [None if score is None else 100 * score.mean for score in scores]
    spreads = [None if score is None or score.sd is None else 100 * score.sd for score in scores]
    form, width = _format(means, column.digits)
    whole = width - 1 - column.digits
    cells = [_marked(value, mark, whole, column.digits) for value, mark in zip(means, standings(means), strict=True)]
    head = escape(column.head)
    if all(spread is None for spread in spreads):
        return _Set(form, f"{{{head}}}", cells, max(width, _width(column.head)))
    below, narrow = _format(spreads, column.digits)
    beside = [_NONE if spread is None else f"{spread:.{column.digits}f}" for spread in spreads]
    pairs = [f"{mean} & {spread}" for mean, spread in zip(cells, beside, strict=True)]
    columns = rf"{form}@{{\,{{\scriptsize$\pm$}}\,}}>{{\scriptsize}}{below}"
    return _Set(columns, rf"\multicolumn{{2}}{{c}}{{{head}}}", pairs, max(width + narrow + 3, _width(column.head)))


def _marked(value: float | None, mark: Mark, whole: int, digits: int) -> str:
    if value is None:
        return _NONE
    text = f"{value:.{digits}f}"
    if mark == "best":
        return rf"\bfseries {text}"
    missing = "0" * (whole - len(text.partition(".")[0]))
    pad = rf"\phantom{{{missing}}}" if missing else ""
    return rf"{{{pad}\underline{{{text}}}}}" if mark == "second" else text


def _changes(column: PaperColumn, effects: Sequence[Effect | None]) -> _Set:
    """Differences in percentage points with their intervals; bold where they are shown."""
    changes = [effect.difference if effect is not None else None for effect in effects]
    means = [None if change is None else 100 * change.mean for change in changes]
    form, width = _format(means, column.digits, sign=True)
    cells, intervals = [], []
    for effect, change, mean in zip(effects, changes, means, strict=True):
        bold = r"\bfseries " if effect is not None and effect.shown else ""
        cells.append(_NONE if mean is None else f"{bold}{mean:+.{column.digits}f}")
        limits = () if change is None or change.low is None or change.high is None else (change.low, change.high)
        signed = [f"{100 * limit:.{column.digits}f}".replace("-", "−") for limit in limits]
        intervals.append(f"[{', '.join(signed)}]" if signed else "")
    head = escape(column.head)
    if not any(intervals):
        return _Set(form, f"{{{head}}}", cells, max(width, _width(column.head)))
    pairs = [f"{cell} & {escape(interval)}" for cell, interval in zip(cells, intervals, strict=True)]
    wide = width + 1 + max(map(_width, intervals))
    return _Set(
        rf"{form}@{{\enspace}}>{{\scriptsize}}r",
        rf"\multicolumn{{2}}{{c}}{{{head}}}",
        pairs,
        max(wide, _width(column.head)),
    )
