"""Checks of a study on itself: controls beside chance, placebos against zero, and test sampling of one seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from vireid.core.protocol_card import PLAIN
from vireid.core.records import EvaluationRecord
from vireid.report.effects.phrases import Names, sentence
from vireid.report.html import Column, Html, absent, bullets, join, paragraph, table, tag
from vireid.report.page import Report
from vireid.report.records.keys import MAIN_SCORES, AccuracyKey, capitalised, points, seeds_phrase, signed
from vireid.report.records.study import StudyView
from vireid.statistics.bootstrap import DRAWS, Interval
from vireid.statistics.chance import Chance, chance_level
from vireid.statistics.queries import LABEL, resampled_difference, resampled_score, same_queries
from vireid.statistics.seeds import MIN_SEEDS, Difference, difference, half_width, paired


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
    beyond: Difference | None = None  # less the score without learning, paired by seed

    @property
    def at_chance(self) -> bool:
        """Whether the interval holds the chance level."""
        return self.low <= self.chance <= self.high

    @property
    def passes(self) -> bool:
        """Whether nothing was learnt that helps: at chance, or no better than without learning."""
        return self.at_chance or (self.beyond is not None and self.beyond.low is not None and self.beyond.low <= 0)

    @property
    def verdict(self) -> str:
        """``"at chance"``, ``"no better than without learning"`` or the opposite in capitals."""
        if self.at_chance:
            return "at chance"
        return "no better than without learning" if self.passes else "NOT at chance"


@dataclass(frozen=True)
class ControlResult:
    """One control under one protocol and re-ranking."""

    control: str
    key: AccuracyKey
    reranking: str
    scores: tuple[ControlScore, ...]
    basis: str  # what the chance level was computed from
    untrained: bool = False  # the control in which nothing is learnt: a level for the others, itself no check


def control_results(view: StudyView) -> list[ControlResult]:
    """Every control that has been measured, with what chance would give on the same queries."""
    groups: dict[tuple[str, AccuracyKey, str], list[EvaluationRecord]] = {}
    for run in view.trained:
        if run.cell.control is not None and run.cell.control not in view.plan.planted:
            for evaluation in run.evaluations:
                key = AccuracyKey.in_study(run.fit, evaluation)
                group = run.cell.control, key, evaluation.card.reranking_label
                groups.setdefault(group, []).append(evaluation)
    results = []
    for (control, key, reranking), evaluations in groups.items():
        tables = {record.id: queries for record in evaluations if (queries := view.per_query(record)) is not None}
        present = [record for record in evaluations if record.id in tables]
        if present:
            levels = [chance_level(tables[record.id], record) for record in present]
            scores = [_control_score(metric, present, levels, tables[present[0].id]) for metric in MAIN_SCORES]
            basis = " or ".join(dict.fromkeys(level.basis for level in levels))
            untrained = control == view.plan.untrained
            if view.plan.untrained is not None and not untrained:
                rows = view.scores_in(key)
                rows = rows[rows.reranking == reranking]
                pair = _cell_of(view, view.plan.untrained), _cell_of(view, control)
                scores = [s and replace(s, beyond=difference(paired(rows, s.metric, [pair]))) for s in scores]
            results.append(ControlResult(control, key, reranking, tuple(s for s in scores if s), basis, untrained))
    return results


def _cell_of(view: StudyView, control: str) -> str:
    return next(cell.name for cell in view.controls if cell.control == control)


def _control_score(
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
            metric, n, one.value, known[0], one.low, one.high, f"first of {n} seed{'s' if n > 1 else ''}: {LABEL}"
        )
    half = half_width(float(np.std(values, ddof=1)) / math.sqrt(n), n - 1)
    return ControlScore(metric, n, mean, chance, mean - half, mean + half, f"{n} seeds, Student t")


def control_sentence(result: ControlResult) -> str:
    """``"Shuffled identities: R1 2.1 % [1.8, 2.4], chance 2.0 %: at chance; …"``."""
    phrases = []
    for s in result.scores:
        phrase = f"{MAIN_SCORES[s.metric]} {100 * s.mean:.1f} % [{100 * s.low:.1f}, {100 * s.high:.1f}], "
        phrase += f"chance {100 * s.chance:.1f} %"
        if s.beyond is not None:
            phrase += f", {points(s.beyond)} beside no learning"
        phrases.append(phrase if result.untrained else f"{phrase}: {s.verdict}")
    return f"{capitalised(result.control)}: {'; '.join(phrases)}"


@dataclass(frozen=True)
class PlantedResult:
    """A planted effect under one protocol and re-ranking: the control less the baseline, paired by seed."""

    control: str
    key: AccuracyKey
    reranking: str
    difference: Difference

    @property
    def shown(self) -> bool | None:
        """Whether its interval excludes zero; None without one."""
        return None if self.difference.contains_zero is None else not self.difference.contains_zero


def planted_results(view: StudyView, metric: str = "mAP") -> list[PlantedResult]:
    """Every planted effect that has been measured beside the baseline at a common seed."""
    results = []
    for name in view.plan.planted:
        for key in view.keys:
            for reranking, rows in view.scores_in(key).groupby("reranking", sort=False):
                change = difference(paired(rows, metric, [(view.baseline.name, _cell_of(view, name))]))
                if change is not None:
                    results.append(PlantedResult(name, key, str(reranking), change))
    return results


def planted_sentence(result: PlantedResult) -> str:
    """``"A quarter of the steps (planted): mAP −9.1 [−11.0, −7.2]: found: yes"``."""
    end = seeds_phrase(result.difference.n) if result.shown is None else f"found: {'yes' if result.shown else 'NO'}"
    return f"{capitalised(result.control)} (planted): {points(result.difference, 'mAP')}: {end}"


def render_controls(report: Report) -> Html:
    """Controls beside chance, planted effects and placebos, or that the study has none."""
    view = report.view
    results = control_results(view)
    pieces: list[str] = []
    if results:
        columns = [Column("Control", text=True), Column("Metric", text=True), Column("Score", "%")]
        columns += [Column("Interval", "95 %"), Column("Chance", "%")]
        beside = view.plan.untrained is not None
        if beside:
            columns.append(Column("Beside no learning", "points"))
        columns += [Column("Verdict", text=True), Column("Over", text=True)]
        caption = (
            "Controls are the baseline with one thing destroyed. They are no part of the design and enter no effect. "
            f"Chance is the expectation of a random ranking of the same queries, {results[0].basis}."
        )
        if beside:
            caption += (
                " Pictures of one person are alike before anything is learnt, and what ranks by pixels can lie above "
                f"chance: “{view.plan.untrained}” has random weights that never change, and the others are held to it, "
                "paired by seed (Student t)."
            )
        pieces.append(bullets(control_sentence(result) for result in results if result.reranking == PLAIN))
        pieces.append(table(columns, _control_blocks(results, beside=beside).items(), caption + view.note))
    elif len(view.controls) > len(view.plan.planted):
        pieces.append(absent(f"Not measured yet: {', '.join(str(cell.control) for cell in view.controls)}."))
    if planted := [r for r in planted_results(view) if r.reranking == PLAIN]:
        rule = (
            "A planted effect is the baseline with something that is known to change the score, paired with it by seed "
            "(Student t): a study that misses it would miss others."
        )
        pieces += [
            bullets(f"{result.key.title}: {planted_sentence(result)}" for result in planted),
            paragraph(rule, class_="method"),
        ]
    names = Names(view)
    placebos = [
        f"{family.key.title}, {family.reranking}: {sentence(effect, names)}"
        for family in report.families("mAP")
        for effect in family.effects
        if effect.placebo
    ]
    if placebos:
        rule = "A placebo changes nothing but random draws. An interval of 95 % misses zero once in twenty by itself."
        pieces += [bullets(placebos), paragraph(rule, class_="method")]
    return join(pieces) if pieces else absent("This study has no controls and no placebo.")


def _control_blocks(results: Sequence[ControlResult], *, beside: bool) -> dict[str, list[list[str]]]:
    blocks: dict[str, list[list[str]]] = {}
    for result in results:
        heading = f"{result.key.title}, {result.reranking}, trained on {result.key.trained_on}"
        for score in result.scores:
            entries = [
                result.control,
                MAIN_SCORES[score.metric],
                f"{100 * score.mean:.1f}",
                f"[{100 * score.low:.1f}, {100 * score.high:.1f}]",
                f"{100 * score.chance:.1f}",
                score.over,
            ]
            if beside:
                entries.insert(-1, "" if score.beyond is None else points(score.beyond))
            verdict = score.verdict if score.passes else tag("strong", score.verdict, class_="bad")
            entries.insert(-1, "what pixels give" if result.untrained else verdict)
            blocks.setdefault(heading, []).append(entries)
    return blocks


def render_sampling(report: Report) -> Html:
    """Paired differences from the baseline at the first seed under each protocol, with percentile intervals."""
    view, blocks = report.view, []
    identities: set[int] = set()
    of_others: dict[str, None] = {}  # cells on other people, such as those of a random factor
    for key in view.keys:
        for reranking, tables in _first_seed_tables(view, key).items():
            reference = tables.pop(view.baseline.name, None)
            if reference is None or not tables:
                continue
            rows = []
            for cell, queries in tables.items():
                if not same_queries(reference, queries):
                    of_others[view.cells[cell].label] = None
                    continue
                changes = [resampled_difference(reference, queries, metric) for metric in MAIN_SCORES]
                identities |= {change.identities for change in changes}
                rows.append([view.cells[cell].label, *map(_resampled_entry, changes)])
            if rows:
                blocks.append((f"{key.title}, {reranking}, trained on {key.trained_on}", rows))
    unpaired = f"On other queries than {view.baseline.label}, and not paired with it: {', '.join(of_others)}."
    if not blocks:
        return absent(unpaired if of_others else "No per-query tables of two configurations at the first seed.")
    columns = [Column("Configuration", text=True), *(Column(name, "points") for name in MAIN_SCORES.values())]
    caption = (
        f"Difference from {view.baseline.label} at seed {view.plan.seeds[0]}, with its 95 % percentile interval over "
        f"{DRAWS:,} resamples of {', '.join(map(str, sorted(identities)))} identities, the same for both runs: {LABEL}."
    )
    return table(columns, blocks, " ".join([caption, *([unpaired] if of_others else [])]) + view.note)


def _first_seed_tables(view: StudyView, key: AccuracyKey) -> dict[str, dict[str, pd.DataFrame]]:
    """Per-query tables of the design's cells at the first seed: re-ranking -> cell -> table."""
    tables: dict[str, dict[str, pd.DataFrame]] = {}
    for run in view.trained:
        if run.seed == view.plan.seeds[0] and run.cell.control is None:
            for evaluation in run.evaluations:
                queries = view.per_query(evaluation) if AccuracyKey.in_study(run.fit, evaluation) == key else None
                if queries is not None:
                    tables.setdefault(evaluation.card.reranking_label, {})[run.cell.name] = queries
    return tables


def _resampled_entry(change: Interval) -> str:
    """``"+2.1 [1.2, 3.0]"``, in percentage points."""
    low, high = (signed(100 * value).lstrip("+±") for value in (change.low, change.high))
    return f"{signed(100 * change.value)} [{low}, {high}]"
