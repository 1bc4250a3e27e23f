"""Where scores scatter: between the levels of a random factor (data sets, say), between seeds, and beyond both."""

from vireid.core.protocol_card import PLAIN
from vireid.report.effects.estimate import other_levels
from vireid.report.effects.phrases import Names
from vireid.report.html import Column, Html, join, paragraph, table, tag
from vireid.report.page import Report
from vireid.report.records.keys import MAIN_SCORES, p_text
from vireid.statistics.components import components


def render_scatter(report: Report) -> Html:
    """One row per random factor, protocol and metric; empty for a study without a random factor."""
    view, names, rows = report.view, Names(report.view), []
    for factor in view.plan.random:
        cells = [
            cell
            for cell in view.design_cells
            if other_levels(view, cell, factor) == other_levels(view, view.baseline, factor)
        ]
        for key in view.keys:
            scores = view.scores_in(key)
            kept = scores[scores.cell.isin([cell.name for cell in cells]) & (scores.reranking == PLAIN)]
            for metric, label in MAIN_SCORES.items():
                values = kept.pivot_table(index="cell", columns="seed", values=metric).dropna(axis=1)
                found = components(values.to_numpy(dtype=float))
                if found is None:
                    continue
                deviations = [f"{100 * value:.1f}" for value in (found.rows, found.columns, found.rest)]
                size = f"{found.shape[0]} × {found.shape[1]}"
                tests = [p_text(found.p_rows), p_text(found.p_columns)]
                rows.append([names.factor(factor), key.title, label, size, *deviations, *tests])
    if not rows:
        return Html("")
    columns = [Column("Factor", text=True), Column("Protocol", text=True), Column("Metric", text=True)]
    columns += [Column("Levels × seeds"), Column("Between levels", "SD, points"), Column("Between seeds", "SD, points")]
    columns += [Column("Rest", "SD, points"), Column("p", "levels"), Column("p", "seeds")]
    rule = (
        "Levels of a random factor are drawn, not chosen, so none is compared with another: their variance is "
        "estimated beside that of seeds, from all levels at all seeds (method of moments; F tests against the rest, "
        "which holds what levels and seeds do together)."
    )
    return join(
        [
            tag("h2", "Where scores scatter"),
            table(columns, [("", rows)], f"Standard deviations in percentage points.{view.note}"),
            paragraph(rule, class_="method"),
        ]
    )
