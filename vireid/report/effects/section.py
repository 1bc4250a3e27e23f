"""The section on effects: a figure and plain sentences per setting, interactions as a table, a CSV copy."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from vireid.report.effects.estimate import Effect, Family
from vireid.report.effects.words import METHODS, NOTHING, Names, family_words, sentence
from vireid.report.figures.forest import forest
from vireid.report.html import Column, Content, Fragment, Rows, bullets, join, link, paragraph, table, tag
from vireid.report.load import StudyView, data_note
from vireid.report.protocols import protocol_title
from vireid.report.statistics import MIN_SEEDS, interval, p_words, signed
from vireid.store import write_atomically


def effects_section(view: StudyView, found: Sequence[Family], out: Path) -> Fragment:
    """Figures under ``out/figures`` and CSV under ``out/tables``, one of each per setting."""
    if not found:
        return paragraph(NOTHING, class_="absent")
    names = Names(view)
    pieces: list[Content] = []
    for position, (setting, group) in enumerate(groupby(found, key=lambda family: family.setting), start=1):
        own = list(group)
        title = protocol_title(json.loads(setting.protocol))
        note = data_note(setting.data)
        write_atomically(out / f"tables/effects-{position}.csv", effects_csv(own, names, title))
        pieces += [tag("h3", title), forest(own, names, title, out, f"effects-{position}")]
        for family in own:
            mains = [effect for effect in family.effects if not effect.interaction]
            words = f"{family.reranking[0].upper()}{family.reranking[1:]}, trained on {setting.accelerator}"
            pieces.append(paragraph(tag("strong", words), f" ({note})" if note else ""))
            pieces.append(bullets(_line(view, effect, names) for effect in mains))
            pieces.append(_interactions(family, names, note))
        pieces.append(
            paragraph("These effects as ", link(f"tables/effects-{position}.csv", "CSV"), ".", class_="method")
        )
    tested = max(family.tested for family in found)
    words = (
        f"In points of percent. {METHODS[found[0].method]} A seed is a block: its own initialisation and, on rendered "
        f"data, its own people. Below {MIN_SEEDS} seeds no interval is given and no effect is claimed. "
        f"{family_words(tested)}An interval over few seeds tells about the randomness of training on such data, not "
        "about other data."
    )
    pieces.append(paragraph(words, class_="method"))
    return join(pieces)


def _line(view: StudyView, effect: Effect, names: Names) -> Content:
    change = effect.difference
    shade = "unclaimed" if change is None or change.n < MIN_SEEDS else None
    text = tag("span", sentence(effect, names), class_=shade)
    if not effect.pairs:
        return text
    low, high = (view.cells[name].label for name in effect.pairs[0])
    more = f" and {len(effect.pairs) - 1} more pairs" if len(effect.pairs) > 1 else ""
    return tag("span", text, tag("small", f" {low} → {high}{more}"))


def _interactions(family: Family, names: Names, note: str) -> Content:
    found = [effect for effect in family.effects if effect.interaction]
    if not found:
        return ""
    rows: list[list[Content]] = []
    for effect in found:
        change = effect.difference
        name: Content = tag("strong", names.effect(effect)) if effect.shown else names.effect(effect)
        if change is None:
            rows.append([name, "–", "not estimable", "–", "–"])
            continue
        rows.append(
            [name, signed(100 * change.mean), interval(change) or "–", p_words(change.p), p_words(effect.p_holm)]
        )
    columns = [Column("Interaction", text=True), Column(found[0].metric, "points"), Column("Interval", "95 %")]
    columns += [Column("p", "single"), Column("p", "Holm")]
    caption = (
        "Two-way interactions: how much the effect of one grows when the other is on, that is, how far both together "
        "are from the sum of each alone. Shown ones are bold."
    )
    sentences = [sentence(effect, names) for effect in found if effect.shown]
    words = bullets(sentences) if sentences else paragraph("No interaction shown.", class_="method")
    return join([table(columns, [Rows("", rows)], caption + (f" {note[0].upper()}{note[1:]}." if note else "")), words])


def effects_csv(found: Sequence[Family], names: Names, title: str) -> str:
    """Effects at full precision, as fractions; every row carries setting and data note."""
    header = [
        "effect", "placebo", "reranking", "metric", "difference", "low", "high", "seeds", "df", "p", "p_holm", "shown",
        "latency_ratio", "macs_ratio", "step_ratio", "memory_ratio", "method", "protocol", "accelerator", "data",
    ]  # fmt: skip
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for family in found:
        for effect in family.effects:
            change, ratios = effect.difference, effect.ratios
            told = [change.mean, change.low, change.high, change.n, change.df, change.p] if change else [None] * 6
            writer.writerow(
                [
                    names.effect(effect), effect.placebo, family.reranking, family.metric, *told, effect.p_holm,
                    effect.shown, ratios.latency, ratios.macs, ratios.step, ratios.memory, family.method, title,
                    family.setting.accelerator, data_note(family.setting.data) or family.setting.data,
                ]
            )  # fmt: skip
    return buffer.getvalue()
