"""Where scores scatter: between the levels of a random factor (data sets, say), between seeds, and beyond both."""

from dataclasses import dataclass

from vireid.core.protocol_card import PLAIN
from vireid.report.effects.estimate import other_levels
from vireid.report.effects.phrases import Names
from vireid.report.html import Column, Html, join, paragraph, table, tag
from vireid.report.page import Report
from vireid.report.records.keys import MAIN_SCORES, AccuracyKey, p_text
from vireid.report.records.study import StudyView
from vireid.statistics.components import Components, components


@dataclass(frozen=True)
class Scatter:
    """Variance components of one score under one protocol: rows are levels of a random factor, columns seeds."""

    factor: str  # as tables call it
    key: AccuracyKey
    score: str
    parts: Components

    @property
    def sentence(self) -> str:
        """The standard deviations in words."""
        levels, seeds = self.parts.shape
        rows, columns, rest = (f"{100 * value:.1f}" for value in (self.parts.rows, self.parts.columns, self.parts.rest))
        return (
            f"{self.score} scatters by {rows} points between {levels} levels of {self.factor}, by {columns} between "
            f"{seeds} seeds and by {rest} beyond both (standard deviations; {self.key.title}, no re-ranking)."
        )


def scatters(view: StudyView) -> list[Scatter]:
    """Of every random factor, under every protocol; of none where a study has no random factor."""
    names, found = Names(view), []
    for factor in view.plan.random:
        cells = [
            cell.name
            for cell in view.design_cells
            if other_levels(view, cell, factor) == other_levels(view, view.baseline, factor)
        ]
        for key in view.keys:
            scores = view.scores_in(key)
            kept = scores[scores.cell.isin(cells) & (scores.reranking == PLAIN)]
            for metric, label in MAIN_SCORES.items():
                values = kept.pivot_table(index="cell", columns="seed", values=metric).dropna(axis=1)
                parts = components(values.to_numpy(dtype=float))
                if parts is not None:
                    found.append(Scatter(names.factor(factor), key, label, parts))
    return found


def scatter_sentences(view: StudyView) -> list[str]:
    """For a summary: of the first protocol."""
    found = scatters(view)
    return [scatter.sentence for scatter in found if scatter.key == found[0].key]


def render_scatter(report: Report) -> Html:
    """One row per random factor, protocol and metric; empty for a study without a random factor."""
    rows = []
    for scatter in scatters(report.view):
        parts = scatter.parts
        deviations = [f"{100 * value:.1f}" for value in (parts.rows, parts.columns, parts.rest)]
        size = f"{parts.shape[0]} × {parts.shape[1]}"
        tests = [p_text(parts.p_rows), p_text(parts.p_columns)]
        rows.append([scatter.factor, scatter.key.title, scatter.score, size, *deviations, *tests])
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
            table(columns, [("", rows)], f"Standard deviations in percentage points.{report.view.note}"),
            paragraph(rule, class_="method"),
        ]
    )
