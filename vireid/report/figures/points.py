"""What a figure shows, as numbers: every line, bar, point, interval and band in the units of its axes.

Read from the drawing itself, so that a copy cannot differ from what is seen.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator

from vireid.report.tables import csv_text

_NEAR = 0.45  # of the distance between two names on an axis: a point within it belongs to the name
_COLUMNS = ("panel", "x_axis", "y_axis", "kind", "series", "x", "x_end", "x_name", "y", "y_end", "y_name")
Row = dict[str, object]


def points_csv(figure: Figure) -> str:
    """The numbers of a figure, a row per mark; empty where it shows pictures alone.

    ``kind`` is line, point, bar, interval (to ``x_end``, ``y_end``) or band (a corner of its outline). A line across
    the whole panel has one coordinate. Where an axis has names in place of numbers, ``x_name`` or ``y_name`` has them.
    """
    rows: list[Row] = []
    for number, axes in enumerate((axes for axes in figure.axes if axes.get_visible()), 1):
        panel = axes.get_title(loc="left") or axes.get_title() or f"panel {number}"
        known = {"panel": _plain(panel), "x_axis": _plain(axes.get_xlabel()), "y_axis": _plain(axes.get_ylabel())}
        names = {"x": _names(axes.xaxis), "y": _names(axes.yaxis)}
        for row in _marks(axes, _series_by_colour(figure, axes)):
            for side, ticks in names.items():
                if (value := row.get(side)) is not None:
                    row[f"{side}_name"] = _nearest(ticks, float(str(value)))
            rows.append({**known, **row})
    used = [column for column in _COLUMNS if any(row.get(column) not in (None, "") for row in rows)]
    return csv_text([{column: _digits(row.get(column)) for column in used} for row in rows]) if rows else ""


def _marks(axes: Axes, by_colour: Mapping[str, str]) -> Iterator[Row]:
    """What is drawn in the data's coordinates, bars first."""
    for container in axes.containers:
        if isinstance(container, BarContainer):
            yield from _bars(container, by_colour)
    notes = [text for text in axes.texts if isinstance(text, Annotation)]
    for line in axes.lines:
        series = _name(line, line.get_color(), by_colour)
        in_x, in_y = line.get_transform().contains_branch_seperately(axes.transData)
        x, y = (np.asarray(values, dtype=float) for values in line.get_data())
        if in_x and in_y:
            yield from (
                _point("line" if _joined(line) else "point", series, *at, notes) for at in zip(x, y, strict=True)
            )
        elif in_x or in_y:
            across = {"x": float(x[0])} if in_x else {"y": float(y[0])}
            yield {"kind": "line", "series": series, **across}
    for collection in axes.collections:
        if collection.get_offset_transform().contains_branch(axes.transData) and isinstance(collection, PathCollection):
            colours = collection.get_facecolor()
            for number, (x, y) in enumerate(np.asarray(collection.get_offsets(), dtype=float)):
                shade = colours[number % len(colours)] if len(colours) else None
                yield _point("point", _name(collection, shade, by_colour), x, y, notes)
        elif isinstance(collection, LineCollection):
            series = _name(collection, next(iter(collection.get_color()), None), by_colour)
            for segment in collection.get_segments():
                if len(segment):
                    (x, y), (x_end, y_end) = np.asarray(segment, dtype=float)[[0, -1]]
                    yield {"kind": "interval", "series": series, "x": x, "x_end": x_end, "y": y, "y_end": y_end}
        elif isinstance(collection, PolyCollection):
            series = _name(collection, next(iter(collection.get_facecolor()), None), by_colour)
            for x, y in (at for path in collection.get_paths() for at in np.asarray(path.vertices, dtype=float)):
                yield {"kind": "band", "series": series, "x": x, "y": y}


def _bars(container: BarContainer, by_colour: Mapping[str, str]) -> Iterator[Row]:
    upright = container.orientation == "vertical"
    for bar in container.patches:
        middle, end = (bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height() / 2)
        at = (
            {"x": middle, "y": bar.get_y() + bar.get_height()}
            if upright
            else {"x": bar.get_x() + bar.get_width(), "y": end}
        )
        yield {"kind": "bar", "series": _name(container, bar.get_facecolor(), by_colour), **at}


def _point(kind: str, series: str, x: float, y: float, notes: Sequence[Annotation]) -> Row:
    """A mark; without a series of its own it is called what is written beside it."""
    beside = next((_plain(note.get_text()) for note in notes if np.allclose(note.xy, (x, y), rtol=1e-9)), "")
    return {"kind": kind, "series": beside or series, "x": x, "y": y}


def _joined(line: Line2D) -> bool:
    return line.get_linestyle() not in ("None", "", " ")


def _name(artist: Artist | BarContainer, shade: Any, by_colour: Mapping[str, str]) -> str:
    label = str(artist.get_label() or "")
    if label and not label.startswith("_"):
        return _plain(label)
    return "" if shade is None else by_colour.get(_hex(shade), "")


def _series_by_colour(figure: Figure, axes: Axes) -> dict[str, str]:
    """What the legends call a colour that they give to one series alone."""
    legends = [legend for legend in (axes.get_legend(), *figure.legends) if legend is not None]
    found: dict[str, set[str]] = {}
    for legend in legends:
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            for get in ("get_facecolor", "get_color", "get_markerfacecolor"):
                if handle is not None and (shade := getattr(handle, get, lambda: None)()) is not None:
                    shades = shade if isinstance(shade, np.ndarray) and shade.ndim > 1 else [shade]
                    for one in shades:
                        found.setdefault(_hex(one), set()).add(_plain(text.get_text()))
    return {shade: next(iter(names)) for shade, names in found.items() if shade and len(names) == 1}


def _hex(shade: Any) -> str:
    """Without transparency, so that a faint mark finds its series; empty for what is no colour."""
    try:
        return to_hex(shade)
    except (ValueError, TypeError):
        return ""


def _names(axis: Axis) -> list[tuple[float, str]]:
    """Positions of an axis that has names; none where it has numbers."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return []
    places = [float(at) for at in axis.get_majorticklocs()]
    named = [
        (float(at), _plain(text))
        for at, text in zip(places, axis.get_major_formatter().format_ticks(places), strict=True)
    ]
    return [(at, text) for at, text in named if text] if any(not _is_number(text) for _, text in named) else []


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-−+]?[\d.,]*%?", text) is not None


def _nearest(names: Sequence[tuple[float, str]], value: float) -> str:
    close = [(abs(at - value), text) for at, text in names if abs(at - value) <= _NEAR]
    return min(close)[1] if close else ""


def _digits(value: object) -> object:
    """More than a figure can show, and no more: a cloud of points is a long table."""
    return f"{value:.9g}" if isinstance(value, float) else value


def _plain(text: object) -> str:
    """In one line; matplotlib gives names of ticks back as they were given, which may be numbers."""
    return " ".join(str(text).split())
