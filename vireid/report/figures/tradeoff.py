"""Accuracy against cost, with the Pareto front: which cells no other cell beats on both."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vireid.bundle.device.choice import pareto_front
from vireid.core.protocol_card import PLAIN
from vireid.report.figures.canvas import GREY, colour, light_grid, new_figure, publish, styled
from vireid.report.figures.labels import place_labels
from vireid.report.html import Html, absent
from vireid.report.records.labels import as_sentence
from vireid.report.records.study import StudyView
from vireid.report.tables import CostColumn, ScoreTable

MANY = 8  # cells; with more of them whiskers and all names would hide the points


def staircase(front: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners of the border of what the front beats: level until the next cell, then up."""
    corners = [front[0]]
    for x, y in front[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    return corners


def along(line: Sequence[tuple[float, float]], steps: int = 40) -> list[tuple[float, float]]:
    """Points close together on a line of corners."""
    pieces = [np.linspace(start, end, steps) for start, end in itertools.pairwise(line)]
    return [(float(x), float(y)) for piece in pieces for x, y in piece]


def tradeoff(view: StudyView, content: ScoreTable, cost: CostColumn, out: Path, name: str) -> Html:
    """Scatter of mAP over a cost, one point per cell; plain scores if there are any, else re-ranked ones."""
    blocks = list(dict.fromkeys(row.reranking for row in content.rows))
    shown = PLAIN if PLAIN in blocks else blocks[0] if blocks else ""
    scored = [
        row for row in content.rows if row.reranking == shown and not row.control and row.scores["mAP"] is not None
    ]
    rows = [row for row in scored if row.costs[cost.key] is not None]
    if not rows:
        return absent(f"No cell has both a score and a measured {cost.in_text} yet.")
    points = [(row.costs[cost.key] or 0.0, 100 * score.mean) for row in rows if (score := row.scores["mAP"])]
    front = pareto_front(points)
    many = len(rows) > MANY
    order = list(view.cells)
    colours = [colour(order.index(row.cell)) for row in rows]
    with styled():
        figure = new_figure(7.4, 4.3)
        axes = figure.add_subplot()
        light_grid(axes, "both")
        covered: list[tuple[float, float]] = []
        for row, (x, y), shade in zip(rows, points, colours, strict=True):
            score = row.scores["mAP"]
            if score is not None and score.sd is not None and not many:
                covered += [(x, y + step) for step in np.linspace(-100 * score.sd, 100 * score.sd, 9)]
                axes.errorbar(x, y, yerr=100 * score.sd, color=shade, capsize=3, linewidth=1.2, zorder=2)
            axes.scatter(x, y, s=52, color=shade, edgecolor="white", linewidth=0.8, zorder=3)
        axes.set_xlabel(f"{cost.name} ({cost.unit})")
        axes.set_ylabel("mAP (%)")
        axes.margins(x=0.22, y=0.22)
        left, right = axes.get_xlim()
        axes.set_xlim(max(0.0, left), right)
        line = staircase([points[i] for i in front])
        line.append((right, line[-1][1]))
        axes.plot(*zip(*line, strict=True), color=GREY, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
        covered += along(line)
        named = [n for n, row in enumerate(rows) if not many or n in front or row.baseline]
        covered += [point for n, point in enumerate(points) if n not in named]
        place_labels(axes, [points[n] for n in named], [rows[n].label for n in named], covered)
        spread = " Whiskers: standard deviation over seeds." if any(row.seeds > 1 for row in rows) else ""
        if many:
            spread = " One point per configuration; named are the baseline and the front."
        block = view.main_block(1)
        remarks = f" Latency: {block}." if cost.key == "latency" and block else ""
        missing = [row.label for row in scored if row not in rows]
        remarks += f" Not drawn, as their {cost.in_text} was not measured: {', '.join(missing)}." if missing else ""
        caption = (
            f"Accuracy against {cost.in_text}: {content.title}, {shown}. Dashed: Pareto front, "
            f"the cells that no other cell beats on both.{spread}{remarks}{as_sentence(content.key.note)}"
        )
        return publish(figure, name, caption, out)
