"""How far every system is from the reference: paired by seed, with intervals, corrected, and in plain sentences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from vireid.report.effects import Effect, Family, Names
from vireid.report.effects.section import effects_csv
from vireid.report.figures.forest import forest
from vireid.report.html import Column, Content, Fragment, Rows, bullets, join, link, paragraph, table, tag
from vireid.report.load import StudyView, as_sentence, data_note
from vireid.report.protocols import PLAIN, protocol_title
from vireid.report.statistics import MIN_SEEDS, interval, p_words, points, seeds_phrase, signed
from vireid.store import write_atomically

NOTHING = "No system has been measured beside the reference yet."
_DASH = "–"


def system_sentence(effect: Effect, names: Names, reference: str) -> str:
    """One plain sentence about a system against the reference, with what it costs beside it."""
    name, change = names.effect(effect), effect.difference
    cost = cost_words(effect)
    if change is None:
        return f"{name}: no seed measured in common with {reference}{cost}"
    gain = points(change, effect.metric)
    if change.n < MIN_SEEDS:
        return f"{name}: {seeds_phrase(change.n)} ({gain} from {reference}){cost}"
    if not effect.shown:
        return f"{name}: no difference from {reference} shown ({gain}){cost}"
    verb = "more" if change.mean > 0 else "less"
    size = f"{abs(100 * change.mean):.1f} points of {effect.metric} {verb}"
    return f"{name}: {size} than {reference} {interval(change)}{cost}"


def cost_words(effect: Effect) -> str:
    """``", at ×0.62 its latency and ×0.71 its MACs"``; empty where neither was measured."""
    ratios = (("latency", effect.ratios.latency), ("MACs", effect.ratios.macs))
    told = [f"×{ratio:.2f} its {name}" for name, ratio in ratios if ratio is not None]
    return f", at {' and '.join(told)}" if told else ""


def differences_section(view: StudyView, on_map: Sequence[Family], on_r1: Sequence[Family], out: Path) -> Fragment:
    """Figure, sentences and table per protocol, with a CSV copy under ``out/tables``."""
    if not on_map:
        return paragraph(NOTHING, class_="absent")
    names, reference = Names(view), view.baseline.label
    pieces: list[Content] = []
    for position, (setting, group) in enumerate(groupby(on_map, key=lambda family: family.setting), start=1):
        own = list(group)
        beside = [family for family in on_r1 if family.setting == setting]
        title = protocol_title(json.loads(setting.protocol))
        name = f"differences-{position}"
        write_atomically(out / f"tables/{name}.csv", effects_csv([*own, *beside], names, title))
        first = next((family for family in own if family.reranking == PLAIN), own[0])
        pieces += [
            tag("h3", title),
            forest(own, names, title, out, name),
            bullets(_item(effect, names, reference) for effect in first.effects),
            _table(names, own, beside, reference, link(f"tables/{name}.csv", "CSV"), data_note(setting.data)),
        ]
    tested = max(family.tested for family in on_map)
    family = (
        f"A difference counts as shown where p < 0.05 after Holm's correction over the {tested} systems of one "
        "protocol, one re-ranking and one metric; printed intervals are 95 %, each by itself. "
        if tested
        else ""
    )
    words = (
        f"Differences from {reference}, paired by seed; Student t over seeds. A seed is a block: its own "
        f"initialisation and, on rendered data, its own people. Below {MIN_SEEDS} seeds no interval is given and no "
        f"effect is claimed. {family}An interval over few seeds tells about the randomness of training on such data, "
        "not about other data, other schedules or other settings of a system."
    )
    pieces.append(paragraph(words, class_="method"))
    return join(pieces)


def _item(effect: Effect, names: Names, reference: str) -> Content:
    few = effect.difference is None or effect.difference.n < MIN_SEEDS
    return tag("span", system_sentence(effect, names, reference), class_="unclaimed" if few else None)


def _table(
    names: Names, on_map: Sequence[Family], on_r1: Sequence[Family], reference: str, files: Content, note: str
) -> Fragment:
    columns = [Column("System", text=True)]
    for metric in ("mAP", "R1"):
        columns += [Column(metric, "points [95 %]"), Column("p", "single"), Column("p", "Holm")]
    blocks = []
    for family in on_map:
        beside = {e.parts: e for other in on_r1 if other.reranking == family.reranking for e in other.effects}
        rows = [
            [names.effect(effect), *_entries(effect), *_entries(beside.get(effect.parts))] for effect in family.effects
        ]
        blocks.append(Rows(family.reranking[:1].upper() + family.reranking[1:], rows))
    words = f"Difference from {reference}, paired by seed. Bold: shown after Holm's correction."
    return table(columns, blocks, words + as_sentence(note), files)


def _entries(effect: Effect | None) -> list[Content]:
    change = effect.difference if effect is not None else None
    if effect is None or change is None:
        return [_DASH] * 3
    text = f"{signed(100 * change.mean)} {interval(change)}".rstrip()
    shade = "unclaimed" if change.n < MIN_SEEDS else None
    return [tag("strong" if effect.shown else "span", text, class_=shade), p_words(change.p), p_words(effect.p_holm)]
