"""Direct labels that cover neither each other nor the points they name."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

_DIRECTIONS = (0.0, 45, 315, 90, 270, 135, 225, 180)  # degrees, in order of preference
_DISTANCES = (9.0, 16.0, 26.0, 40.0, 58.0, 80.0)  # points
_FORBIDDEN = 1000.0  # cost of covering something, against the rank of a position
_FONT = 9
Point = tuple[float, float]
FloatArray = npt.NDArray[np.float64]


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
            trial = axes.annotate(text, point, offset, textcoords="offset points", fontsize=_FONT, **align)  # type: ignore[arg-type]
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
            fontsize=_FONT,
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
