"""Training curves: total loss, each term, learning rate, and the weights of the terms where they were not constant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.lines import Line2D

from vireid.report.figures.canvas import colour, dashes, light_grid, new_figure, publish, styled
from vireid.report.html import Fragment, paragraph
from vireid.report.load import StudyView

Series = dict[str, dict[tuple[str, int], tuple[list[float], list[float]]]]  # panel -> (cell, seed) -> x, y


def training_curves(view: StudyView, out: Path, name: str = "curves") -> Fragment:
    """Small multiples over epochs: total loss, every unweighted term, learning rate."""
    panels: Series = {}
    for run in view.runs:
        for entry in run.fit.curves if run.fit else []:
            key, epoch = (run.cell.name, run.seed), _epoch(entry)
            _add(panels, "total loss (weighted)", key, epoch, entry.get("loss"))
            for term, value in sorted(_mapping(entry.get("terms")).items()):
                _add(panels, term, key, epoch, value)
    for run in view.runs:  # after the terms, so that it is the last panel
        for entry in run.fit.curves if run.fit else []:
            _add(panels, "learning rate", (run.cell.name, run.seed), _epoch(entry), entry.get("lr"))
    if not panels:
        return paragraph("No training curves recorded.", class_="absent")
    return _multiples(view, panels, out, name, "Training per epoch: total loss, unweighted loss terms, learning rate.")


def weight_curves(view: StudyView, out: Path, name: str = "weights") -> Fragment | None:
    """Weight of every term over epochs, for the runs in which any weight moved; None where all were constant."""
    panels: Series = {}
    for run in view.runs:
        entries = [(_epoch(e), _mapping(e.get("weights"))) for e in (run.fit.curves if run.fit else [])]
        if not _moves([weights for _, weights in entries]):
            continue
        for epoch, weights in entries:
            for term, value in sorted(weights.items()):
                _add(panels, term, (run.cell.name, run.seed), epoch, value)
    if not panels:
        return None
    return _multiples(view, panels, out, name, "Weights of the loss terms where they change during training.")


def _multiples(view: StudyView, panels: Series, out: Path, name: str, words: str) -> Fragment:
    columns = min(4, len(panels))
    lines = math.ceil(len(panels) / columns)
    shown = [cell for cell in view.cells if any(cell == key[0] for series in panels.values() for key in series)]
    order = list(view.cells)
    with styled():
        figure = new_figure(2.35 * columns + 0.4, 1.85 * lines + 0.8)
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes, (title, series) in zip(grid.flat, panels.items(), strict=False):
            light_grid(axes)
            for (cell, _), (x, y) in series.items():
                position = order.index(cell)
                marker = "o" if len(x) == 1 else None
                axes.plot(x, y, color=colour(position), linestyle=dashes(position), linewidth=1.4, marker=marker, ms=4)
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
        figure.legend(handles=handles, loc="outside lower left", ncols=min(len(handles), columns + 1))
        seeds = " One line per seed." if len(view.plan.seeds) > 1 else ""
        return publish(figure, name, f"{words}{seeds}{view.note}", out)


def _add(panels: Series, panel: str, key: tuple[str, int], epoch: float, value: object) -> None:
    if isinstance(value, int | float) and math.isfinite(value):
        x, y = panels.setdefault(panel, {}).setdefault(key, ([], []))
        x.append(epoch)
        y.append(float(value))


def _epoch(entry: Mapping[str, Any]) -> float:
    return float(entry.get("epoch", 0))


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _moves(weights: Sequence[Mapping[str, Any]]) -> bool:
    """Whether any weight takes more than one value over the epochs."""
    return any(len({entry[name] for entry in weights if name in entry}) > 1 for name in {n for w in weights for n in w})
