"""The comparison as Markdown for a README: the first protocol, differences from the reference, text apart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from vireid.report.comparison.differences import system_sentence
from vireid.report.comparison.systems import METRICS, SystemRow, SystemTable
from vireid.report.comparison.training import budget_sentence, trainings
from vireid.report.effects import Effect, Family, Names
from vireid.report.load import Setting, StudyView
from vireid.report.protocols import PLAIN, protocol_title
from vireid.report.statistics import MIN_SEEDS, Summary, interval, seeds_phrase, signed
from vireid.report.tables import COSTS
from vireid.report.text import TextRow, source, text_sentence

_DASH = "–"
_COSTS = tuple(column for column in COSTS if column.key in ("params", "macs", "latency"))


def comparison_markdown(
    view: StudyView, tables: Sequence[SystemTable], on_map: Sequence[Family], text: Sequence[TextRow]
) -> str:
    """Title, note, table of the first protocol, sentences, text in a list of its own, and the commands."""
    name = view.plan.name
    parts = [f"# {view.plan.title}"]
    if view.note:
        parts.append(f"**{view.note.strip()}**")
    finished = sum(1 for run in view.runs if not run.problems)
    seeds = ", ".join(map(str, view.plan.seeds))
    parts.append(
        f"{len(view.design_cells)} systems × {len(view.plan.seeds)} seeds ({seeds}), {finished} of {len(view.runs)} "
        "runs complete."
    )
    if tables:
        parts += _accuracy(view, tables[0], on_map)
    else:
        parts.append("No system has a score yet.")
    if text:
        said = dict.fromkeys(source(json.loads(row.setting.protocol)) for row in text)
        parts.append(f"With text ({'; '.join(said)}), never in one column with images alone:")
        parts.append("\n".join(f"- {text_sentence(row)}" for row in text if row.reranking == PLAIN))
    parts.append(
        f"Made by `vireid ablate ablations/{name}.yaml --report`; `vireid report {name}` renders it again from records."
    )
    return "\n\n".join(parts) + "\n"


def _accuracy(view: StudyView, content: SystemTable, on_map: Sequence[Family]) -> list[str]:
    setting = content.settings[0]
    family = next((f for f in on_map if (f.setting, f.reranking) == (setting, PLAIN)), None)
    names, reference = Names(view), view.baseline.label
    effects = {} if family is None else {names.effect(effect): effect for effect in family.effects}
    title = protocol_title(json.loads(setting.protocol))
    parts = [
        f"{title}, {PLAIN}, images alone, trained on {content.accelerator}:",
        "\n".join(_rows(content, setting, effects, reference)),
    ]
    words = [
        f"R1 and mAP in %, mean ± standard deviation over seeds; difference from {reference} in points of mAP, paired "
        "by seed, with its 95 % interval."
    ]
    if family is None:
        words.append(f"No system has a score beside {reference}, so nothing is compared.")
    elif family.tested:
        words.append(f"**Bold**: shown after Holm's correction over {family.tested} systems.")
    else:
        words.append(f"Fewer than {MIN_SEEDS} seeds: no interval is given and no effect is claimed.")
    words.append("Parameters, MACs and latency of the deployed graph.")
    if condition := view.main_condition(1):
        words.append(f"Latency: median of one image, {condition.setup}.")
    words.append(budget_sentence(trainings(view, content.accelerator)))
    parts.append(" ".join(filter(None, words)))
    if effects:
        parts.append("\n".join(f"- {system_sentence(e, names, reference)}" for e in effects.values()))
    return parts


def _rows(content: SystemTable, setting: Setting, effects: dict[str, Effect], reference: str) -> Iterator[str]:
    heads = ["System", *METRICS.values(), f"mAP − {reference}", "Params, M", "MACs, G", "Latency, ms", "Training, s"]
    yield f"| {' | '.join(heads)} |"
    yield f"|---|{'---:|' * (len(heads) - 1)}"
    for row in content.rows:
        scores = [_score(row.scores[setting, metric]) for metric in METRICS]
        change = _DASH if row.reference else _difference(effects.get(row.name))
        yield f"| {' | '.join([_name(row), *scores, change, *_costs(content, row)])} |"


def _name(row: SystemRow) -> str:
    if row.seeds == 0:
        return f"{row.name} (no score)"
    return f"{row.name} ({seeds_phrase(row.seeds)})" if row.seeds < MIN_SEEDS else row.name


def _score(value: Summary | None) -> str:
    if value is None:
        return _DASH
    return f"{100 * value.mean:.1f}" + ("" if value.sd is None else f" ±{100 * value.sd:.1f}")


def _difference(effect: Effect | None) -> str:
    change = effect.difference if effect is not None else None
    if effect is None or change is None:
        return _DASH
    text = f"{signed(100 * change.mean)} {interval(change)}".rstrip()
    return f"**{text}**" if effect.shown else text


def _costs(content: SystemTable, row: SystemRow) -> list[str]:
    found = [(row.deployed[column.key], content.decimals(column)) for column in _COSTS]
    seconds = None if row.training is None or row.training.seconds is None else row.training.seconds.mean
    return [_DASH if value is None else f"{value:.{digits}f}" for value, digits in [*found, (seconds, 0)]]
