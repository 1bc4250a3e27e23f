"""What each toggle or system is worth: summary, main effects and interactions, differences from the reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from matplotlib.axes import Axes

from vireid.core.messages import DASH, counted
from vireid.core.protocol_card import PLAIN
from vireid.report.copies import Copies
from vireid.report.effects import phrases
from vireid.report.effects.estimate import Effect, Family
from vireid.report.figures.canvas import GREY, NEGATIVE, POSITIVE, SMALL, light_grid, new_figure, publish, styled
from vireid.report.html import Column, Html, absent, bullets, join, paragraph, saved, table, tag
from vireid.report.page import Report
from vireid.report.paper import effect_tables
from vireid.report.records.keys import (
    as_sentence,
    capitalised,
    interval,
    p_text,
    points,
    seeds_phrase,
    signed,
)
from vireid.report.records.study import StudyView
from vireid.report.sections.controls import control_results, control_sentence, planted_results, planted_sentence
from vireid.report.sections.scatter import scatter_sentences
from vireid.statistics.seeds import MIN_SEEDS

_PLACEBO = "#8A5A9E"
_GAP = 0.6  # between main effects, placebos and interactions

SEEDS = (
    "A seed is a block: its own initialisation and, on rendered data, its own people. "
    f"Below {MIN_SEEDS} seeds no interval is given and no effect is claimed. "
)
FEW_SEEDS = (
    "An interval covers what differs between seeds: the randomness of training and, on rendered data, the people; it "
    "tells nothing about other kinds of data"
)


def forest(families: Sequence[Family], names: phrases.Names, out: Copies, name: str) -> Html:
    """One panel per family (plain and re-ranked scores), one row per effect, the same rows in all panels."""
    effects = families[0].effects
    rows = _forest_rows(effects)
    with styled():
        figure = new_figure(1.9 + 2.48 * len(families), 0.9 + 0.21 * (max(rows) + 1))
        panels = figure.subplots(1, len(families), sharex=True, sharey=True, squeeze=False)[0]
        for axes, family in zip(panels, families, strict=True):
            light_grid(axes, "x")
            axes.axvline(0, color="#222222", linewidth=1)
            for y, effect in zip(rows, family.effects, strict=True):
                _draw_effect(axes, y, effect)
            axes.set_xlabel(f"change in {family.metric}, percentage points")
            axes.set_title(family.reranking, pad=10)
            axes.tick_params(axis="y", length=0)
            axes.margins(x=0.06)
            axes.locator_params(axis="x", nbins=5)
            axes.spines["left"].set_visible(False)
        axes = panels[0]
        axes.set_yticks(rows, [names.effect(effect) for effect in effects])
        axes.set_ylim(max(rows) + 0.7, -0.7)
        for tick, effect in zip(axes.get_yticklabels(), effects, strict=True):
            if effect.placebo:
                tick.set_color(_PLACEBO)
                tick.set_style("italic")
            elif effect.interaction:
                tick.set_color("#444444")
            else:
                tick.set_weight("bold")
        claimed = all(
            e.difference is None or e.difference.n >= MIN_SEEDS for family in families for e in family.effects
        )
        shown = (
            "Filled: shown after Holm's correction over the effects of a panel; hollow: not shown."
            if claimed
            else f"Hollow without an interval: fewer than {MIN_SEEDS} seeds, no effect claimed."
        )
        check = " Diamond: placebo, a check whose interval should hold zero." if any(e.placebo for e in effects) else ""
        key = families[0].key
        caption = (
            f"Effects with 95 % intervals: {key.title}, trained on {key.trained_on}. {shown}{check} "
            f"The line at zero is no effect.{as_sentence(key.note)}"
        )
        return publish(figure, name, caption, out)


def _forest_rows(effects: Sequence[Effect]) -> list[float]:
    """Vertical positions, with a gap wherever the kind of effect changes."""
    rows: list[float] = []
    for position, effect in enumerate(effects):
        if position == 0:
            rows.append(0.0)
            continue
        before = effects[position - 1]
        changed = (before.interaction, before.placebo) != (effect.interaction, effect.placebo)
        rows.append(rows[-1] + 1 + (_GAP if changed else 0))
    return rows


def _draw_effect(axes: Axes, y: float, effect: Effect) -> None:
    """Interval, marker, and the numbers at the right edge."""
    change = effect.difference
    right = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center", "fontsize": SMALL}
    if change is None:
        axes.annotate("not estimable", (1, y), (6, 0), color=GREY, annotation_clip=False, **right)  # type: ignore[arg-type]
        return
    shade = _PLACEBO if effect.placebo else GREY
    if effect.shown:
        shade = POSITIVE if change.mean > 0 else NEGATIVE
    mean = 100 * change.mean
    if change.low is not None and change.high is not None:
        axes.plot([100 * change.low, 100 * change.high], [y, y], color=shade, linewidth=1.8 if effect.shown else 1.0)
    axes.plot(
        [mean], [y],
        marker="D" if effect.placebo else "o", markersize=4.6 if effect.shown else 4.2, color=shade,
        markerfacecolor=shade if effect.shown else "white", markeredgewidth=1.4, zorder=3,
    )  # fmt: skip
    text = points(change)
    weight = "bold" if effect.shown else "normal"
    axes.annotate(text, (1, y), (6, 0), color=shade, weight=weight, annotation_clip=False, **right)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Line:
    """A toggle: its main effect on mAP and on R1, under one protocol and re-ranking."""

    name: str
    mean_ap: Effect
    r1: Effect | None

    @property
    def few(self) -> int | None:
        """Number of seeds where it is too small for a claim."""
        change = self.mean_ap.difference
        return change.n if change is not None and change.n < MIN_SEEDS else None

    @property
    def costs(self) -> list[str]:
        """Ratios of latency, MACs, step time and memory."""
        ratios = self.mean_ap.ratios
        values = (ratios.latency, ratios.macs, ratios.step, ratios.memory)
        return [DASH if ratio is None else f"×{ratio:.2f}" for ratio in values]


@dataclass(frozen=True)
class Headline:
    """Main effects under the first protocol, without re-ranking where there are such scores."""

    family: Family
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """What the effects were measured under, and on which accelerator."""
        return f"{self.family.key.title}, {self.family.reranking}, trained on {self.family.key.trained_on}"


def render_summary(report: Report) -> Html:
    """What each toggle is worth and costs, in sentences and one table; Markdown copy ``summary.md``."""
    first = headline(report.view, report.families("mAP"), report.families("r1"))
    copy = report.copy(phrases.SUMMARY, summary_markdown(report.view, first))
    told = scatter_sentences(report.view)
    if first is None:
        return join([bullets(told), saved("As ", copy, after=" for a README.")]) if told else absent(phrases.NOTHING)
    pieces = [bullets(told)] if told else []
    return join([*pieces, summary_html(report.view, first), saved("As ", copy, after=" for a README.")])


def headline(view: StudyView, on_map: Sequence[Family], on_r1: Sequence[Family]) -> Headline | None:
    """The main effects to put first; None where none has been measured."""
    first = next((family for family in on_map if family.reranking == PLAIN), on_map[0] if on_map else None)
    if first is None:
        return None
    names = phrases.Names(view)
    families = [family for family in on_r1 if (family.key, family.reranking) == (first.key, first.reranking)]
    beside = {effect.parts: effect for family in families for effect in family.effects}
    lines = (Line(names.effect(effect), effect, beside.get(effect.parts)) for effect in first.mains)
    return Headline(first, tuple(lines))


def summary_html(view: StudyView, first: Headline) -> Html:
    """Sentences and table as the page shows them."""
    names = phrases.Names(view)
    items = [
        tag("span", phrases.sentence(line.mean_ap, names), class_="unclaimed" if line.few is not None else None)
        for line in first.lines
    ]
    items += [tag("span", phrases.sentence(effect, names)) for effect in first.family.interactions if effect.shown]
    columns = [Column("Toggle", text=True), Column("mAP", "points [95 %]"), Column("R1", "points [95 %]")]
    columns += [Column("Detectable", "mAP, power 0.8")]
    columns += [Column("Latency", "deployed"), Column("MACs", "deployed"), Column("Step time", "training")]
    columns += [Column("Memory", "training")]
    rows = []
    for line in first.lines:
        name: str = tag("em", line.name) if line.mean_ap.placebo else line.name
        if line.few is not None:
            name = tag("span", name, tag("small", seeds_phrase(line.few), class_="unclaimed"))
        rows.append(
            [
                name,
                _summary_entry(line.mean_ap),
                _summary_entry(line.r1),
                phrases.detectable_text(line.mean_ap, first.family) or DASH,
                *line.costs,
            ]
        )
    bold = "Bold: shown after Holm's correction over main effects and interactions. " if first.family.tested else ""
    caption = f"What each toggle is worth: {first.title}. {bold}Ratios are with ÷ without.{view.shared_time}"
    return join([bullets(items), table(columns, [("", rows)], caption + as_sentence(first.family.key.note))])


def _summary_entry(effect: Effect | None) -> str:
    change = effect.difference if effect is not None else None
    if effect is None or change is None:
        return "not estimable"
    text = points(change)
    return tag("strong", text) if effect.shown else text


def summary_markdown(view: StudyView, first: Headline | None) -> str:
    """The same as Markdown, with the study's checks on itself."""
    seeds = len(view.plan.seeds)
    size = f"{len(view.design_cells)} cells × {seeds} seed{'s' if seeds != 1 else ''}"
    if first is None:
        told = scatter_sentences(view)
        return phrases.document(view, size, [f"- {line}" for line in told] or ["No effect has been measured yet."])
    rows = []
    for line in first.lines:
        name = f"*{line.name}*" if line.mean_ap.placebo else line.name
        name += "" if line.few is None else f" ({seeds_phrase(line.few)})"
        scores = [phrases.effect_entry(effect, "not estimable") for effect in (line.mean_ap, line.r1)]
        rows.append([name, *scores, phrases.detectable_text(line.mean_ap, first.family) or DASH, *line.costs[:3]])
    tested = first.family.tested
    claims = (
        f"Percentage points with 95 % intervals; **bold**: shown after Holm's correction over {tested} effects"
        if tested
        else f"Percentage points; fewer than {MIN_SEEDS} seeds, so no interval is given and no effect is claimed"
    )
    names = phrases.Names(view)
    lines = [phrases.sentence(e, names) for e in first.family.effects if e.placebo or (e.interaction and e.shown)]
    lines += [
        control_sentence(result)
        for result in control_results(view)
        if (result.key, result.reranking) == (first.family.key, first.family.reranking)
    ]
    lines += [
        planted_sentence(result)
        for result in planted_results(view)
        if (result.key, result.reranking) == (first.family.key, first.family.reranking)
    ]
    body = [
        f"{first.title}:",
        phrases.grid(["Toggle", "mAP", "R1", "Detectable", "Latency", "MACs", "Step time"], rows),
        f"{claims}. Detectable: the smallest effect on mAP that this design shows with power 0.8. Ratios are with ÷ "
        f"without; latency and MACs of the deployed graph, step time of training.{view.shared_time}",
        ". ".join([*phrases.pooling_sentences(first.family), ""]).strip(),
        "\n".join(f"- {line}" for line in lines),
    ]
    return phrases.document(view, size, body)


def render_effects(report: Report, *, metric: str = "mAP") -> Html:
    """Copies are ``figures/effects-<n>`` and ``tables/effects-<n>.csv``, one of each per protocol."""
    view, families = report.view, report.families(metric)
    if not families:
        return absent(phrases.NOTHING)
    names = phrases.Names(view)
    pieces: list[str] = []
    for position, (key, group) in enumerate(groupby(families, key=lambda family: family.key), start=1):
        own = list(group)
        name = f"effects-{position}"
        beside = [family for family in report.families("r1" if metric == "mAP" else "mAP") if family.key == key]
        copies = [report.copy(f"tables/{name}.csv", phrases.effects_csv(own, names))]
        copies += report.paper(name, effect_tables(view, own, beside, names))
        pieces += [tag("h3", key.title), forest(own, names, report.copies, name)]
        for family in own:
            heading = f"{capitalised(family.reranking)}, trained on {key.trained_on}"
            pieces.append(paragraph(tag("strong", heading), f" ({key.note})" if key.note else ""))
            pieces.append(bullets(_effect_item(view, family, effect, names) for effect in family.mains))
            if tests := phrases.pooling_sentences(family):
                pieces.append(paragraph(". ".join(tests), "."))
            pieces.append(_interactions(family, names))
        pieces.append(saved("These effects as ", *copies))
    tested = max(family.tested for family in families)
    rule = phrases.METHODS[families[0].method]
    method = f"In percentage points. {rule} {SEEDS}{phrases.family_phrase(tested)}{FEW_SEEDS}."
    return join([*pieces, paragraph(method, class_="method")])


def _effect_item(view: StudyView, family: Family, effect: Effect, names: phrases.Names) -> str:
    change = effect.difference
    shade = "unclaimed" if change is None or change.n < MIN_SEEDS else None
    smallest = phrases.detectable_text(effect, family)
    words = phrases.sentence(effect, names) + (
        "" if smallest is None else f"; smallest effect shown at power 0.8: {smallest}"
    )
    text = tag("span", words, class_=shade)
    if not effect.pairs:
        return text
    low, high = (view.cells[name].label for name in effect.pairs[0])
    more = f" and {counted(len(effect.pairs) - 1, 'more pair')}" if len(effect.pairs) > 1 else ""
    return tag("span", text, tag("small", f" {low} → {high}{more}"))


def _interactions(family: Family, names: phrases.Names) -> str:
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
    shown = [phrases.sentence(effect, names) for effect in family.interactions if effect.shown]
    below = bullets(shown) if shown else paragraph("No interaction shown.", class_="method")
    return join([table(columns, [("", rows)], caption + as_sentence(family.key.note)), below])
