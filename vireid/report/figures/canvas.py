"""What all figures share: fonts, colour-blind safe colours, and saving as SVG and PDF beside the page.

Figures are drawn without pyplot, so that no global state decides how they look.
"""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from vireid.report.html import Html, join, link, tag
from vireid.store import write_atomically

# Okabe & Ito (2008), "Color universal design", for every common colour blindness; without yellow, which print loses.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
DASHES: tuple[tuple[float, Sequence[float]], ...] = ((0, ()), (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
GREY = "#666666"
NARROW = 4  # times: latencies that lie closer together are drawn on a linear axis
POSITIVE, NEGATIVE = "#008A64", "#CC3311"

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.formatter.limits": (-3, 5),
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "figure.dpi": 96,
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
    """A figure of that size in inches; pages show it at 96 dots per inch, so that fonts keep their size."""
    return Figure(figsize=(width, height), layout="constrained")


class Multiples(NamedTuple):
    """Panels of one kind in a grid."""

    figure: Figure
    panels: list[Axes]
    bottom: list[Axes]  # those with nothing below them
    left: list[Axes]


def small_multiples(
    count: int, most: int, size: tuple[float, float], margin: tuple[float, float], legend: float = 0.0, **shared: Any
) -> Multiples:
    """A grid of ``count`` panels, at most ``most`` beside each other, each of that size in inches.

    Args:
        count: number of panels.
        most: largest number of columns.
        size: width and height of a panel.
        margin: width and height that come on top of all panels.
        legend: height of a legend.
        shared: ``sharex`` and ``sharey`` of matplotlib.
    """
    columns = min(most, count)
    lines = -(-count // columns)
    figure = new_figure(size[0] * columns + margin[0], size[1] * lines + margin[1] + legend)
    grid = figure.subplots(lines, columns, squeeze=False, **shared)
    panels = list(grid.flat)
    for axes in panels[count:]:
        axes.set_visible(False)
    return Multiples(figure, panels[:count], panels[max(0, count - columns) : count], list(grid[:, 0]))


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
    axis.set_tick_params(which="minor", labelsize=9)


def publish(figure: Figure, name: str, caption: str, out: Path) -> Html:
    """Save ``figures/<name>.svg`` and ``.pdf`` under ``out`` and return the figure for the page.

    The page carries the SVG as a data address, so that it shows wherever the file is taken.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, the same in every copy
    drawings: dict[str, bytes] = {}
    for kind, metadata in (
        ("svg", {"Date": None, "Title": caption}),
        ("pdf", {"CreationDate": None, "Title": caption}),
    ):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata=metadata)
        drawings[kind] = buffer.getvalue()
        write_atomically(out / "figures" / f"{name}.{kind}", drawings[kind])
    source = "data:image/svg+xml;base64," + base64.b64encode(drawings["svg"]).decode()
    files = join((link(f"figures/{name}.{kind}", kind.upper()) for kind in drawings), " · ")
    below = tag("figcaption", caption, " ", tag("span", files, class_="files"))
    return tag("figure", tag("div", tag("img", src=source, alt=caption), class_="scroll"), below, class_="drawing")
