"""The study in one table: main effects with their cost, for the page, and as Markdown for a README."""

from collections.abc import Sequence
from dataclasses import dataclass

from vireid.core.messages import DASH
from vireid.core.protocol_card import PLAIN
from vireid.report.effects.estimate import Effect, Family
from vireid.report.effects.phrases import NOTHING, Names, sentence
from vireid.report.html import Column, Html, absent, bullets, join, paragraph, table, tag
from vireid.report.markdown import SUMMARY, document, effect_entry, grid
from vireid.report.numbers import points, seeds_phrase
from vireid.report.page import Report
from vireid.report.records.labels import as_sentence
from vireid.report.records.study import StudyView
from vireid.report.sections.controls import control_results, control_sentence
from vireid.statistics.seeds import MIN_SEEDS


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
        return f"{self.family.key.title}, {self.family.reranking}, trained on {self.family.key.accelerator}"


def render(report: Report) -> Html:
    """What each toggle is worth and costs, in sentences and one table; Markdown copy ``summary.md``."""
    first = headline(report.view, report.families("mAP"), report.families("r1"))
    copy = report.copy(SUMMARY, to_markdown(report.view, first))
    if first is None:
        return absent(NOTHING)
    return join([to_html(report.view, first), paragraph("As ", copy, " for a README.", class_="method")])


def headline(view: StudyView, on_map: Sequence[Family], on_r1: Sequence[Family]) -> Headline | None:
    """The main effects to put first; None where none has been measured."""
    first = next((family for family in on_map if family.reranking == PLAIN), on_map[0] if on_map else None)
    if first is None:
        return None
    names = Names(view)
    families = [family for family in on_r1 if (family.key, family.reranking) == (first.key, first.reranking)]
    beside = {effect.parts: effect for family in families for effect in family.effects}
    lines = (Line(names.effect(effect), effect, beside.get(effect.parts)) for effect in first.mains)
    return Headline(first, tuple(lines))


def to_html(view: StudyView, first: Headline) -> Html:
    """Sentences and table as the page shows them."""
    names = Names(view)
    items = [
        tag("span", sentence(line.mean_ap, names), class_="unclaimed" if line.few is not None else None)
        for line in first.lines
    ]
    items += [tag("span", sentence(effect, names)) for effect in first.family.interactions if effect.shown]
    columns = [Column("Toggle", text=True), Column("mAP", "points [95 %]"), Column("R1", "points [95 %]")]
    columns += [Column("Latency", "deployed"), Column("MACs", "deployed"), Column("Step time", "training")]
    columns += [Column("Memory", "training")]
    rows = []
    for line in first.lines:
        name: str = tag("em", line.name) if line.mean_ap.placebo else line.name
        if line.few is not None:
            name = tag("span", name, tag("small", seeds_phrase(line.few), class_="unclaimed"))
        rows.append([name, _entry(line.mean_ap), _entry(line.r1), *line.costs])
    bold = "Bold: shown after Holm's correction over main effects and interactions. " if first.family.tested else ""
    caption = f"What each toggle is worth: {first.title}. {bold}Ratios are with ÷ without."
    return join([bullets(items), table(columns, [("", rows)], caption + as_sentence(first.family.key.note))])


def _entry(effect: Effect | None) -> str:
    change = effect.difference if effect is not None else None
    if effect is None or change is None:
        return "not estimable"
    text = points(change)
    return tag("strong", text) if effect.shown else text


def to_markdown(view: StudyView, first: Headline | None) -> str:
    """The same as Markdown, with the study's checks on itself."""
    seeds = len(view.plan.seeds)
    size = f"{len(view.design_cells)} cells × {seeds} seed{'s' if seeds != 1 else ''}"
    if first is None:
        return document(view, size, ["No effect has been measured yet."])
    rows = []
    for line in first.lines:
        name = f"*{line.name}*" if line.mean_ap.placebo else line.name
        name += "" if line.few is None else f" ({seeds_phrase(line.few)})"
        scores = [effect_entry(effect, "not estimable") for effect in (line.mean_ap, line.r1)]
        rows.append([name, *scores, *line.costs[:3]])
    tested = first.family.tested
    claims = (
        f"Points of percent with 95 % intervals; **bold**: shown after Holm's correction over {tested} effects"
        if tested
        else f"Points of percent; fewer than {MIN_SEEDS} seeds, so no interval is given and no effect is claimed"
    )
    names = Names(view)
    lines = [sentence(e, names) for e in first.family.effects if e.placebo or (e.interaction and e.shown)]
    lines += [
        control_sentence(result)
        for result in control_results(view)
        if (result.key, result.reranking) == (first.family.key, first.family.reranking)
    ]
    body = [
        f"{first.title}:",
        grid(["Toggle", "mAP", "R1", "Latency", "MACs", "Step time"], rows),
        f"{claims}. Ratios are with ÷ without; latency and MACs of the deployed graph, step time of training.",
        "\n".join(f"- {line}" for line in lines),
    ]
    return document(view, size, body)
