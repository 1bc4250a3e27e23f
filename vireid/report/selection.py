"""Rules of picking the epoch to report: last, best on dev, mean of the last five; what each would have said.

Only dev is looked at, that is held-out training identities. The best epoch is picked on the very set it is reported on,
so its score is too high by construction; how much is what the comparison shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vireid.core.records import FitRecord
from vireid.report.html import Column, Content, Fragment, Rows, table, tag
from vireid.report.load import StudyView
from vireid.report.statistics import MIN_SEEDS, difference, seeds_phrase, signed, summary

LAST_EPOCHS = 5
RULES: dict[str, Callable[[Sequence[float]], float]] = {
    "Last": lambda scores: scores[-1],
    "Best on dev": max,
    f"Mean of last {LAST_EPOCHS}": lambda scores: float(np.mean(scores[-LAST_EPOCHS:])),
}


def dev_scores(fit: FitRecord, metric: str = "mAP") -> tuple[list[float], list[float]]:
    """Epochs that were evaluated on dev, and their scores as fractions."""
    epochs: list[float] = []
    scores: list[float] = []
    for entry in fit.curves:
        dev = entry.get("dev")
        value = dev.get(metric) if isinstance(dev, Mapping) else None
        if isinstance(value, int | float) and math.isfinite(value):
            epochs.append(float(entry.get("epoch", 0)))
            scores.append(float(value))
    return epochs, scores


def by_cell(view: StudyView, accelerator: str, metric: str = "mAP") -> dict[str, dict[int, list[float]]]:
    """Dev scores over epochs, of fits with at least ``LAST_EPOCHS`` of them: cell -> seed -> scores."""
    found: dict[str, dict[int, list[float]]] = {}
    for run in view.runs:
        if run.fit is not None and run.fit.environment.accelerator == accelerator:
            scores = dev_scores(run.fit, metric)[1]
            if len(scores) >= LAST_EPOCHS:
                found.setdefault(run.cell.name, {})[run.seed] = scores
    return found


def selection_table(view: StudyView, metric: str = "mAP") -> Fragment | None:
    """What every rule says of each cell, with the difference from the baseline; None without dev curves."""
    blocks: list[Rows] = []
    for accelerator in dict.fromkeys(run.fit.environment.accelerator for run in view.runs if run.fit is not None):
        found = by_cell(view, accelerator, metric)
        reference = found.get(view.baseline.name, {})
        rows = [_row(view, cell, runs, reference) for cell, runs in found.items()]
        if rows:
            blocks.append(Rows(f"Trained on {accelerator}", rows))
    if not blocks:
        return None
    columns = [Column("Configuration", text=True), *(Column(name, f"{metric}, %") for name in RULES)]
    columns += [Column("Best − last", "points"), Column("Fluctuation", f"SD of last {LAST_EPOCHS}, points")]
    caption = (
        f"One training read by three rules, on dev (held-out training identities), with the difference from "
        f"{view.baseline.label} paired by seed below; grey: fewer than {MIN_SEEDS} seeds, no effect claimed. The best "
        "epoch is picked on the scores it is reported with, so it is too good by construction. Fluctuation is within a "
        "training, from one evaluation to the next."
    )
    return table(columns, blocks, caption + view.note)


def _row(
    view: StudyView, cell: str, runs: Mapping[int, Sequence[float]], reference: Mapping[int, Sequence[float]]
) -> list[Content]:
    entries: list[Content] = [view.cells[cell].label]
    for rule in RULES.values():
        value = summary([rule(scores) for scores in runs.values()])
        assert value is not None
        spread = tag("span", f" ±{100 * value.sd:.1f}", class_="sd") if value.sd is not None else ""
        blocks = [rule(runs[seed]) - rule(reference[seed]) for seed in runs if seed in reference]
        change = difference(blocks) if cell != view.baseline.name else None
        small: Content = tag("small", "")
        if change is not None:
            few = change.n < MIN_SEEDS
            hint = seeds_phrase(change.n) if few else None
            small = tag("small", signed(100 * change.mean), class_="unclaimed" if few else "delta", title=hint)
        entries.append(tag("span", f"{100 * value.mean:.1f}", spread, small))
    gain = float(np.mean([max(scores) - scores[-1] for scores in runs.values()]))
    unrest = float(np.mean([np.std(scores[-LAST_EPOCHS:], ddof=1) for scores in runs.values()]))
    return [*entries, signed(100 * gain), f"{100 * unrest:.1f}"]
