"""Ranks of systems over seeds, with the critical-difference figure."""

from vireid.core.protocol_card import PLAIN
from vireid.report.copies import Copies
from vireid.report.figures.canvas import GREY, PAGE, new_figure, publish, styled
from vireid.report.html import Html, absent, join, paragraph, tag
from vireid.report.page import Report
from vireid.report.records.keys import AccuracyKey, as_sentence, p_text
from vireid.report.records.study import StudyView
from vireid.statistics.ranks import MIN_BLOCKS, MIN_SYSTEMS, Ranking, ranking

_STEP = 0.125  # inches between two labels, and between two bars


def render_ranks(report: Report) -> Html:
    """One figure per protocol, plain scores; refused where seeds are too few."""
    view, pieces = report.view, []
    design = [cell.name for cell in view.design_cells]
    for position, key in enumerate(view.keys, start=1):
        rows = view.scores_in(key)
        found = ranking(rows[rows.cell.isin(design) & (rows.reranking == PLAIN)], "mAP")
        if found is not None:
            pieces += [tag("h3", key.title), paragraph(rank_sentence(found, view))]
            pieces.append(critical_difference(found, view, key, report.copies, f"ranks-{position}"))
    if not pieces:
        return absent(
            f"Ranks need {MIN_BLOCKS} seeds at which each of {MIN_SYSTEMS} systems or more has a score: with fewer no "
            "difference between them could be shown."
        )
    rule = (
        "Every seed ranks the systems by mAP. Friedman's test as Iman and Davenport corrected it asks whether any "
        "differs; Nemenyi's critical difference holds for all pairs at once (Demšar, JMLR 2006), and is wider than the "
        "paired intervals against one reference."
    )
    return join([*pieces, paragraph(rule, class_="method")])


def rank_sentence(found: Ranking, view: StudyView) -> str:
    """Which systems lead, and whether ranks differ at all."""
    best = next(iter(found.ranks))
    level = [view.cells[name].label for name in found.ranks if found.ranks[name] - found.ranks[best] <= found.critical]
    systems = len(found.ranks)
    test = (
        f"Friedman: F({systems - 1}, {(systems - 1) * (found.blocks - 1)}) = {found.statistic:.1f}, p {p_text(found.p)}"
    )
    return (
        f"{test} over {found.blocks} seeds. Not told apart from the first by rank: {', '.join(level[1:]) or 'none'}. "
        f"First: {level[0]}, mean rank {found.ranks[best]:.1f}; critical difference {found.critical:.1f}."
    )


def critical_difference(found: Ranking, view: StudyView, key: AccuracyKey, out: Copies, name: str) -> Html:
    """Mean ranks on an axis, the best to the left; a bar joins systems that lie within the critical difference."""
    names, half = list(found.ranks), (len(found.ranks) + 1) // 2
    with styled():
        figure = new_figure(PAGE * 0.8, 0.9 + _STEP * (2 * half + len(found.cliques)))
        axes = figure.subplots()
        axes.set_xlim(1, len(names))
        axes.xaxis.tick_top()
        axes.set_yticks([])
        for side in ("left", "bottom", "right"):
            axes.spines[side].set_visible(False)
        axes.spines["top"].set_visible(True)
        bars = len(found.cliques)
        depth = bars + 2 * half + 1
        axes.set_ylim(depth, 0)
        for level, clique in enumerate(found.cliques, start=1):
            ends = [found.ranks[clique[0]] - 0.03, found.ranks[clique[-1]] + 0.03]
            axes.plot(ends, [level, level], color="#222222", linewidth=2.4, solid_capstyle="round", clip_on=False)
        for position, system in enumerate(names):
            left = position < half
            row = bars + 2 * (position if left else len(names) - 1 - position) + 1.5
            rank = found.ranks[system]
            edge = 1 if left else len(names)
            axes.plot([rank, rank, edge], [0, row, row], color=GREY, linewidth=0.9, clip_on=False)
            axes.annotate(
                f"{view.cells[system].label} ({rank:.1f})", (edge, row), (-4 if left else 4, 0),
                textcoords="offset points", ha="right" if left else "left", va="center", annotation_clip=False,
            )  # fmt: skip
        caption = (
            f"Mean rank by mAP over {found.blocks} seeds, best to the left: {key.title}, {PLAIN}, trained on "
            f"{key.trained_on}. Systems under one bar lie within the critical difference of {found.critical:.1f} "
            f"(Nemenyi, 5 %).{as_sentence(key.note)}"
        )
        return publish(figure, name, caption, out)
