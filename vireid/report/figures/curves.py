"""Training curves over epochs, as small multiples: total loss, each unweighted term, learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vireid.report.figures.canvas import colour, dashes, light_grid, new_figure, publish, styled
from vireid.report.html import Html, absent
from vireid.report.records.study import StudyView

Points = dict[float, float]  # epoch -> value
Series = dict[str, dict[str, list[Points]]]  # panel -> cell -> one entry per seed
DEVIATION, RANGE = "sd", ("pi", 100.0)  # bands: one standard deviation, or from smallest to largest
BANDS = "Lines: means over seeds; bands: one standard deviation."


def training_curves(view: StudyView, out: Path, name: str = "curves") -> Html:
    """Small multiples over epochs: total loss, every unweighted term, learning rate."""
    panels: Series = {}
    rates: Series = {}
    for run in view.trained:
        values: dict[str, Points] = {}
        for entry in run.fit.curves:
            terms = {"total loss (weighted)": entry.get("loss"), **dict(sorted(mapping(entry.get("terms")).items()))}
            for term, value in terms.items():
                put(values.setdefault(term, {}), entry, value)
            put(values.setdefault("learning rate", {}), entry, entry.get("lr"))
        for panel, points in values.items():
            if points:
                target = rates if panel == "learning rate" else panels
                target.setdefault(panel, {}).setdefault(run.cell.name, []).append(points)
    panels |= rates  # the last panel
    if not panels:
        return absent("No training curves recorded.")
    return _multiples(view, panels, out, name, "Training per epoch: total loss, unweighted loss terms, learning rate.")


def _multiples(view: StudyView, panels: Series, out: Path, name: str, caption: str) -> Html:
    columns = min(4, len(panels))
    lines = math.ceil(len(panels) / columns)
    shown = [cell for cell in view.cells if any(cell in series for series in panels.values())]
    order = list(view.cells)
    several = any(len(seeds) > 1 for series in panels.values() for seeds in series.values())
    with styled():
        widest = max(len(view.cells[cell].label) for cell in shown)
        width = 2.35 * columns + 0.4
        beside = max(1, min(len(shown), int(width / (0.55 + 0.072 * widest))))  # inches of an entry in the legend
        figure = new_figure(width, 1.85 * lines + 0.4 + 0.2 * math.ceil(len(shown) / beside))
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes, (title, series) in zip(grid.flat, panels.items(), strict=False):
            light_grid(axes)
            for cell, seeds in series.items():
                position = order.index(cell)
                over_seeds(axes, seeds, color=colour(position), linestyle=dashes(position), linewidth=1.3)
            axes.set_title(title.replace("_", " "))
            axes.xaxis.get_major_locator().set_params(integer=True, nbins=4)
            axes.yaxis.get_major_locator().set_params(nbins=4)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_visible(False)
        for axes in list(grid.flat)[max(0, len(panels) - columns) : len(panels)]:
            axes.set_xlabel("epoch")
        handles = [
            Line2D([], [], color=colour(order.index(c)), linestyle=dashes(order.index(c)), label=view.cells[c].label)
            for c in shown
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=beside)
        bands = f" {BANDS}" if several else ""
        return publish(figure, name, f"{caption}{bands}{view.note}", out)


def over_seeds(axes: Axes, seeds: list[Points], band: str | tuple[str, float] = DEVIATION, **style: Any) -> None:
    """The mean over seeds at every epoch that all of them have, in a band where there are several; no axis labels."""
    epochs = [epoch for epoch in seeds[0] if all(epoch in points for points in seeds)]
    rows = [(epoch, points[epoch]) for points in seeds for epoch in epochs]
    seaborn.lineplot(
        data=pd.DataFrame(rows, columns=["epoch", "value"]),
        x="epoch",
        y="value",
        errorbar=band if len(seeds) > 1 else None,
        err_kws={"alpha": 0.18, "linewidth": 0},
        marker="o" if len(epochs) == 1 else None,
        ax=axes,
        legend=False,
        **style,
    )
    axes.set(xlabel="", ylabel="")


def put(points: Points, entry: Mapping[str, Any], value: object) -> None:
    """Add a curve entry's value if it is a finite number."""
    if isinstance(value, int | float) and math.isfinite(value):
        points[float(entry.get("epoch", 0))] = float(value)


def mapping(value: object) -> dict[str, Any]:
    """A nested entry of a curve, empty where it is missing."""
    return dict(value) if isinstance(value, Mapping) else {}
