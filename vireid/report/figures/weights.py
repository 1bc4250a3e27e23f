"""Weights of the loss terms over epochs, one panel per weighting, where they change during training."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.lines import Line2D

from vireid.report.figures.canvas import colour, dashes, light_grid, new_figure, publish, styled
from vireid.report.figures.curves import RANGE, Points, mapping, over_seeds, put
from vireid.report.html import Html
from vireid.report.records.study import StudyView, TrainedRun

Weights = dict[str, Points]  # term -> epoch -> weight
_CONSTANT = 1e-9  # relative


def weight_curves(view: StudyView, out: Path, name: str = "weights") -> Html | None:
    """Mean over the fits of a weighting, with a band from their smallest to their largest; None if nothing changes.

    Weights are drawn relative to the constant ones of the study's other fits where these have all of the terms.
    """
    weights = [(run, _weights(run)) for run in view.trained]
    moving = [(run, own) for run, own in weights if any(not _constant(points) for points in own.values())]
    if not moving:
        return None
    base = _base([own for _, own in weights])
    terms = list(dict.fromkeys(term for _, own in moving for term in own))
    relative = all(base.get(term, 0.0) > 0 for term in terms)
    groups: dict[str, list[Weights]] = {}
    for run, own in moving:
        groups.setdefault(_weighting(run, view), []).append(own)
    columns = min(2, len(groups))
    lines = math.ceil(len(groups) / columns)
    with styled():
        figure = new_figure(4.6 * columns + 0.6, 2.9 * lines + 0.9)
        grid = figure.subplots(lines, columns, squeeze=False, sharey=relative)
        for axes, (weighting, fits) in zip(grid.flat, groups.items(), strict=False):
            light_grid(axes)
            if relative:
                axes.axhline(1, color="#222222", linewidth=0.8)
            for position, term in enumerate(terms):
                scale = base[term] if relative else 1.0
                curves = [{epoch: value / scale for epoch, value in own[term].items()} for own in fits if term in own]
                if not curves:
                    continue
                over_seeds(axes, curves, band=RANGE, color=colour(position), linestyle=dashes(position))
            axes.set_title(f"{weighting} ({len(fits)} fit{'s' if len(fits) > 1 else ''})")
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        for axes in list(grid.flat)[len(groups) :]:
            axes.set_visible(False)
        for row in grid:
            row[0].set_ylabel("weight ÷ fixed weight" if relative else "weight")
        handles = [
            Line2D([], [], color=colour(n), linestyle=dashes(n), label=term.replace("_", " "))
            for n, term in enumerate(terms)
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=min(len(handles), 3 * columns))
        several = any(len(fits) > 1 for fits in groups.values())
        band = " Mean over fits; band: smallest to largest." if several else ""
        against = " Relative to the constant weights of the fits without it." if relative else ""
        caption = f"Weights of the loss terms where they change during training.{against}{band}{view.note}"
        return publish(figure, name, caption, out)


def _weights(run: TrainedRun) -> Weights:
    weights: Weights = {}
    for entry in run.fit.curves:
        for term, value in sorted(mapping(entry.get("weights")).items()):
            put(weights.setdefault(term, {}), entry, value)
    return {term: points for term, points in weights.items() if points}


def _constant(points: Points) -> bool:
    return max(points.values()) - min(points.values()) <= _CONSTANT * max(map(abs, points.values()))


def _base(weights: list[Weights]) -> dict[str, float]:
    """Weight of each term in the fits in which no weight moves, where these agree."""
    constant: dict[str, list[float]] = {}
    for own in weights:
        if own and all(_constant(points) for points in own.values()):
            for term, points in own.items():
                constant.setdefault(term, []).append(next(iter(points.values())))
    return {
        term: values[0] for term, values in constant.items() if _constant({float(n): v for n, v in enumerate(values)})
    }


def _weighting(run: TrainedRun, view: StudyView) -> str:
    """What moves the weights of a fit: the name of its weighting, and a curriculum where one is a factor."""
    name = str(mapping(run.fit.config.get("weighting")).get("name", "weights"))
    level = run.cell.factors.get("curriculum")
    plain = view.baseline.factors.get("curriculum")
    return name if level == plain else f"{name}, curriculum {level}"
