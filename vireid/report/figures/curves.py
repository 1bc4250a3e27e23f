"""Curves over epochs: training loss and its terms, weights of the terms, and dev scores."""

import math
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vireid.core.records import FitRecord
from vireid.report.copies import Copies
from vireid.report.effects.estimate import baseline_level, pairs, toggles
from vireid.report.effects.phrases import Names
from vireid.report.figures.canvas import (
    DASHES,
    TITLE_LINE,
    colour,
    dashes,
    light_grid,
    publish,
    small_multiples,
    styled,
)
from vireid.report.figures.cells import BASELINE_GREY, SEVERAL, cell_colour, cell_dashes, leading
from vireid.report.html import Html, absent
from vireid.report.records.study import StudyView, TrainedRun

Points = dict[float, float]  # epoch -> value
Series = dict[str, dict[str, list[Points]]]  # panel -> cell -> one entry per seed
Band = Literal["deviation", "range"]  # one standard deviation, or from smallest to largest
DEVIATION: Band = "deviation"
RANGE: Band = "range"
BANDS = "Lines: means over seeds; bands: one standard deviation."
Weights = dict[str, Points]  # term -> epoch -> weight
_CONSTANT = 1e-9  # relative
MANY = 4  # panels that fit a page two beside each other; more stand in three columns
FAR = 10  # times: weights that lie further apart are drawn on a logarithmic axis
MANY_LEVELS = 5  # of a panel; the names of more stand beside it


def training_curves(view: StudyView, out: Copies, name: str = "curves") -> Html:
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


def _multiples(view: StudyView, panels: Series, out: Copies, name: str, caption: str) -> Html:
    present = [cell for cell in view.cells if any(cell in series for series in panels.values())]
    shown = leading(view, present)
    panels = {title: series for title, series in panels.items() if any(cell in series for cell in shown)}
    several = any(len(seeds) > 1 for series in panels.values() for seeds in series.values())
    styles = _line_styles(view, shown)
    with styled():
        widest = max(len(view.cells[cell].label) for cell in shown)
        width = 1.63 * min(4, len(panels)) + 0.3
        beside = max(1, min(len(shown), int(width / (0.45 + 0.056 * widest))))  # inches of an entry in the legend
        legend = 0.16 * math.ceil(len(shown) / beside)
        drawn = small_multiples([1.4] * len(panels), 4, 1.63, (0.3, 0.3), legend)
        for axes, (title, series) in zip(drawn.panels, panels.items(), strict=True):
            light_grid(axes)
            for cell in shown:
                if seeds := series.get(cell):
                    over_seeds(axes, seeds, color=cell_colour(view, cell), linestyle=styles[cell], linewidth=1.0)
            axes.set_title(title.replace("_", " "))
            axes.locator_params(axis="x", integer=True, nbins=4)
            axes.locator_params(axis="y", nbins=4)
        for axes in drawn.bottom:
            axes.set_xlabel("epoch")
        handles = [
            Line2D([], [], color=cell_colour(view, c), linestyle=styles[c], label=view.cells[c].label) for c in shown
        ]
        drawn.figure.legend(handles=handles, loc="outside lower left", ncols=beside)
        bands = f" {BANDS}" if several else ""
        if len(shown) < len(present):
            bands += f" {len(shown)} of {len(present)} configurations: the baseline, changes of one factor, and of all."
        return publish(drawn.figure, name, f"{caption}{bands}{view.note}", out)


def _line_styles(view: StudyView, shown: Sequence[str]) -> dict[str, tuple[float, Sequence[float]]]:
    """Cell -> dashes; those that change several factors are all dark, and get dashes by their order."""
    styles = {cell: cell_dashes(view, cell) for cell in shown}
    dark = [cell for cell in shown if cell_colour(view, cell) == SEVERAL]
    return styles | {cell: DASHES[position % len(DASHES)] for position, cell in enumerate(dark)}


def weight_curves(view: StudyView, out: Copies, name: str = "weights") -> Html | None:
    """Mean over the fits of a weighting, with a band from their smallest to their largest; None if nothing changes.

    Weights are drawn relative to the constant ones of the study's other fits where these have all of the terms.
    """
    weights = [(run, _weights(run)) for run in view.trained]
    moving = [(run, by_term) for run, by_term in weights if any(not _constant(points) for points in by_term.values())]
    if not moving:
        return None
    base = _base([by_term for _, by_term in weights])
    terms = list(dict.fromkeys(term for _, by_term in moving for term in by_term))
    relative = all(base.get(term, 0.0) > 0 for term in terms)
    named = _weightings([run for run, _ in moving])
    groups: dict[str, list[Weights]] = {}
    for run, by_term in moving:
        groups.setdefault(named[run.fit.id], []).append(by_term)
    drawn_values = [
        value / (base[term] if relative else 1.0)
        for _, by_term in moving
        for term, points in by_term.items()
        for value in points.values()
        if value > 0
    ]
    counts = {len(fits) for fits in groups.values()}
    logarithmic = max(drawn_values) > FAR * min(drawn_values)
    with styled():
        many = len(groups) > MANY
        width, height, line = (2.1, 1.9, 28) if many else (3.15, 2.2, TITLE_LINE)
        drawn = small_multiples([height] * len(groups), 3 if many else 2, width, (0.5, 0.7), sharey=relative)
        for axes, (weighting, fits) in zip(drawn.panels, groups.items(), strict=True):
            light_grid(axes)
            if relative:
                axes.axhline(1, color="#222222", linewidth=0.8)
            for position, term in enumerate(terms):
                scale = base[term] if relative else 1.0
                curves = [
                    {epoch: value / scale for epoch, value in by_term[term].items()}
                    for by_term in fits
                    if term in by_term
                ]
                if not curves:
                    continue
                over_seeds(axes, curves, band=RANGE, color=colour(position), linestyle=dashes(position))
            axes.set_title(fill(weighting + ("" if len(counts) == 1 else f" ({_fits(len(fits))})"), line))
            if logarithmic:
                axes.set_yscale("log")
            axes.set_xlabel("epoch")
            axes.locator_params(axis="x", integer=True, nbins=6)
        for axes in drawn.left:
            axes.set_ylabel("weight ÷ fixed weight" if relative else "weight")
        handles = [
            Line2D([], [], color=colour(n), linestyle=dashes(n), label=term.replace("_", " "))
            for n, term in enumerate(terms)
        ]
        drawn.figure.legend(handles=handles, loc="outside lower left", ncols=min(len(handles), 3 * min(2, len(groups))))
        each = _fits(*counts) if len(counts) == 1 else "the fits of a panel"
        band = f" Mean over {each}; band: smallest to largest." if max(counts) > 1 else ""
        against = " Relative to the constant weights of the fits without it." if relative else ""
        axis = " Logarithmic." if logarithmic else ""
        caption = f"Weights of the loss terms where they change during training.{against}{axis}{band}{view.note}"
        return publish(drawn.figure, name, caption, out)


def _fits(count: int) -> str:
    return f"{count} fit{'s' if count > 1 else ''}"


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
    for by_term in weights:
        if by_term and all(_constant(points) for points in by_term.values()):
            for term, points in by_term.items():
                constant.setdefault(term, []).append(next(iter(points.values())))
    return {
        term: values[0] for term, values in constant.items() if _constant({float(n): v for n, v in enumerate(values)})
    }


def _weightings(runs: Sequence[TrainedRun]) -> dict[str, str]:
    """Fit -> name of what moves its weights, with those settings that not all weightings of the name share."""
    settings = {run.fit.id: mapping(run.fit.config.get("weighting")) for run in runs}
    names = {}
    for run in runs:
        own = settings[run.fit.id]
        alike = [other for other in settings.values() if other.get("name") == own.get("name")]
        differing = [key for key in own if any(other.get(key) != own[key] for other in alike)]
        parts = [str(own.get("name", "weights")), *(f"{key.replace('_', ' ')} {own[key]}" for key in differing)]
        curriculum = mapping(run.fit.config.get("curriculum")).get("name", "off")
        names[run.fit.id] = ", ".join([*parts, *([f"curriculum {curriculum}"] if curriculum != "off" else [])])
    return names


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


def dev_curves(view: StudyView, out: Copies, name: str = "dev", metric: str = "mAP") -> Html | None:
    """One panel per factor: the cells that differ in it alone, thin lines single fits; None without dev scores."""
    curves: dict[str, list[Points]] = {}
    for run in view.trained:
        if run.cell.control is None:
            epochs, scores = dev_scores(run.fit, metric)
            if scores:
                percent = [100 * score for score in scores]
                curves.setdefault(run.cell.name, []).append(dict(zip(epochs, percent, strict=True)))
    panels = _dev_panels(view, curves)
    if not panels:
        return None
    names = Names(view)
    with styled():
        longest = max(len(level) for level in list(panels.values())[-1])
        beside = len(panels) == 1 and len(next(iter(panels.values()))) > MANY_LEVELS
        margin = min(3.0, 0.5 + 0.056 * longest) if beside else 0.0  # inches of the names
        drawn = small_multiples([2.0] * len(panels), 3, 2.15, (0.3 + margin, 0.25), sharey=True)
        for axes, (factor, levels) in zip(drawn.panels, panels.items(), strict=True):
            light_grid(axes)
            for position, (level, fits) in enumerate(levels.items()):
                _draw_level(axes, level, fits, position)
            axes.set_title(names.factor(factor))
            key = axes.legend(loc="lower right", handlelength=2.4 if len(levels) > MANY_LEVELS else 1.4, borderpad=0.2)
            last = len(levels) > MANY_LEVELS and axes is drawn.panels[-1]
            if last and (beside or len(panels) % drawn.columns):
                key.set_loc("upper left")
                key.set_bbox_to_anchor((1.02, 1.0))
                key.set_in_layout(beside)  # otherwise in the empty place beside the last panel
            axes.locator_params(axis="x", integer=True, nbins=5)
        for axes in drawn.bottom:
            axes.set_xlabel("epoch")
        for axes in drawn.left:
            axes.set_ylabel(f"{metric} on dev (%)")
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
        return publish(drawn.figure, name, caption, out)


def _dev_panels(view: StudyView, curves: dict[str, list[Points]]) -> dict[str, dict[str, list[Points]]]:
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


def _draw_level(axes: Axes, level: str, fits: list[Points], position: int) -> None:
    shade = BASELINE_GREY if position == 0 else colour(position - 1)
    style = dashes(max(0, position - 1))
    if len(fits) > 1:
        for points in fits:
            axes.plot(list(points), list(points.values()), color=shade, linewidth=0.6, alpha=0.35)
    over_seeds(axes, fits, color=shade, linestyle=style, linewidth=1.4, label=level)


def over_seeds(axes: Axes, seeds: list[Points], color: str, band: Band = DEVIATION, **style: Any) -> None:
    """The mean over seeds at every epoch that all of them have, in a band where there are several; no axis labels."""
    epochs = sorted(epoch for epoch in seeds[0] if all(epoch in points for points in seeds))
    if not epochs:
        return
    values = np.array([[points[epoch] for points in seeds] for epoch in epochs])
    means = values.mean(axis=1)
    marker = "o" if len(epochs) == 1 else None
    axes.plot(epochs, means, color=color, marker=marker, markeredgewidth=0.75, markeredgecolor="w", **style)
    if len(seeds) > 1:
        spread = values.std(axis=1, ddof=1)
        deviation = means - spread, means + spread
        low, high = deviation if band == DEVIATION else (values.min(axis=1), values.max(axis=1))
        axes.fill_between(epochs, low, high, color=color, alpha=0.18, linewidth=0)


def put(points: Points, entry: Mapping[str, Any], value: object) -> None:
    """Add a curve entry's value if it is a finite number."""
    if isinstance(value, int | float) and math.isfinite(value):
        points[float(entry.get("epoch", 0))] = float(value)


def mapping(value: object) -> dict[str, Any]:
    """A nested entry of a curve, empty where it is missing."""
    return dict(value) if isinstance(value, Mapping) else {}
