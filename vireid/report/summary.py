"""The study in one table: main effects with their cost, for the page, and as Markdown for a README."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vireid.report.controls import control_results, control_sentence
from vireid.report.effects import Effect, Family, Names, sentence
from vireid.report.html import Column, Content, Fragment, Rows, bullets, join, table, tag
from vireid.report.load import Setting, StudyView, as_sentence, data_note
from vireid.report.protocols import PLAIN, protocol_title
from vireid.report.statistics import MIN_SEEDS, Difference, interval, seeds_phrase, signed

SUMMARY = "summary.md"
_DASH = "–"


@dataclass(frozen=True)
class Line:
    """A toggle: its main effect on mAP and on R1, in one setting and re-ranking."""

    name: str
    mean_ap: Effect
    r1: Effect | None

    @property
    def few(self) -> int | None:
        """Number of seeds where it is too small for a claim."""
        change = self.mean_ap.difference
        return change.n if change is not None and change.n < MIN_SEEDS else None


@dataclass(frozen=True)
class Headline:
    """Main effects of the first setting, without re-ranking where there are such scores."""

    setting: Setting
    reranking: str
    lines: tuple[Line, ...]
    family: Family

    @property
    def title(self) -> str:
        """What the effects were measured under, and on which data."""
        words = f"{protocol_title(json.loads(self.setting.protocol))}, {self.reranking}"
        return f"{words}, trained on {self.setting.accelerator}"


def headline(view: StudyView, on_map: Sequence[Family], on_r1: Sequence[Family]) -> Headline | None:
    """The main effects to put first; None where none has been measured."""
    chosen = next((family for family in on_map if family.reranking == PLAIN), on_map[0] if on_map else None)
    if chosen is None:
        return None
    names = Names(view)
    beside = {
        effect.parts: effect
        for family in on_r1
        if (family.setting, family.reranking) == (chosen.setting, chosen.reranking)
        for effect in family.effects
    }
    mains = [effect for effect in chosen.effects if not effect.interaction]
    lines = tuple(Line(names.effect(effect), effect, beside.get(effect.parts)) for effect in mains)
    return Headline(chosen.setting, chosen.reranking, lines, chosen)


def summary_html(view: StudyView, found: Headline) -> Fragment:
    """Sentences and table as the page shows them."""
    names = Names(view)
    items = [
        tag("span", sentence(line.mean_ap, names), class_="unclaimed" if line.few is not None else None)
        for line in found.lines
    ]
    items += [tag("span", sentence(e, names)) for e in found.family.effects if e.interaction and e.shown]
    columns = [Column("Toggle", text=True), Column("mAP", "points [95 %]"), Column("R1", "points [95 %]")]
    columns += [Column("Latency", "deployed"), Column("MACs", "deployed"), Column("Step time", "training")]
    columns += [Column("Memory", "training")]
    rows: list[list[Content]] = []
    for line in found.lines:
        scores = [_score(effect) for effect in (line.mean_ap, line.r1)]
        name: Content = tag("em", line.name) if line.mean_ap.placebo else line.name
        if line.few is not None:
            name = tag("span", name, tag("small", seeds_phrase(line.few), class_="unclaimed"))
        rows.append([name, *(tag("strong", text) if shown else text for text, shown in scores), *_costs(line.mean_ap)])
    bold = "Bold: shown after Holm's correction over main effects and interactions. " if found.family.tested else ""
    caption = (
        f"What each toggle is worth: {found.title}. {bold}Ratios are with ÷ without."
        f"{as_sentence(data_note(found.setting.data))}"
    )
    return join([bullets(items), table(columns, [Rows("", rows)], caption)])


def summary_markdown(view: StudyView, found: Headline | None) -> str:
    """The same as Markdown, with checks of the study and the commands that make it again."""
    name = view.plan.name
    parts = [f"# {view.plan.title}"]
    if view.note:
        parts.append(f"**{view.note.strip()}**")
    finished = sum(1 for run in view.runs if not run.problems)
    seeds = ", ".join(map(str, view.plan.seeds))
    size = f"{len(view.design_cells)} cells × {len(view.plan.seeds)} seed{'s' if len(view.plan.seeds) != 1 else ''}"
    parts.append(f"{size} ({seeds}), {finished} of {len(view.runs)} runs complete.")
    if found is None:
        parts.append("No effect has been measured yet.")
    else:
        parts += [f"{found.title}:", "\n".join(_markdown_rows(found))]
        tested = found.family.tested
        claims = (
            f"Points of percent with 95 % intervals; **bold**: shown after Holm's correction over {tested} effects"
            if tested
            else f"Points of percent; fewer than {MIN_SEEDS} seeds, so no interval is given and no effect is claimed"
        )
        parts.append(
            f"{claims}. Ratios are with ÷ without; latency and MACs of the deployed graph, step time of training."
        )
        names = Names(view)
        lines = [sentence(e, names) for e in found.family.effects if e.placebo or (e.interaction and e.shown)]
        lines += [
            control_sentence(result)
            for result in control_results(view)
            if (result.setting, result.reranking) == (found.setting, found.reranking)
        ]
        if lines:
            parts.append("\n".join(f"- {line}" for line in lines))
    parts.append(
        f"Made by `vireid ablate ablations/{name}.yaml --report`; `vireid report {name}` renders it again from records."
    )
    return "\n\n".join(parts) + "\n"


def _markdown_rows(found: Headline) -> Iterator[str]:
    heads = ["Toggle", "mAP", "R1", "Latency", "MACs", "Step time"]
    yield f"| {' | '.join(heads)} |"
    yield f"|---|{'---:|' * (len(heads) - 1)}"
    for line in found.lines:
        name = f"*{line.name}*" if line.mean_ap.placebo else line.name
        if line.few is not None:
            name += f" ({seeds_phrase(line.few)})"
        scores = [f"**{text}**" if shown else text for text, shown in map(_score, (line.mean_ap, line.r1))]
        yield f"| {' | '.join([name, *scores, *_costs(line.mean_ap)[:3]])} |"


def _score(effect: Effect | None) -> tuple[str, bool]:
    """Words of an effect, and whether it is shown."""
    change: Difference | None = effect.difference if effect is not None else None
    if effect is None or change is None:
        return "not estimable", False
    return f"{signed(100 * change.mean)} {interval(change)}".rstrip(), effect.shown


def _costs(effect: Effect) -> list[str]:
    ratios = effect.ratios
    found = (ratios.latency, ratios.macs, ratios.step, ratios.memory)
    return [_DASH if ratio is None else f"×{ratio:.2f}" for ratio in found]
