"""Checks of a study on itself: controls beside the chance level, placebos against zero."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vireid.core.records import EvaluationRecord
from vireid.report.bootstrap import LABEL, resampled_score
from vireid.report.chance import Chance, chance_level
from vireid.report.effects import Family, Names, sentence
from vireid.report.html import Column, Content, Fragment, Rows, bullets, join, paragraph, table, tag
from vireid.report.load import Setting, StudyView, setting_of
from vireid.report.protocols import PLAIN, protocol_title, reranking_label
from vireid.report.sampling import per_query
from vireid.report.statistics import MIN_SEEDS, half_width

METRICS = {"r1": "R1", "mAP": "mAP"}


@dataclass(frozen=True)
class ControlScore:
    """A control's score beside its chance level, as fractions."""

    metric: str
    seeds: int
    mean: float
    chance: float
    low: float
    high: float
    over: str  # what the interval is taken over: seeds or, below three of them, identities of the first run

    @property
    def at_chance(self) -> bool:
        """Whether the interval holds the chance level."""
        return self.low <= self.chance <= self.high


@dataclass(frozen=True)
class ControlResult:
    """One control in one setting and re-ranking."""

    control: str
    setting: Setting
    reranking: str
    scores: tuple[ControlScore, ...]
    basis: str  # what the chance level was computed from


def control_results(view: StudyView) -> list[ControlResult]:
    """Every control that has been measured, with what chance would give on the same queries."""
    found: dict[tuple[str, Setting, str], list[EvaluationRecord]] = {}
    for run in view.runs:
        if run.fit is None or run.cell.control is None:
            continue
        for evaluation in run.evaluations:
            key = (run.cell.control, setting_of(run.fit, evaluation), reranking_label(evaluation.protocol))
            found.setdefault(key, []).append(evaluation)
    results = []
    for (control, setting, reranking), evaluations in found.items():
        tables = {record.id: queries for record in evaluations if (queries := per_query(view, record)) is not None}
        present = [record for record in evaluations if record.id in tables]
        if present:
            levels = [chance_level(tables[record.id], record) for record in present]
            scores = [_score(metric, present, levels, tables[present[0].id]) for metric in METRICS]
            basis = " or ".join(dict.fromkeys(level.basis for level in levels))
            results.append(ControlResult(control, setting, reranking, tuple(s for s in scores if s), basis))
    return results


def _score(
    metric: str, records: Sequence[EvaluationRecord], levels: Sequence[Chance], first: pd.DataFrame
) -> ControlScore | None:
    """One metric of a control's runs; ``first`` is the per-query table of the first of them."""
    expected = [level.r1 if metric == "r1" else level.mean_ap for level in levels]
    known = [value for value in expected if value is not None]
    if len(known) < len(levels):
        return None
    values = [record.metrics[metric] for record in records]
    mean, chance, n = float(np.mean(values)), float(np.mean(known)), len(values)
    if n < MIN_SEEDS:
        one = resampled_score(first, metric)
        return ControlScore(
            metric, n, one.mean, known[0], one.low, one.high, f"first of {n} seed{'s' if n > 1 else ''}: {LABEL}"
        )
    half = half_width(float(np.std(values, ddof=1)) / math.sqrt(n), n - 1)
    return ControlScore(metric, n, mean, chance, mean - half, mean + half, f"{n} seeds, Student t")


def control_sentence(result: ControlResult) -> str:
    """``"Shuffled identities: R1 2.1 % [1.8, 2.4], chance 2.0 %: sits at chance: yes; …"``."""
    parts = [
        f"{METRICS[s.metric]} {100 * s.mean:.1f} % [{100 * s.low:.1f}, {100 * s.high:.1f}], "
        f"chance {100 * s.chance:.1f} %, sits at chance: {'yes' if s.at_chance else 'NO'}"
        for s in result.scores
    ]
    return f"{result.control[:1].upper()}{result.control[1:]}: {'; '.join(parts)}"


def controls_section(view: StudyView, found: Sequence[Family]) -> Fragment:
    """Controls beside chance, and placebos; empty for a study without either."""
    results = control_results(view)
    pieces: list[Content] = []
    if results:
        blocks = [Rows(heading, rows) for heading, rows in _rows(results).items()]
        columns = [Column("Control", text=True), Column("Metric", text=True), Column("Score", "%")]
        columns += [Column("Interval", "95 %"), Column("Chance", "%"), Column("At chance"), Column("Over", text=True)]
        caption = (
            "Controls are the baseline with one thing destroyed. They are no part of the design and enter no effect. "
            f"Chance is the expectation of a random ranking of the same queries, {results[0].basis}."
        )
        pieces.append(bullets(control_sentence(result) for result in results if result.reranking == PLAIN))
        pieces.append(table(columns, blocks, caption + view.note))
    elif view.controls:
        absent = ", ".join(str(cell.control) for cell in view.controls)
        pieces.append(paragraph(f"Not measured yet: {absent}.", class_="absent"))
    names = Names(view)
    placebos = [(family, effect) for family in found for effect in family.effects if effect.placebo]
    if placebos:
        lines = [
            f"{protocol_title(json.loads(family.setting.protocol))}, {family.reranking}: {sentence(effect, names)}"
            for family, effect in placebos
        ]
        words = "A placebo changes nothing but random draws. An interval of 95 % misses zero once in twenty by itself."
        pieces += [bullets(lines), paragraph(words, class_="method")]
    return join(pieces)


def _rows(results: Sequence[ControlResult]) -> dict[str, list[list[Content]]]:
    blocks: dict[str, list[list[Content]]] = {}
    for result in results:
        title = protocol_title(json.loads(result.setting.protocol))
        rows = blocks.setdefault(f"{title}, {result.reranking}, trained on {result.setting.accelerator}", [])
        for score in result.scores:
            verdict: Content = "yes" if score.at_chance else tag("strong", "no", class_="bad")
            rows.append(
                [
                    result.control,
                    METRICS[score.metric],
                    f"{100 * score.mean:.1f}",
                    f"[{100 * score.low:.1f}, {100 * score.high:.1f}]",
                    f"{100 * score.chance:.1f}",
                    verdict,
                    score.over,
                ]
            )
    return blocks
