"""Scores of features that other programs computed, beside a study's table of the same protocol and images."""

from vireid.core.messages import DASH
from vireid.core.protocol_card import COUNTS
from vireid.core.published import method
from vireid.core.records import EvaluationRecord
from vireid.report.html import Column, Html, table
from vireid.report.records.keys import SCORES, as_sentence, capitalised, grouped
from vireid.report.records.study import StudyView
from vireid.report.tables import ScoreTable


def features_beside(view: StudyView, content: ScoreTable) -> Html:
    """Rows of other methods' features; empty where the store has none under that protocol and of those images.

    How their weights were chosen is not known, so that they share no table with the study's own.
    """
    wanted = content.key.card.without("selection", *COUNTS).key
    seeds = _seeds(view, content)
    found = [
        record
        for record in view.features
        if record.card.without("selection", *COUNTS).key == wanted and record.fingerprint in seeds
    ]
    if not found:
        return Html()
    columns = [Column("Method", text=True), *(Column(name, "%") for name in SCORES.values())]
    columns += [Column(name, text=True) for name in ("Checkpoint", "Images of seeds", "Source")]
    blocks = [
        (capitalised(label), [_row(record, seeds[record.fingerprint]) for record in records])
        for label, records in grouped(found, lambda record: record.card.reranking_label).items()
    ]
    caption = (
        f"{content.title}. Features that other programs computed, scored here on images of this study. They enter no "
        f"effect, difference or mean of it; `vireid compare` pairs them with its fits.{as_sentence(content.key.note)}"
    )
    return table(columns, blocks, caption)


def _seeds(view: StudyView, content: ScoreTable) -> dict[str | None, list[int]]:
    """Seeds of a table's evaluations, by the images that they saw."""
    ids = set(view.scores_in(content.key).evaluation)
    seeds: dict[str | None, set[int]] = {}
    for run in view.trained:
        for evaluation in run.evaluations:
            if evaluation.id in ids and evaluation.fingerprint is not None:
                seeds.setdefault(evaluation.fingerprint, set()).add(run.seed)
    return {fingerprint: sorted(of) for fingerprint, of in seeds.items()}


def _row(record: EvaluationRecord, seeds: list[int]) -> list[str]:
    values = [f"{100 * record.metrics[name]:.1f}" if name in record.metrics else DASH for name in SCORES]
    chosen = record.card.selection or "not stated"
    return [method(record), *values, chosen, ", ".join(map(str, seeds)), record.source.citation or ""]
