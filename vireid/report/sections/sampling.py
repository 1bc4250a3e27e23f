"""Test sampling: each configuration against the baseline at one seed, identities resampled."""

import pandas as pd

from vireid.report.html import Column, Html, absent, table
from vireid.report.numbers import signed
from vireid.report.page import Report
from vireid.report.records.keys import AccuracyKey
from vireid.report.records.labels import MAIN_SCORES
from vireid.report.records.study import StudyView
from vireid.statistics.bootstrap import DRAWS, Interval
from vireid.statistics.queries import LABEL, resampled_difference


def render(report: Report) -> Html:
    """Paired differences from the baseline at the first seed under each protocol, with percentile intervals."""
    view, blocks = report.view, []
    identities: set[int] = set()
    for key in view.keys:
        for reranking, tables in _tables(view, key).items():
            reference = tables.pop(view.baseline.name, None)
            if reference is None or not tables:
                continue
            rows = []
            for cell, queries in tables.items():
                changes = [resampled_difference(reference, queries, metric) for metric in MAIN_SCORES]
                identities |= {change.identities for change in changes}
                rows.append([view.cells[cell].label, *map(_entry, changes)])
            blocks.append((f"{key.title}, {reranking}, trained on {key.accelerator}", rows))
    if not blocks:
        return absent("No per-query tables of two configurations at the first seed.")
    columns = [Column("Configuration", text=True), *(Column(name, "points") for name in MAIN_SCORES.values())]
    caption = (
        f"Difference from {view.baseline.label} at seed {view.plan.seeds[0]}, with its 95 % percentile interval over "
        f"{DRAWS:,} resamples of {', '.join(map(str, sorted(identities)))} identities, the same for both runs: {LABEL}."
    )
    return table(columns, blocks, caption + view.note)


def _tables(view: StudyView, key: AccuracyKey) -> dict[str, dict[str, pd.DataFrame]]:
    """Per-query tables of the design's cells at the first seed: re-ranking -> cell -> table."""
    tables: dict[str, dict[str, pd.DataFrame]] = {}
    for run in view.trained:
        if run.seed == view.plan.seeds[0] and run.cell.control is None:
            for evaluation in run.evaluations:
                queries = view.per_query(evaluation) if AccuracyKey.in_study(run.fit, evaluation) == key else None
                if queries is not None:
                    tables.setdefault(evaluation.card.reranking_label, {})[run.cell.name] = queries
    return tables


def _entry(change: Interval) -> str:
    """``"+2.1 [1.2, 3.0]"``, in points of percent."""
    low, high = (signed(100 * value).lstrip("+±") for value in (change.low, change.high))
    return f"{signed(100 * change.value)} [{low}, {high}]"
