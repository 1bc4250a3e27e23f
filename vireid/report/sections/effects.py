"""Main effects and interactions: a figure and plain sentences per protocol, interactions as a table, a CSV copy."""

from itertools import groupby

from vireid.core.messages import DASH
from vireid.report.effects.estimate import Effect, Family
from vireid.report.effects.phrases import METHODS, NOTHING, Names, effects_csv, family_phrase, sentence
from vireid.report.figures.forest import forest
from vireid.report.html import Column, Html, absent, bullets, join, paragraph, table, tag
from vireid.report.numbers import interval, p_text, signed
from vireid.report.page import Report
from vireid.report.records.labels import as_sentence, capitalised
from vireid.report.records.study import StudyView
from vireid.statistics.seeds import MIN_SEEDS


def render(report: Report, *, metric: str = "mAP") -> Html:
    """Copies are ``figures/effects-<n>`` and ``tables/effects-<n>.csv``, one of each per protocol."""
    view, families = report.view, report.families(metric)
    if not families:
        return absent(NOTHING)
    names = Names(view)
    pieces: list[str] = []
    for position, (key, group) in enumerate(groupby(families, key=lambda family: family.key), start=1):
        own = list(group)
        copy = report.copy(f"tables/effects-{position}.csv", effects_csv(own, names))
        pieces += [tag("h3", key.title), forest(own, names, report.out, f"effects-{position}")]
        for family in own:
            heading = f"{capitalised(family.reranking)}, trained on {key.accelerator}"
            pieces.append(paragraph(tag("strong", heading), f" ({key.note})" if key.note else ""))
            pieces.append(bullets(_line(view, effect, names) for effect in family.mains))
            pieces.append(_interactions(family, names))
        pieces.append(paragraph("These effects as ", copy, ".", class_="method"))
    tested = max(family.tested for family in families)
    method = (
        f"In points of percent. {METHODS[families[0].method]} A seed is a block: its own initialisation and, on "
        f"rendered data, its own people. Below {MIN_SEEDS} seeds no interval is given and no effect is claimed. "
        f"{family_phrase(tested)}An interval over few seeds tells about the randomness of training on such data, not "
        "about other data."
    )
    return join([*pieces, paragraph(method, class_="method")])


def _line(view: StudyView, effect: Effect, names: Names) -> str:
    change = effect.difference
    shade = "unclaimed" if change is None or change.n < MIN_SEEDS else None
    text = tag("span", sentence(effect, names), class_=shade)
    if not effect.pairs:
        return text
    low, high = (view.cells[name].label for name in effect.pairs[0])
    more = f" and {len(effect.pairs) - 1} more pairs" if len(effect.pairs) > 1 else ""
    return tag("span", text, tag("small", f" {low} → {high}{more}"))


def _interactions(family: Family, names: Names) -> str:
    if not family.interactions:
        return ""
    rows = []
    for effect in family.interactions:
        change, name = effect.difference, names.effect(effect)
        if effect.shown:
            name = tag("strong", name)
        if change is None:
            rows.append([name, DASH, "not estimable", DASH, DASH])
            continue
        p = [p_text(change.p), p_text(effect.p_holm)]
        rows.append([name, signed(100 * change.mean), interval(change) or DASH, *p])
    columns = [Column("Interaction", text=True), Column(family.metric, "points"), Column("Interval", "95 %")]
    columns += [Column("p", "single"), Column("p", "Holm")]
    caption = (
        "Two-way interactions: how much the effect of one grows when the other is on, that is, how far both together "
        "are from the sum of each alone. Shown ones are bold."
    )
    shown = [sentence(effect, names) for effect in family.interactions if effect.shown]
    below = bullets(shown) if shown else paragraph("No interaction shown.", class_="method")
    return join([table(columns, [("", rows)], caption + as_sentence(family.key.note)), below])
