"""What summaries in Markdown, ``summary.md``, have in common."""

from collections.abc import Iterable, Sequence

from vireid.report.effects.estimate import Effect
from vireid.report.numbers import points
from vireid.report.records.study import StudyView

SUMMARY = "summary.md"


def document(view: StudyView, size: str, body: Iterable[str]) -> str:
    """A whole summary: title, note on the data, how much is complete, ``body``, and the commands that make it again."""
    name = view.plan.name
    seeds = ", ".join(map(str, view.plan.seeds))
    parts = [
        f"# {view.plan.title}",
        f"**{view.note.strip()}**" if view.note else "",
        f"{size} ({seeds}), {view.finished} of {len(view.runs)} runs complete.",
        *body,
        f"Made by `vireid ablate ablations/{name}.yaml --report`; "
        f"`vireid report {name}` renders it again from records.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, its first column to the left and all others to the right."""
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def effect_entry(effect: Effect | None, missing: str) -> str:
    """An effect in points of percent with its interval; bold where it is shown."""
    change = effect.difference if effect is not None else None
    if effect is None or change is None:
        return missing
    text = points(change)
    return f"**{text}**" if effect.shown else text
