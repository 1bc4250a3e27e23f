"""Section on test sampling: each configuration against the baseline at one seed, identities resampled."""

from __future__ import annotations

import json

import pandas as pd

from vireid.core.records import EvaluationRecord
from vireid.report.bootstrap import DRAWS, LABEL, Resampled, resampled_difference
from vireid.report.html import Column, Content, Fragment, Rows, paragraph, table
from vireid.report.load import Setting, StudyView, setting_of
from vireid.report.protocols import protocol_title, reranking_label
from vireid.report.statistics import signed

METRICS = {"r1": "R1", "mAP": "mAP"}


def sampling_table(view: StudyView) -> Fragment:
    """Paired differences from the baseline at the first seed of each setting, with percentile intervals."""
    blocks: list[Rows] = []
    identities: set[int] = set()
    for setting in view.settings:
        for reranking, found in _tables(view, setting).items():
            reference = found.pop(view.baseline.name, None)
            if reference is None or not found:
                continue
            rows: list[list[Content]] = []
            for cell, queries in found.items():
                changes = {metric: resampled_difference(reference, queries, metric) for metric in METRICS}
                identities |= {change.identities for change in changes.values()}
                rows.append([view.cells[cell].label, *(words(changes[metric]) for metric in METRICS)])
            title = protocol_title(json.loads(setting.protocol))
            blocks.append(Rows(f"{title}, {reranking}, trained on {setting.accelerator}", rows))
    if not blocks:
        return paragraph("No per-query tables of two configurations at the first seed.", class_="absent")
    columns = [Column("Configuration", text=True), *(Column(name, "points") for name in METRICS.values())]
    caption = (
        f"Difference from {view.baseline.label} at seed {view.plan.seeds[0]}, with its 95 % percentile interval over "
        f"{DRAWS:,} resamples of {', '.join(map(str, sorted(identities)))} identities, the same for both runs: {LABEL}."
    )
    return table(columns, blocks, caption + view.note)


def _tables(view: StudyView, setting: Setting) -> dict[str, dict[str, pd.DataFrame]]:
    """Per-query tables of the design's cells at the first seed: re-ranking -> cell -> table."""
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for run in view.runs:
        if run.fit is None or run.seed != view.plan.seeds[0] or run.cell.control is not None:
            continue
        for evaluation in run.evaluations:
            queries = per_query(view, evaluation) if setting_of(run.fit, evaluation) == setting else None
            if queries is not None:
                found.setdefault(reranking_label(evaluation.protocol), {})[run.cell.name] = queries
    return found


def per_query(view: StudyView, evaluation: EvaluationRecord) -> pd.DataFrame | None:
    """The per-query table of an evaluation; None where it does not lie beside the record.

    Raises:
        UserError: the table is not the one that the record speaks of.
    """
    file = evaluation.per_query_file
    return view.store.per_query(evaluation) if file is not None and (view.store.runs / file).is_file() else None


def words(change: Resampled) -> str:
    """``"+2.1 [1.2, 3.0]"``, in points of percent."""
    low, high = (signed(100 * value).lstrip("+±") for value in (change.low, change.high))
    return f"{signed(100 * change.mean)} [{low}, {high}]"
