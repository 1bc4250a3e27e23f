"""Every system against the reference: sentences with what it costs, a figure, and the table of differences."""

from collections.abc import Sequence
from itertools import groupby

from vireid.core.messages import DASH
from vireid.core.protocol_card import PLAIN
from vireid.report.effects.estimate import Effect, Family
from vireid.report.effects.phrases import Names, corrected, effects_csv
from vireid.report.html import Column, Html, absent, bullets, join, links, paragraph, table, tag
from vireid.report.page import Report
from vireid.report.paper import effect_tables
from vireid.report.records.keys import as_sentence, capitalised, interval, p_text, points, seeds_phrase
from vireid.report.sections.effects import FEW_SEEDS, SEEDS, forest
from vireid.statistics.seeds import MIN_SEEDS


def system_sentence(effect: Effect, names: Names, reference: str) -> str:
    """One plain sentence about a system against the reference, with what it costs beside it."""
    name, change = names.effect(effect), effect.difference
    ratios = (("latency", effect.ratios.latency), ("MACs", effect.ratios.macs))
    measured = [f"×{ratio:.2f} its {what}" for what, ratio in ratios if ratio is not None]
    cost = f", at {' and '.join(measured)}" if measured else ""
    if change is None:
        return f"{name}: no seed measured in common with {reference}{cost}"
    gain = points(change, effect.metric)
    if change.n < MIN_SEEDS:
        return f"{name}: {seeds_phrase(change.n)} ({gain} from {reference}){cost}"
    if not effect.shown:
        return f"{name}: no difference from {reference} shown ({gain}{corrected(effect)}){cost}"
    verb = "more" if change.mean > 0 else "less"
    size = f"{abs(100 * change.mean):.1f} points of {effect.metric} {verb}"
    return f"{name}: {size} than {reference} {interval(change)}{cost}"


def render_differences(report: Report) -> Html:
    """Figure, sentences and table per protocol, with a CSV copy under ``tables/``."""
    on_map, on_r1 = report.families("mAP"), report.families("r1")
    if not on_map:
        return absent("No system has been measured beside the reference yet.")
    names, reference = Names(report.view), report.view.baseline.label
    pieces = []
    for position, (key, group) in enumerate(groupby(on_map, key=lambda family: family.key), start=1):
        own = list(group)
        beside = [family for family in on_r1 if family.key == key]
        name = f"differences-{position}"
        copies = [report.copy(f"tables/{name}.csv", effects_csv([*own, *beside], names))]
        copies += report.paper(name, effect_tables(report.view, own, beside, names))
        first = next((family for family in own if family.reranking == PLAIN), own[0])
        pieces += [
            tag("h3", key.title),
            forest(own, names, report.copies, name),
            bullets(_system_item(effect, names, reference) for effect in first.effects),
            _differences_table(names, own, beside, reference, links(copies)),
        ]
    tested = max(family.tested for family in on_map)
    family = (
        f"A difference counts as shown where p < 0.05 after Holm's correction over the {tested} systems of one "
        "protocol, one re-ranking and one metric; printed intervals are 95 %, each by itself. "
        if tested
        else ""
    )
    method = (
        f"Differences from {reference}, paired by seed; Student t over seeds. {SEEDS}{family}"
        f"{FEW_SEEDS}, other schedules or other settings of a system."
    )
    return join([*pieces, paragraph(method, class_="method")])


def _system_item(effect: Effect, names: Names, reference: str) -> str:
    few = effect.difference is None or effect.difference.n < MIN_SEEDS
    return tag("span", system_sentence(effect, names, reference), class_="unclaimed" if few else None)


def _differences_table(
    names: Names, on_map: Sequence[Family], on_r1: Sequence[Family], reference: str, files: str
) -> Html:
    columns = [Column("System", text=True)]
    for metric in ("mAP", "R1"):
        columns += [Column(metric, "points [95 %]"), Column("p", "single"), Column("p", "Holm")]
    blocks = []
    for family in on_map:
        beside = {e.parts: e for other in on_r1 if other.reranking == family.reranking for e in other.effects}
        rows = [
            [names.effect(e), *_difference_entries(e), *_difference_entries(beside.get(e.parts))]
            for e in family.effects
        ]
        blocks.append((capitalised(family.reranking), rows))
    caption = f"Difference from {reference}, paired by seed. Bold: shown after Holm's correction."
    return table(columns, blocks, caption + as_sentence(on_map[0].key.note), files)


def _difference_entries(effect: Effect | None) -> list[str]:
    change = effect.difference if effect is not None else None
    if effect is None or change is None:
        return [DASH] * 3
    text = points(change)
    shade = "unclaimed" if change.n < MIN_SEEDS else None
    return [tag("strong" if effect.shown else "span", text, class_=shade), p_text(change.p), p_text(effect.p_holm)]
