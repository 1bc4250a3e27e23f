"""Dev scores over epochs: how much a training fluctuates from one evaluation to the next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes

from vireid.core.records import FitRecord
from vireid.report.effects.design import baseline_level, pairs, toggles
from vireid.report.effects.phrases import Names
from vireid.report.figures.canvas import colour, dashes, light_grid, new_figure, publish, styled
from vireid.report.figures.curves import Points, over_seeds
from vireid.report.html import Html
from vireid.report.records.study import StudyView

_GREY = "#777777"


def dev_scores(fit: FitRecord, metric: str = "mAP") -> tuple[list[float], list[float]]:
    """Epochs that were evaluated on dev, and their scores as fractions."""
    epochs: list[float] = []
    scores: list[float] = []
    for entry in fit.curves:
        dev = entry.get("dev")
        value = dev.get(metric) if isinstance(dev, Mapping) else None
        if isinstance(value, int | float) and math.isfinite(value):
            epochs.append(float(entry.get("epoch", 0)))
            scores.append(float(value))
    return epochs, scores


def dev_curves(view: StudyView, out: Path, name: str = "dev", metric: str = "mAP") -> Html | None:
    """One panel per factor: the cells that differ in it alone, thin lines single fits; None without dev scores."""
    curves: dict[str, list[Points]] = {}
    for run in view.trained:
        if run.cell.control is None:
            epochs, scores = dev_scores(run.fit, metric)
            if scores:
                percent = [100 * score for score in scores]
                curves.setdefault(run.cell.name, []).append(dict(zip(epochs, percent, strict=True)))
    panels = _panels(view, curves)
    if not panels:
        return None
    names = Names(view)
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    with styled():
        figure = new_figure(3.1 * columns + 0.4, 2.6 * lines + 0.3)
        grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
        for axes, (factor, levels) in zip(grid.flat, panels.items(), strict=False):
            light_grid(axes)
            for position, (level, fits) in enumerate(levels.items()):
                _draw(axes, level, fits, position)
            axes.set_title(names.factor(factor))
            axes.legend(loc="lower right", handlelength=1.4, borderpad=0.2)
            axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_visible(False)
        for axes in list(grid.flat)[max(0, len(panels) - columns) : len(panels)]:
            axes.set_xlabel("epoch")
        for row in grid:
            row[0].set_ylabel(f"{metric} on dev (%)")
        several = any(len(fits) > 1 for levels in panels.values() for fits in levels.values())
        legend = (
            " Thick: mean over fits, in a band of one standard deviation; thin: single fits."
            if several
            else " One line per fit."
        )
        caption = (
            f"{metric} on dev (held-out training identities) after each evaluated epoch, per factor: the "
            f"configurations that differ in it alone.{legend}{view.note}"
        )
        return publish(figure, name, caption, out)


def _panels(view: StudyView, curves: dict[str, list[Points]]) -> dict[str, dict[str, list[Points]]]:
    """Factor -> level -> curves of the fits at that level, baseline level first."""
    panels: dict[str, dict[str, list[Points]]] = {}
    for part in toggles(view):
        factor, level = part
        measured = [pair for pair in pairs(view, part) if pair[0] in curves and pair[1] in curves]
        if not measured:
            continue
        without, with_ = (dict.fromkeys(names) for names in zip(*measured, strict=True))
        levels = panels.setdefault(factor, {})
        levels.setdefault(baseline_level(view, factor), [points for cell in without for points in curves[cell]])
        levels[level] = [points for cell in with_ for points in curves[cell]]
    return panels


def _draw(axes: Axes, level: str, fits: list[Points], position: int) -> None:
    shade = _GREY if position == 0 else colour(position - 1)
    style = dashes(max(0, position - 1))
    if len(fits) > 1:
        for points in fits:
            axes.plot(list(points), list(points.values()), color=shade, linewidth=0.6, alpha=0.35)
    over_seeds(axes, fits, color=shade, linestyle=style, linewidth=1.8, label=level)
