"""Scores per cell as bars, with one dot per seed on top, so that the spread is seen and not only summed up."""

from pathlib import Path

import numpy as np

from vireid.core.protocol_card import PLAIN
from vireid.report.figures.canvas import GREY, colour, light_grid, new_figure, publish, styled
from vireid.report.html import Html, absent, join
from vireid.report.page import Report
from vireid.report.records.labels import MAIN_SCORES, SCORES, as_sentence
from vireid.report.records.study import StudyView
from vireid.report.tables import ScoreTable

MANY = 10  # cells; with more of them re-ranked scores stand in the table alone


def render(report: Report, *, text: bool = True) -> Html:
    """One figure per protocol; without ``text`` only protocols of images alone are drawn."""
    tables = enumerate(report.tables(text=text), start=1)
    drawn = [bars(report.view, content, report.out, f"scores-{position}") for position, content in tables]
    return join(drawn) if drawn else absent("No scores yet.")


def bars(
    view: StudyView, content: ScoreTable, out: Path, name: str, metrics: tuple[str, ...] = tuple(MAIN_SCORES)
) -> Html:
    """One panel per metric, one bar per cell; re-ranked scores are hatched and stand below the plain ones."""
    scores = view.scores_in(content.key)
    scored = [row for row in content.rows if row.seeds]
    rows = sorted(scored, key=lambda row: list(view.cells).index(row.cell))
    if len({row.cell for row in rows}) > MANY and any(row.reranking == PLAIN for row in rows):
        rows = [row for row in rows if row.reranking == PLAIN]
    several = len({row.reranking for row in rows}) > 1
    labels = [row.label if row.reranking == PLAIN or not several else "re-ranked" for row in rows]
    with styled():
        figure = new_figure(8.6, 1.0 + 0.34 * len(rows))
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        top = 0.0
        for axes, metric in zip(panels, metrics, strict=True):
            light_grid(axes, "x")
            for y, row in enumerate(rows):
                score = row.scores[metric]
                if score is None:
                    continue
                shade = colour(list(view.cells).index(row.cell))
                plain = row.reranking == PLAIN
                axes.barh(
                    y, 100 * score.mean, 0.66, color=shade, alpha=0.75 if plain else 0.4,
                    hatch=None if plain else "///", edgecolor="white", linewidth=0,
                )  # fmt: skip
                own = scores[(scores.cell == row.cell) & (scores.reranking == row.reranking)]
                values = 100 * own[metric].to_numpy(dtype=float)
                if len(values) > 1:
                    offsets = np.linspace(-0.16, 0.16, len(values))
                    axes.scatter(values, y + offsets, s=16, color="#111111", edgecolor="white", linewidth=0.5, zorder=3)
                reach = float(np.nanmax(values))
                top = max(top, reach)
                axes.annotate(
                    f"{100 * score.mean:.1f}", (reach, y), (6, 0), textcoords="offset points", va="center", fontsize=9
                )
            axes.set_xlabel(f"{SCORES[metric]} (%)")
        for axes in panels:
            axes.set_xlim(0, min(118.0, top * 1.18 if top else 1.0))
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(len(rows) - 0.4, -0.6)
        panels[0].set_yticks(range(len(rows)), labels)
        for tick, row in zip(panels[0].get_yticklabels(), rows, strict=True):
            if several and row.reranking != PLAIN:
                tick.set_color(GREY)
        dots = " Dots: single seeds." if scores.seed.nunique() > 1 else " One seed."
        hatched = " Hatched: re-ranked." if several else ""
        return publish(
            figure, name, f"Scores per cell: {content.title}.{dots}{hatched}{as_sentence(content.key.note)}", out
        )
