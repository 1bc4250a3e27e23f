"""What corrupted images cost: each configuration on images as they are and on corrupted ones, and the relative drop.

The *relative drop* of a metric is (clean − corrupted) ÷ clean, seed by seed, as the corruption-invariance benchmark
(Chen et al., NeurIPS 2021) and ``vireid robustness`` have it. Scores of corrupted images stand in no other table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from vireid.core.messages import DASH
from vireid.core.protocol_card import PLAIN, ProtocolCard
from vireid.report.html import Column, Html, join, saved, table, tag
from vireid.report.page import Report
from vireid.report.records.keys import MAIN_SCORES, AccuracyKey, as_sentence, interval, seeds_phrase
from vireid.report.records.study import StudyView
from vireid.report.tables import csv_text, score_entry
from vireid.statistics.seeds import MIN_SEEDS, Difference, Summary, difference, summary


@dataclass(frozen=True)
class CorruptedRow:
    """A configuration under one protocol, without re-ranking, over the seeds that have both scores."""

    key: AccuracyKey  # of the corrupted images
    cell: str
    label: str
    clean: dict[str, Summary]
    corrupted: dict[str, Summary]
    drop: dict[str, Difference]  # of fractions: 0.3 where three tenths of the score are lost


def corrupted_rows(view: StudyView) -> list[CorruptedRow]:
    """Every configuration that was evaluated on corrupted images, protocol by protocol."""
    rows: list[CorruptedRow] = []
    for key in view.keys:
        if key.card.corruption is None:
            continue
        card = ProtocolCard.model_validate(key.card.without("corruption").entries)
        frames = [_plain(view.scores_in(one)) for one in (replace(key, card=card), key)]
        rows += filter(None, (_row(key, cell.name, cell.label, *frames) for cell in view.design_cells))
    return rows


def _plain(scores: pd.DataFrame) -> pd.DataFrame:
    return scores[scores.reranking == PLAIN]


def _row(key: AccuracyKey, cell: str, label: str, clean: pd.DataFrame, corrupted: pd.DataFrame) -> CorruptedRow | None:
    both = clean[clean.cell == cell].merge(corrupted[corrupted.cell == cell], on="seed", suffixes=("", "_corrupted"))
    if both.empty:
        return None
    sides: tuple[dict[str, Summary], dict[str, Summary]] = ({}, {})
    drop: dict[str, Difference] = {}
    for metric in MAIN_SCORES:
        before, after = both[metric], both[f"{metric}_corrupted"]
        for side, values in zip(sides, (before, after), strict=True):
            if (mean := summary([float(value) for value in values])) is not None:
                side[metric] = mean
        lost = ((before - after) / before)[before > 0]
        if (change := difference([float(value) for value in lost])) is not None:
            drop[metric] = change
    return CorruptedRow(key, cell, label, *sides, drop)


def render_corruptions(report: Report) -> Html:
    """A table for each protocol with corrupted images, with a CSV copy and its heading; empty where there is none."""
    rows = corrupted_rows(report.view)
    if not rows:
        return Html()
    pieces = [tag("h2", "Corrupted images", id="corrupted")]
    for key in dict.fromkeys(row.key for row in rows):
        pieces += [tag("h3", key.title), _table(key, [row for row in rows if row.key == key])]
    return join([*pieces, saved("All of these as ", report.copy("tables/corruptions.csv", to_csv(rows)))])


def _table(key: AccuracyKey, rows: Sequence[CorruptedRow]) -> Html:
    columns = [Column("Configuration", text=True)]
    for name in MAIN_SCORES.values():
        columns += [Column(name, "%, clean"), Column(name, "%, corrupted"), Column(f"Drop of {name}", "% of clean")]
    caption = (
        f"{key.title}, no re-ranking. Clean: the same protocol on images as they are, also in the tables above. Drop: "
        "(clean − corrupted) ÷ clean, seed by seed, with a 95 % interval over seeds; negative where corruption helps. "
        f"Kinds and severities are the same for all configurations of a seed.{as_sentence(key.note)}"
    )
    return table(columns, [("", [_entries(row) for row in rows])], caption)


def _entries(row: CorruptedRow) -> list[str]:
    seeds = max((score.n for score in row.clean.values()), default=0)
    few = seeds < MIN_SEEDS
    note = seeds_phrase(seeds) if few else f"{seeds} seeds"
    entries: list[str] = [tag("span", row.label, tag("small", note, class_="unclaimed" if few else "seeds"))]
    for metric in MAIN_SCORES:
        change = row.drop.get(metric)
        lost = DASH if change is None else f"{100 * change.mean:.1f} {interval(change)}".rstrip()
        entries += [score_entry(row.clean.get(metric)), score_entry(row.corrupted.get(metric)), lost]
    return entries


def to_csv(rows: Sequence[CorruptedRow]) -> str:
    """Scores and drops at full precision, as fractions; every row names protocol and data."""
    entries = []
    for row in rows:
        for metric, change in row.drop.items():
            clean, corrupted = row.clean[metric], row.corrupted[metric]
            entry: dict[str, object] = {"configuration": row.label, "metric": metric, "seeds": clean.n}
            entry |= {
                "clean": clean.mean,
                "clean_sd": clean.sd,
                "corrupted": corrupted.mean,
                "corrupted_sd": corrupted.sd,
            }
            entry |= {"drop": change.mean, "low": change.low, "high": change.high}
            entries.append({**entry, "protocol": row.key.title, "data": row.key.note or row.key.data})
    return csv_text(entries)
