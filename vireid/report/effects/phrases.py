"""Effects as sentences, as CSV, and what summaries in Markdown have in common."""

from collections.abc import Iterable, Sequence

from vireid.report.effects.estimate import Effect, Family, Method, Part, toggles
from vireid.report.records.keys import capitalised, p_text, points, seeds_phrase
from vireid.report.records.study import StudyView, cells_are_levels
from vireid.report.tables import csv_text
from vireid.statistics.least_squares import POOLING_LEVEL
from vireid.statistics.seeds import MIN_SEEDS

NOTHING = "No two cells that differ in one toggle have been measured yet."
METHODS: dict[Method, str] = {
    "two-way": (
        "Ordinary least squares with a block per seed, main effects and two-way interactions over all cells of the "
        "design. A main effect is the mean difference from the factor's baseline level, averaged over the levels of "
        "all other factors; an interaction is how much one factor's effect grows when the other is switched on. "
        "Interactions of three or more factors count as noise. Intervals are Student t with the residual degrees of "
        "freedom, or over each seed's own estimate where the test beside the effects speaks against pooling seeds."
    ),
    "main effects": (
        "Ordinary least squares with a block per seed and main effects alone: the cells of this design cannot keep "
        "interactions apart, so an effect may contain some. Intervals are Student t with the residual degrees of "
        "freedom, or over each seed's own estimate where the test beside the effects speaks against pooling seeds."
    ),
    "paired": (
        "Differences between cells that differ in one toggle alone, paired by seed and averaged over such cells; "
        "Student t over seeds. An effect holds beside the other levels it was measured with; interactions are told of "
        "pairs of toggles alone whose four cells were planned."
    ),
}


class Names:
    """What tables and sentences call factors, levels and effects of a study."""

    def __init__(self, view: StudyView) -> None:
        self._labels: dict[str, str] = dict(view.plan.study.get("labels") or {})
        self._factors = frozenset(view.plan.factors)
        self._display: dict[str, str] = dict(view.plan.study.get("display") or {})
        self._levels: dict[str, int] = {}
        self._level_alone = cells_are_levels(view.plan)
        for factor, _ in toggles(view):
            self._levels[factor] = self._levels.get(factor, 0) + 1

    def factor(self, name: str) -> str:
        """A factor's label in the study file; without one short names are taken for acronyms."""
        return self._labels.get(name) or (name.upper() if len(name) <= 3 else name.replace("_", " "))

    def display(self, name: str) -> str:
        """What papers call a factor or a cell: by ``display`` in the study file, else as reports do."""
        return self._display.get(name) or (capitalised(self.factor(name)) if name in self._factors else name)

    def part(self, part: Part) -> str:
        """A factor, with its level where it has several beside the baseline; the level where it is what is compared."""
        factor, level = part
        if self._level_alone:
            return level
        return self.factor(factor) + (f" ({level})" if self._levels.get(factor, 0) > 1 else "")

    def paper_effect(self, effect: Effect) -> str:
        """Name of an effect in a paper: by ``display`` in the study file, else as reports call it."""
        named = [self._display.get(level) or self._display.get(factor) for factor, level in effect.parts]
        return " × ".join(map(str, named)) if all(named) else self.effect(effect)

    def effect(self, effect: Effect) -> str:
        """Name of an effect, as it starts a sentence."""
        text = " × ".join(self.part(part) for part in effect.parts)
        mark = " (placebo)" if effect.placebo and "placebo" not in text.lower() else ""
        return (text if self._level_alone else capitalised(text)) + mark


def effects_csv(families: Sequence[Family], names: Names) -> str:
    """``effect_rows`` as CSV."""
    return csv_text(effect_rows(families, names))


def effect_rows(families: Sequence[Family], names: Names) -> list[dict[str, object]]:
    """Effects at full precision, as fractions; every row carries protocol and data note."""
    rows: list[dict[str, object]] = []
    for family in families:
        for effect in family.effects:
            change, ratios = effect.difference, effect.ratios
            rows.append(
                {
                    "effect": names.effect(effect),
                    "placebo": effect.placebo,
                    "reranking": family.reranking,
                    "metric": family.metric,
                    "difference": change and change.mean,
                    "low": change and change.low,
                    "high": change and change.high,
                    "seeds": change and change.n,
                    "df": change and change.df,
                    "p": change and change.p,
                    "p_holm": effect.p_holm,
                    "detectable": change and change.detectable(family.tested),
                    "interval_over": family.fitted.level if family.fitted else "seeds",
                    "shown": effect.shown,
                    "latency_ratio": ratios.latency,
                    "macs_ratio": ratios.macs,
                    "step_ratio": ratios.step,
                    "memory_ratio": ratios.memory,
                    "method": family.method,
                    "protocol": family.key.title,
                    "accelerator": family.key.accelerator,
                    "data": family.key.note or family.key.data,
                }
            )
    return rows


def sentence(effect: Effect, names: Names) -> str:
    """One sentence per effect, in percentage points."""
    name, change = names.effect(effect), effect.difference
    if change is None:
        return f"{name}: not estimable from the cells measured so far"
    gain = points(change, effect.metric)
    if effect.placebo:
        if change.n < MIN_SEEDS or change.contains_zero is None:
            return f"{name}: {seeds_phrase(change.n)} ({gain})"
        return f"{name}: interval contains zero: {'yes' if change.contains_zero else 'NO'} ({gain})"
    end = "" if effect.interaction else f", {cost_phrase(effect)}"
    if change.n < MIN_SEEDS:
        return f"{name}: {seeds_phrase(change.n)} ({gain}){end}"
    if not effect.shown:
        return f"{name}: no effect shown ({gain}{corrected(effect)}){end}"
    if effect.interaction:
        verb = "more" if change.mean > 0 else "less"
        return f"{name}: {gain}, together they give {verb} than the sum of each alone"
    return f"{name}: {gain}{end}"


def corrected(effect: Effect) -> str:
    """What to add where an interval by itself leaves out zero and the corrected test shows nothing; else empty."""
    change = effect.difference
    if effect.shown or change is None or change.contains_zero is not False or effect.p_holm is None:
        return ""
    return f" by itself, p = {p_text(effect.p_holm)} after correction"


def cost_phrase(effect: Effect) -> str:
    """What the toggle costs where it is deployed."""
    if effect.ratios.latency is not None:
        return f"latency ×{effect.ratios.latency:.2f}"
    if effect.ratios.macs is not None:
        return f"MACs ×{effect.ratios.macs:.2f}, latency not measured"
    return "cost not measured"


def family_phrase(tested: int) -> str:
    """What counts as shown, and over which effects the correction goes; empty where nothing is tested."""
    if not tested:
        return ""
    return (
        f"An effect counts as shown where p < 0.05 after Holm's correction over its family: the {tested} effects (main "
        "effects and interactions) of one setting, one re-ranking and one metric. Printed intervals are 95 %, each by "
        "itself, without that correction. A placebo is a check, not a claim, and stands outside the family. "
    )


def pooling_sentences(family: Family) -> list[str]:
    """What speaks for or against one model for all seeds, what follows for intervals, and how much scores scatter."""
    fitted = family.fitted
    if fitted is None:
        return []
    test, sentences = fitted.test, []
    if test.interaction_p is None or test.df is None:
        sentences.append(
            "Whether effects differ between seeds cannot be tested: no seed has more cells than the model has terms"
        )
    else:
        sentences.append(
            f"Effects × seeds: F({test.df[0]}, {test.df[1]}) = {test.interaction_f:.2f}, p = {test.interaction_p:.3g}"
            + ("" if test.spread_p is None else f"; equal scatter of seeds (Bartlett): p = {test.spread_p:.3g}")
        )
    if fitted.level == "seeds":
        sentences.append(
            f"At p < {POOLING_LEVEL} seeds are not pooled: every effect is estimated within each seed and its interval "
            "is a Student t over these, which speaks for data sets like these"
        )
    else:
        sentences.append(
            f"Pooled (given up at p < {POOLING_LEVEL}): one error for all seeds, and intervals that speak for these "
            "data sets"
        )
    if fitted.blocks is not None and fitted.residual is not None:
        sentences.append(
            f"Standard deviation of seeds {100 * fitted.blocks:.1f} points, of cells within a seed beyond the model "
            f"{100 * fitted.residual:.1f}"
        )
    return sentences


def detectable_text(effect: Effect, family: Family) -> str | None:
    """The smallest effect that the design shows with power 0.8, in points; None where no interval is given."""
    size = None if effect.difference is None else effect.difference.detectable(family.tested)
    return None if size is None else f"{100 * size:.1f}"


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
    """An effect in percentage points with its interval; bold where it is shown."""
    change = effect.difference if effect is not None else None
    if effect is None or change is None:
        return missing
    text = points(change)
    return f"**{text}**" if effect.shown else text
