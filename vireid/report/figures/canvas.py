"""What all figures share: sizes of a paper, fonts, colour-blind safe colours, and their SVG and PDF beside a page.

Figures are drawn without pyplot, so that no global state decides how they look.
"""

import base64
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from vireid.core.types import FloatArray
from vireid.report.copies import FIGURES, Copies
from vireid.report.figures.points import points_csv
from vireid.report.html import Html, join, link, tag

# Okabe & Ito (2008), "Color universal design", for every common colour blindness; without yellow, which print loses.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
DASHES: tuple[tuple[float, Sequence[float]], ...] = ((0, ()), (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
GREY = "#666666"
COLUMN, PAGE = 3.25, 6.875  # inches: a column and the page of a two-column paper
SMALL = 7.0  # points: the smallest print
PIXELS = 300  # per inch of a PNG
_ON_PAGE = 1.25  # a report shows its figures that much larger than a paper does
TITLE_LINE = 42  # characters of a panel's title before it goes on in the next line
NARROW = 4  # times: latencies that lie closer together are drawn on a linear axis
POSITIVE, NEGATIVE = "#008A64", "#CC3311"

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "text.hinting": "none",  # measured as vector copies draw it; hinted, a bold name is 5 % too narrow, and cut
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.formatter.limits": (-3, 5),
    "grid.color": "#E3E3E3",
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,  # figures ask for it themselves, until they are laid out
    "figure.dpi": 96,
    "savefig.dpi": 200,  # of what vector copies hold as pixels: clouds of points, photographs
    "svg.hashsalt": "vireid",
    "pdf.fonttype": 42,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the report's style."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        yield


def colour(position: int) -> str:
    """Colour of the n-th cell; after the last one they repeat with other dashes (see ``dashes``)."""
    return OKABE_ITO[position % len(OKABE_ITO)]


def dashes(position: int) -> tuple[float, Sequence[float]]:
    """Line style of the n-th cell."""
    return DASHES[position // len(OKABE_ITO) % len(DASHES)]


def new_figure(width: float, height: float) -> Figure:
    """A figure of that size in inches of a paper, no wider than its page."""
    assert width <= PAGE, width
    return Figure(figsize=(width, height), layout="constrained")


class Multiples(NamedTuple):
    """Panels of one kind in a grid."""

    figure: Figure
    panels: list[Axes]
    bottom: list[Axes]  # those with nothing below them
    left: list[Axes]
    columns: int


def small_multiples(
    heights: Sequence[float],
    most: int,
    width: float,
    margin: tuple[float, float],
    legend: float = 0.0,
    **shared: Any,
) -> Multiples:
    """A grid of panels, at most ``most`` beside each other; every line is as high as its highest panel.

    Args:
        heights: of the panels in inches, one each.
        most: largest number of columns.
        width: of every panel in inches.
        margin: width and height that come on top of all panels.
        legend: height of a legend.
        shared: ``sharex`` and ``sharey`` of matplotlib.
    """
    count = len(heights)
    columns = max(1, min(most, count, int((PAGE - margin[0]) / width + 1e-9)))
    lines = [max(heights[first : first + columns]) for first in range(0, count, columns)]
    figure = new_figure(width * columns + margin[0], sum(lines) + margin[1] + legend)
    grid = figure.subplots(len(lines), columns, squeeze=False, height_ratios=lines, **shared)
    panels = list(grid.flat)
    for axes in panels[count:]:
        axes.set_visible(False)
    return Multiples(figure, panels[:count], panels[max(0, count - columns) : count], list(grid[:, 0]), columns)


def light_grid(axes: Axes, axis: str = "y") -> None:
    """Grid lines behind the data on one axis or ``"both"``."""
    axes.grid(visible=True, axis="both" if axis == "both" else "x" if axis == "x" else "y")


def milliseconds_axis(axes: Axes, values: Sequence[float]) -> str:
    """Make the horizontal axis logarithmic where values are far apart; returns what its label adds for that."""
    if max(values) < NARROW * min(values):
        return ""
    axes.set_xscale("log")
    plain_logarithm(axes.xaxis)
    return " (logarithmic)"


def plain_logarithm(axis: Axis) -> None:
    """Plain numbers at 1, 2, 3 and 5 of every decade of a logarithmic axis."""
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "235" else "")
    axis.set_tick_params(which="minor", labelsize=SMALL)


def publish(figure: Figure, name: str, caption: str, out: Copies, *, numbers: bool = True) -> Html:
    """Save ``figures/<name>`` in the kinds that ``out`` keeps and return the figure for the page.

    Beside them lie the numbers that it shows, as CSV, unless these are raw samples, which the records have. The page
    carries the SVG as a data address, so that it shows wherever the file is taken.
    """
    if (layout := figure.get_layout_engine()) is not None:
        layout.execute(figure)
    figure.set_layout_engine(None)  # laid out once, the same in every copy; with an engine each would be drawn twice
    drawings = {kind: drawn(figure, kind, caption) for kind in FIGURES if kind == "svg" or kind in out.kinds}
    source = "data:image/svg+xml;base64," + base64.b64encode(drawings["svg"]).decode()
    kept = [kind for kind, content in drawings.items() if out.write(f"figures/{name}.{kind}", content)]
    if numbers and (points := points_csv(figure)) and out.write(f"figures/{name}.csv", points):
        kept.append("csv")
    files = join((link(f"figures/{name}.{kind}", kind.upper()) for kind in kept), " · ")
    below = tag("figcaption", caption, " ", tag("span", files, class_="files"))
    width = f"{96 * _ON_PAGE * figure.get_figwidth():.0f}"
    wide = "wide" if figure.get_figwidth() > COLUMN + 0.5 else None  # not shrunk to the width of a phone
    image = tag("img", src=source, alt=caption, width=width, class_=wide)
    return tag("figure", tag("div", image, class_="scroll"), below, class_="drawing")


def drawn(figure: Figure, kind: str, caption: str) -> bytes:
    """A figure as a file of that kind (``FIGURES``), without the time at which it was made; pixels at 300 dpi."""
    date = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}[kind]
    buffer = io.BytesIO()
    resolution: dict[str, Any] = {"dpi": PIXELS} if kind == "png" else {}
    figure.savefig(buffer, format=kind, metadata={**date, "Title": caption}, **resolution)
    return buffer.getvalue()


_DIRECTIONS = (0.0, 45, 315, 90, 270, 135, 225, 180)  # degrees, in order of preference
_DISTANCES = (7.0, 13.0, 21.0, 32.0, 46.0, 64.0)  # points
_FORBIDDEN = 1000.0  # cost of covering something, against the rank of a position
Point = tuple[float, float]


def place_labels(axes: Axes, points: Sequence[Point], texts: Sequence[str], keep_free: Sequence[Point] = ()) -> None:
    """Write ``texts`` beside ``points`` (data coordinates), each at its nearest free position, with a leader if far.

    Positions in ``keep_free``, such as samples of a line, are not covered either. Call it last: it draws the figure
    once and freezes the layout, so that pixels are final.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    figure.set_layout_engine("none")
    scale = figure.dpi / 72
    frame = axes.get_window_extent(renderer)
    taken = np.array(
        [_around(axes, point, 5 * scale) for point in points] + [_around(axes, point, 2 * scale) for point in keep_free]
    )
    for point, text in zip(points, texts, strict=True):
        options: list[tuple[float, float, dict[str, str], Point, Bbox]] = []
        for rank, (distance, degrees) in enumerate(itertools.product(_DISTANCES, _DIRECTIONS)):
            offset = distance * math.cos(math.radians(degrees)), distance * math.sin(math.radians(degrees))
            align = _alignment(*offset)
            trial = axes.annotate(text, point, offset, textcoords="offset points", fontsize=SMALL, **align)  # type: ignore[arg-type]
            box = trial.get_window_extent(renderer).padded(1.5 * scale)
            trial.remove()
            covered = _covered(box, taken) + _outside(box, frame)
            options.append((rank + _FORBIDDEN * covered, distance, align, offset, box))
        _, distance, align, offset, box = min(options, key=lambda option: option[0])
        leader = {"arrowstyle": "-", "color": "#999999", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
        axes.annotate(
            text,
            point,
            offset,
            textcoords="offset points",
            fontsize=SMALL,
            arrowprops=leader if distance > _DISTANCES[1] else None,
            **align,  # type: ignore[arg-type]
        )
        taken = np.vstack([taken, box.extents])


def _alignment(dx: float, dy: float) -> dict[str, str]:
    """Alignment of a text that stands off its point by (dx, dy)."""
    return {
        "ha": "left" if dx > 1 else "right" if dx < -1 else "center",
        "va": "center" if abs(dy) < 1 else "bottom" if dy > 0 else "top",
    }


def _around(axes: Axes, point: Point, half: float) -> tuple[float, float, float, float]:
    x, y = axes.transData.transform(point)
    return x - half, y - half, x + half, y + half


def _covered(box: Bbox, taken: FloatArray) -> float:
    """Sum over the taken boxes (rows x0, y0, x1, y1) of the area shared with ``box``, as a share of the smaller one."""
    width = np.clip(np.minimum(taken[:, 2], box.x1) - np.maximum(taken[:, 0], box.x0), 0, None)
    height = np.clip(np.minimum(taken[:, 3], box.y1) - np.maximum(taken[:, 1], box.y0), 0, None)
    areas = (taken[:, 2] - taken[:, 0]) * (taken[:, 3] - taken[:, 1])
    return float((width * height / np.minimum(areas, box.width * box.height)).sum())


def _outside(box: Bbox, frame: Bbox) -> float:
    """Pixels by which a box leaves the frame."""
    gaps = (box.x1 - frame.x1, box.y1 - frame.y1, frame.y0 - box.y0, frame.x0 - box.x0)
    return float(sum(max(0.0, gap) for gap in gaps))
