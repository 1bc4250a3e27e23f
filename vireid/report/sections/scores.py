"""What a report says first, and its scores: overview, ablation table, bars, and accuracy against cost."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from vireid.bundle.device.choice import pareto_front
from vireid.core.protocol_card import PLAIN
from vireid.core.published import bibtex, method, published_records
from vireid.report.copies import Copies
from vireid.report.figures.canvas import (
    COLUMN,
    GREY,
    PAGE,
    SMALL,
    light_grid,
    new_figure,
    place_labels,
    publish,
    styled,
)
from vireid.report.figures.cells import cell_colour
from vireid.report.html import Column, Html, absent, bullets, join, links, paragraph, saved, table, tag, with_ratio
from vireid.report.page import Report
from vireid.report.paper import cell_tables, numbers
from vireid.report.records.keys import MAIN_SCORES, SCORES, as_sentence
from vireid.report.records.study import StudyView
from vireid.report.sections.features import features_beside
from vireid.report.sections.records import anchor
from vireid.report.tables import (
    COSTS,
    CostColumn,
    Row,
    ScoreTable,
    csv_text,
    label_entry,
    score_entry,
    score_marks,
    score_values,
)
from vireid.statistics.seeds import MIN_SEEDS


def render_overview(report: Report) -> Html:
    """The head of a report."""
    view, plan = report.view, report.view.plan
    pieces = [tag("h1", plan.title)]
    if plan.description:
        pieces.append(paragraph(plan.description, class_="lead"))
    seeds = ", ".join(map(str, plan.seeds))
    named = [f"control {cell.control}" for cell in view.controls]
    named += [name if name == "placebo" else f"placebo {name}" for name in plan.placebo]
    checks = f"; checks: {', '.join(named)}" if named else ""
    facts = [
        f"Design: {plan.design.replace('_', ' ')}, {len(view.design_cells)} cells × {len(plan.seeds)} "
        f"seed{'s' if len(plan.seeds) != 1 else ''} ({seeds}); reference: {view.baseline.label}{checks}.",
        f"Complete: {view.finished} of {len(view.runs)} runs.",
        f"Data: {', '.join(view.data_labels) or 'none yet'}.",
    ]
    pieces.append(bullets(facts))
    if view.note:
        pieces.append(tag("p", tag("strong", view.note.strip()), class_="notice"))
    problems: dict[str, list[str]] = {}
    for run in view.runs:
        if run.problems:
            problems.setdefault("; ".join(run.problems), []).append(f"{run.cell.label}, seed {run.seed}")
    if problems:
        missing = [_folded(names, problem) for problem, names in problems.items()]
        pieces.append(tag("div", paragraph("Missing from this report:"), bullets(missing), class_="warning"))
    if stale := [f"{run.cell.label}, seed {run.seed}" for run in view.runs if run.stale]:
        changed = "Stale: a component has changed since these were measured"
        pieces.append(tag("div", _folded(stale, changed), class_="warning"))
    if view.mixed_sources:
        mixed = f"Runs of this study were made with different sources of {', '.join(view.mixed_sources)}"
        pieces.append(paragraph(f"{mixed}; differences between them may come from that.", class_="warning"))
    text = numbers(view, report.tables(), [*report.families("mAP"), *report.families("r1")])
    copy = report.copy("tables/numbers.tex", text, "numbers.tex")
    pieces.append(saved("Numbers for the text of a paper, as LaTeX macros: ", copy))
    if works := cited_works(view):
        copy = report.copy("tables/references.bib", works, "references.bib")
        pieces.append(saved("Works that its systems come from, as BibTeX: ", copy))
    return join(pieces)


def cited_works(view: StudyView) -> str:
    """BibTeX of the works whose methods a study has trained, as published numbers cite them, and of those whose
    features the store has scores of; empty where none is.
    """
    models = {method(run.fit) for run in view.trained}
    return bibtex([*(record for record in published_records() if method(record) in models), *view.features])


FOLDED = 3  # names that are listed where they stand; more are folded away below their number


def _folded(names: Sequence[str], text: str) -> str:
    """What is true of some runs, with their names: in a line, or as a number above a list that opens."""
    if len(names) <= FOLDED:
        return f"{'; '.join(names)}: {text}"
    return tag("details", tag("summary", f"{len(names)} runs: {text}"), bullets(names))


def render_ablation(report: Report, *, copies: str = "ablation", text: bool = True) -> Html:
    """Copies are ``tables/<copies>-<n>``; without ``text`` only protocols of images alone are shown."""
    pieces = []
    for position, content in enumerate(report.tables(text=text), start=1):
        name = f"{copies}-{position}"
        copied = [
            report.copy(f"tables/{name}.csv", to_csv(content)),
            *report.paper(name, cell_tables(report.view, content, report.columns)),
        ]
        pieces += [tag("h3", content.title), to_html(report.view, content, links(copied))]
        pieces.append(features_beside(report.view, content))
    return join(pieces) if pieces else absent("No scores yet.")


def to_html(view: StudyView, content: ScoreTable, files: str = "") -> Html:
    """The table as the report shows it."""
    columns = [Column("Configuration", text=True), *(Column(name, "%") for name in SCORES.values())]
    columns += [Column(column.name, column.unit) for column in COSTS]
    blocks = []
    for heading, rows in content.blocks():
        marks = score_marks(rows) if not any(row.control for row in rows) else [{}] * len(rows)
        blocks.append((heading, [_ablation_row(view, content, row, of) for row, of in zip(rows, marks, strict=True)]))
    return table(columns, blocks, caption(view, content, "Below each value its difference (of costs the ratio)"), files)


def caption(view: StudyView, content: ScoreTable, differences: str) -> str:
    """What the table shows, how it prints ``differences``, under which condition, and what it may be compared with."""
    block = view.main_block(1) or view.main_block(32)
    sentences = [f"{view.plan.title} – {content.title}, trained on {content.key.trained_on}."]
    if any(row.seeds > 1 for row in content.rows):
        sentences.append("Scores are mean ± standard deviation over seeds.")
    sentences.append(f"{differences} from {view.baseline.label}, paired by seed. Best bold, second underlined.")
    if any(row.control for row in content.rows):
        sentences.append("Controls check the study itself and stand outside its design.")
    if any(0 < row.seeds < MIN_SEEDS for row in content.rows):
        sentences.append(f"Grey differences: fewer than {MIN_SEEDS} seeds, no effect claimed.")
    if block:
        sentences.append(f"Latency is a median: {block.setup}.")
    return " ".join(sentences) + as_sentence(content.key.note)


def _ablation_row(view: StudyView, content: ScoreTable, row: Row, marks: Mapping[str, str]) -> list[str]:
    claims, records = not row.baseline and not row.control, anchor(view, row.cell)
    mark = {"reference": row.baseline, "stale": row.stale}
    entries = [label_entry(row.label, row.seeds, **mark, claims=claims, records=records)]
    entries += [score_entry(row.scores[metric], row.deltas[metric], marks.get(metric, "")) for metric in SCORES]
    for column in COSTS:
        reference = content.reference.costs[column.key] if content.reference and not row.baseline else None
        entries.append(with_ratio(row.costs[column.key], reference, content.decimals(column)))
    return entries


def to_csv(content: ScoreTable) -> str:
    """Numbers at full precision, scores as fractions, one row per cell and re-ranking; every row carries the note."""
    rows = []
    for row in content.rows:
        entries: dict[str, object] = {
            "configuration": row.label,
            "baseline": row.baseline,
            "control": row.control,
            "reranking": row.reranking,
            "seeds": row.seeds,
        }
        for metric in SCORES:
            entries |= score_values(metric, row.scores[metric], row.deltas[metric])
        entries |= {**row.costs, "stale": row.stale, "protocol": content.title}
        entries |= {"accelerator": content.key.accelerator, "data": content.key.note or content.key.data}
        rows.append(entries)
    return csv_text(rows)


MANY = 10  # cells; with more of them re-ranked scores stand in the table alone


def render_scores(report: Report, *, text: bool = True) -> Html:
    """One figure per protocol; without ``text`` only protocols of images alone are drawn."""
    tables = enumerate(report.tables(text=text), start=1)
    drawn = [bars(report.view, content, report.copies, f"scores-{position}") for position, content in tables]
    return join(drawn) if drawn else absent("No scores yet.")


def bars(
    view: StudyView, content: ScoreTable, out: Copies, name: str, metrics: tuple[str, ...] = tuple(MAIN_SCORES)
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
        figure = new_figure(PAGE, 0.7 + 0.21 * len(rows))
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        top = 0.0
        for axes, metric in zip(panels, metrics, strict=True):
            light_grid(axes, "x")
            for y, row in enumerate(rows):
                score = row.scores[metric]
                if score is None:
                    continue
                shade = cell_colour(view, row.cell)
                plain = row.reranking == PLAIN
                axes.barh(
                    y, 100 * score.mean, 0.66, color=shade, alpha=0.75 if plain else 0.4,
                    hatch=None if plain else "///", edgecolor="white", linewidth=0,
                )  # fmt: skip
                of_row = scores[(scores.cell == row.cell) & (scores.reranking == row.reranking)]
                values = 100 * of_row[metric].to_numpy(dtype=float)
                if len(values) > 1:
                    offsets = np.linspace(-0.16, 0.16, len(values))
                    axes.scatter(values, y + offsets, s=8, color="#111111", edgecolor="white", linewidth=0.5, zorder=3)
                reach = float(np.nanmax(values))
                top = max(top, reach)
                axes.annotate(
                    f"{100 * score.mean:.1f}", (reach, y), (5, 0),
                    textcoords="offset points", va="center", fontsize=SMALL,
                )  # fmt: skip
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


SAME_COST = 0.01  # costs within this share of each other say nothing against an accuracy
MANY_POINTS = 8  # cells; with more of them whiskers would hide the points
ALL_NAMED = 12  # cells; with more of them names would


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


def tradeoff(view: StudyView, content: ScoreTable, cost: CostColumn, out: Copies, name: str) -> Html:
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
    if len(rows) > 1 and max(x for x, _ in points) <= (1 + SAME_COST) * min(x for x, _ in points):
        return absent(f"No figure of accuracy against {cost.in_text}: it is the same for all configurations.")
    front = pareto_front(points)
    many = len(rows) > MANY_POINTS
    colours = [cell_colour(view, row.cell) for row in rows]
    with styled():
        figure = new_figure(0.8 * PAGE, 3.4) if many else new_figure(COLUMN, 2.5)
        axes = figure.add_subplot()
        light_grid(axes, "both")
        covered: list[tuple[float, float]] = []
        for row, (x, y), shade in zip(rows, points, colours, strict=True):
            score = row.scores["mAP"]
            if score is not None and score.sd is not None and not many:
                covered += [(x, y + step) for step in np.linspace(-100 * score.sd, 100 * score.sd, 9)]
                axes.errorbar(x, y, yerr=100 * score.sd, color=shade, capsize=2, linewidth=0.9, zorder=2)
            axes.scatter(x, y, s=24, color=shade, edgecolor="white", linewidth=0.8, zorder=3)
        axes.set_xlabel(f"{cost.name} ({cost.unit})")
        axes.set_ylabel("mAP (%)")
        axes.margins(x=0.22, y=0.22)
        left, right = axes.get_xlim()
        axes.set_xlim(max(0.0, left), right)
        line = staircase([points[i] for i in front])
        line.append((right, line[-1][1]))
        axes.plot(*zip(*line, strict=True), color=GREY, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
        covered += along(line)
        named = [n for n, row in enumerate(rows) if len(rows) <= ALL_NAMED or n in front or row.baseline]
        covered += [point for n, point in enumerate(points) if n not in named]
        place_labels(axes, [points[n] for n in named], [rows[n].label for n in named], covered)
        spread = " Whiskers: standard deviation over seeds." if any(row.seeds > 1 for row in rows) else ""
        if many:
            few = "" if len(named) == len(rows) else "; named are the baseline and the front"
            spread = f" One point per configuration{few}."
        block = view.main_block(1)
        remarks = f" Latency: {block}." if cost.key == "latency" and block else ""
        missing = [row.label for row in scored if row not in rows]
        remarks += f" Not drawn, as their {cost.in_text} was not measured: {', '.join(missing)}." if missing else ""
        caption = (
            f"Accuracy against {cost.in_text}: {content.title}, {shown}. Dashed: Pareto front, "
            f"the cells that no other cell beats on both.{spread}{remarks}{as_sentence(content.key.note)}"
        )
        return publish(figure, name, caption, out)


def render_accuracy_against_cost(report: Report, *, text: bool = True) -> Html:
    """Of the first protocol; without ``text`` the first of images alone."""
    tables = report.tables(text=text)
    if not tables:
        return absent("No scores yet.")
    costs = {column.key: column for column in COSTS}
    return join(tradeoff(report.view, tables[0], costs[k], report.copies, f"tradeoff-{k}") for k in ("latency", "macs"))
