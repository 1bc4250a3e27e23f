"""Forest plot: every effect with its interval around zero, what the correction lets stand in colour."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from vireid.report.effects.estimate import Effect, Family
from vireid.report.effects.phrases import Names
from vireid.report.figures.canvas import GREY, NEGATIVE, POSITIVE, light_grid, new_figure, publish, styled
from vireid.report.html import Html
from vireid.report.numbers import points
from vireid.report.records.labels import as_sentence
from vireid.statistics.seeds import MIN_SEEDS

_PLACEBO = "#8A5A9E"
_GAP = 0.6  # between main effects, placebos and interactions


def forest(families: Sequence[Family], names: Names, out: Path, name: str) -> Html:
    """One panel per family (plain and re-ranked scores), one row per effect, the same rows in all panels."""
    effects = families[0].effects
    rows = _rows(effects)
    with styled():
        figure = new_figure(2.6 + 4.0 * len(families), 1.1 + 0.3 * (max(rows) + 1))
        panels = figure.subplots(1, len(families), sharex=True, sharey=True, squeeze=False)[0]
        for axes, family in zip(panels, families, strict=True):
            light_grid(axes, "x")
            axes.axvline(0, color="#222222", linewidth=1)
            for y, effect in zip(rows, family.effects, strict=True):
                _draw(axes, y, effect)
            axes.set_xlabel(f"change in {family.metric}, points of percent")
            axes.set_title(family.reranking, pad=14)
            axes.tick_params(axis="y", length=0)
            axes.margins(x=0.06)
            axes.spines["left"].set_visible(False)
        axes = panels[0]
        axes.set_yticks(rows, [names.effect(effect) for effect in effects])
        axes.set_ylim(max(rows) + 0.7, -0.7)
        for tick, effect in zip(axes.get_yticklabels(), effects, strict=True):
            if effect.placebo:
                tick.set_color(_PLACEBO)
                tick.set_style("italic")
            elif effect.interaction:
                tick.set_color("#444444")
            else:
                tick.set_weight("bold")
        claimed = all(
            e.difference is None or e.difference.n >= MIN_SEEDS for family in families for e in family.effects
        )
        shown = (
            "Filled: shown after Holm's correction over the effects of a panel; hollow: not shown."
            if claimed
            else f"Hollow without an interval: fewer than {MIN_SEEDS} seeds, no effect claimed."
        )
        check = " Diamond: placebo, a check whose interval should hold zero." if any(e.placebo for e in effects) else ""
        key = families[0].key
        caption = (
            f"Effects with 95 % intervals: {key.title}, trained on {key.accelerator}. {shown}{check} "
            f"The line at zero is no effect.{as_sentence(key.note)}"
        )
        return publish(figure, name, caption, out)


def _rows(effects: Sequence[Effect]) -> list[float]:
    """Vertical positions, with a gap wherever the kind of effect changes."""
    rows: list[float] = []
    for position, effect in enumerate(effects):
        if position == 0:
            rows.append(0.0)
            continue
        before = effects[position - 1]
        changed = (before.interaction, before.placebo) != (effect.interaction, effect.placebo)
        rows.append(rows[-1] + 1 + (_GAP if changed else 0))
    return rows


def _draw(axes: Axes, y: float, effect: Effect) -> None:
    """Interval, marker, and the numbers at the right edge."""
    change = effect.difference
    right = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center", "fontsize": 8.5}
    if change is None:
        axes.annotate("not estimable", (1, y), (6, 0), color=GREY, annotation_clip=False, **right)  # type: ignore[arg-type]
        return
    shade = _PLACEBO if effect.placebo else GREY
    if effect.shown:
        shade = POSITIVE if change.mean > 0 else NEGATIVE
    mean = 100 * change.mean
    if change.low is not None and change.high is not None:
        axes.plot([100 * change.low, 100 * change.high], [y, y], color=shade, linewidth=2.2 if effect.shown else 1.3)
    axes.plot(
        [mean], [y],
        marker="D" if effect.placebo else "o", markersize=6 if effect.shown else 5.5, color=shade,
        markerfacecolor=shade if effect.shown else "white", markeredgewidth=1.4, zorder=3,
    )  # fmt: skip
    text = points(change)
    weight = "bold" if effect.shown else "normal"
    axes.annotate(text, (1, y), (6, 0), color=shade, weight=weight, annotation_clip=False, **right)  # type: ignore[arg-type]
