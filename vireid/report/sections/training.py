"""Learning curves, learned weights, dev scores with the rules of picking an epoch, and what each fit took.

Rules of picking the epoch to report: last, best on dev, mean of the last five; what each would have given. Only dev is
looked at, that is held-out training identities. The best epoch is picked on the very set it is reported on, so its
score is too high by construction; how much is what the comparison shows.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vireid.core.messages import DASH
from vireid.report.figures.curves import dev_curves, dev_scores, training_curves, weight_curves
from vireid.report.html import Column, Html, absent, join, table, tag
from vireid.report.numbers import seeds_phrase, signed
from vireid.report.page import Report
from vireid.report.records.study import StudyView
from vireid.statistics.seeds import MIN_SEEDS, difference, summary

LAST_EPOCHS = 5
RULES: dict[str, Callable[[Sequence[float]], float]] = {
    "Last": lambda scores: scores[-1],
    "Best on dev": max,
    f"Mean of last {LAST_EPOCHS}": lambda scores: float(np.mean(scores[-LAST_EPOCHS:])),
}


def render(report: Report) -> Html:
    """Figures where there is something to draw, and the two tables."""
    view, out = report.view, report.out
    pieces = [training_curves(view, out), weight_curves(view, out), dev_curves(view, out)]
    pieces += [selection_table(view), fits_table(view)]
    return join(piece for piece in pieces if piece is not None)


def by_cell(view: StudyView, accelerator: str, metric: str = "mAP") -> dict[str, dict[int, list[float]]]:
    """Dev scores over epochs, of fits with at least ``LAST_EPOCHS`` of them: cell -> seed -> scores."""
    cells: dict[str, dict[int, list[float]]] = {}
    for run in view.trained:
        if run.fit.environment.accelerator == accelerator:
            scores = dev_scores(run.fit, metric)[1]
            if len(scores) >= LAST_EPOCHS:
                cells.setdefault(run.cell.name, {})[run.seed] = scores
    return cells


def selection_table(view: StudyView, metric: str = "mAP") -> Html | None:
    """What every rule gives for each cell, with the difference from the baseline; None without dev curves."""
    blocks = []
    for accelerator in view.accelerators:
        cells = by_cell(view, accelerator, metric)
        reference = cells.get(view.baseline.name, {})
        rows = [_row(view, cell, runs, reference) for cell, runs in cells.items()]
        if rows:
            blocks.append((f"Trained on {accelerator}", rows))
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
) -> list[str]:
    entries = [view.cells[cell].label]
    for rule in RULES.values():
        value = summary([rule(scores) for scores in runs.values()])
        assert value is not None
        spread = tag("span", f" ±{100 * value.sd:.1f}", class_="sd") if value.sd is not None else ""
        blocks = [rule(runs[seed]) - rule(reference[seed]) for seed in runs if seed in reference]
        change = difference(blocks) if cell != view.baseline.name else None
        small = tag("small", "")
        if change is not None:
            few = change.n < MIN_SEEDS
            hint = seeds_phrase(change.n) if few else None
            small = tag("small", signed(100 * change.mean), class_="unclaimed" if few else "delta", title=hint)
        entries.append(tag("span", f"{100 * value.mean:.1f}", spread, small))
    gain = float(np.mean([max(scores) - scores[-1] for scores in runs.values()]))
    unrest = float(np.mean([np.std(scores[-LAST_EPOCHS:], ddof=1) for scores in runs.values()]))
    return [*entries, signed(100 * gain), f"{100 * unrest:.1f}"]


def fits_table(view: StudyView) -> Html:
    """What each fit took: time, step time, memory, machine."""
    columns = [Column("Configuration", text=True), Column("Seed"), Column("Epochs"), Column("Steps")]
    columns += [Column("Time", "s"), Column("Step", "ms, median"), Column("Peak memory", "MB")]
    columns += [Column("Trained on", text=True), Column("Run", text=True)]
    rows = []
    for run in view.trained:
        fit, label = run.fit, run.cell.label
        rows.append(
            [
                tag("span", label, " ", tag("span", "stale", class_="badge")) if run.stale else label,
                str(fit.seed),
                str(len(fit.curves)),
                str(len(fit.step_seconds)),
                DASH if fit.seconds is None else f"{fit.seconds:.0f}",
                f"{1e3 * statistics.median(fit.step_seconds):.0f}" if fit.step_seconds else DASH,
                DASH if fit.peak_memory_bytes is None else f"{fit.peak_memory_bytes / 1e6:.0f}",
                f"{fit.environment.accelerator}, {fit.environment.threads} threads",
                tag("code", fit.id),
            ]
        )
    if not rows:
        return absent("No finished training.")
    caption = "Training: one row per fit. Peak memory is of the process on CPU, of the allocator on an accelerator."
    return table(columns, [("", rows)], caption + view.note)
