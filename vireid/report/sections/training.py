"""Learning curves, learned weights, dev scores with the rules of picking an epoch, and what each fit took.

Rules of picking the epoch to report: last, best on dev, mean of the last five; what each would have given. Only dev is
looked at, that is held-out training identities. The best epoch is picked on the very set it is reported on, so its
score is too high by construction; how much is what the comparison shows.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vireid.core.messages import DASH
from vireid.core.records import FitRecord
from vireid.report.figures.curves import dev_curves, dev_scores, mapping, training_curves, weight_curves
from vireid.report.html import Column, Html, absent, bullets, join, paragraph, table, tag
from vireid.report.page import Report
from vireid.report.records.keys import seeds_phrase, signed, threads_label, trained_on
from vireid.report.records.study import StudyView
from vireid.statistics.seeds import MIN_SEEDS, Summary, difference, summary

LAST_EPOCHS = 5
RULES: dict[str, Callable[[Sequence[float]], float]] = {
    "Last": lambda scores: scores[-1],
    "Best on dev": max,
    f"Mean of last {LAST_EPOCHS}": lambda scores: float(np.mean(scores[-LAST_EPOCHS:])),
}


def render_training(report: Report) -> Html:
    """Figures where there is something to draw, and the two tables."""
    view, copies = report.view, report.copies
    checks = [*plateau_sentences(view), *bound_sentences(view)]
    pieces = [
        bullets(checks) if checks else None,
        training_curves(view, copies),
        weight_curves(view, copies),
        dev_curves(view, copies),
    ]
    pieces += [selection_table(view), fits_table(view)]
    return join(piece for piece in pieces if piece is not None)


PLATEAU = 0.01  # of mAP on dev, in the last fifth of training


def plateau_sentences(view: StudyView) -> list[str]:
    """Whether trainings had come to rest on dev; empty where dev was not evaluated along the way."""
    gains: dict[str, list[float]] = {}
    for run in view.trained:
        if run.fit.late_gain is not None:
            gains.setdefault(run.cell.name, []).append(run.fit.late_gain)
    if not gains:
        return []
    means = {cell: float(np.mean(values)) for cell, values in gains.items()}
    moving = {cell: mean for cell, mean in means.items() if abs(mean) >= PLATEAU}
    rule = f"mAP on dev changes by less than {100 * PLATEAU:.0f} point in the last fifth of training, mean over fits"
    resting = f"At a plateau ({rule}): {len(means) - len(moving)} of {len(means)} configurations"
    return [
        resting,
        *(f"{view.cells[cell].label}: not at a plateau ({signed(100 * mean)})" for cell, mean in moving.items()),
    ]


def bound_sentences(view: StudyView) -> list[str]:
    """Which learned weights ended at a limit of their weighting, if any weights were learned."""
    learned = [run for run in view.trained if mapping(run.fit.config.get("weighting")).get("name", "fixed") != "fixed"]
    known = [run for run in learned if run.fit.at_bound is not None]
    if not known:
        return [f"Learned weights: {len(learned)} fits do not say whether one ended at its bound"] if learned else []
    stuck = [run for run in known if run.fit.at_bound]
    return [
        f"Learned weights: {len(stuck) or 'none'} of {len(known)} fits end{'s' if len(stuck) < 2 else ''} with one at "
        "its bound",
        *(f"{run.cell.label}, seed {run.seed}: {', '.join(run.fit.at_bound or ())}" for run in stuck),
    ]


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
        rows = [_selection_row(view, cell, runs, reference) for cell, runs in cells.items()]
        if rows:
            blocks.append((f"Trained on {trained_on(accelerator)}", rows))
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


def _selection_row(
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
    columns += [Column("Time", "s"), Column("Step", "ms"), Column("Peak memory", "MB")]
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
                DASH if fit.step_time is None else f"{1e3 * fit.step_time:.0f}",
                DASH if fit.peak_memory_bytes is None else f"{fit.peak_memory_bytes / 1e6:.0f}",
                f"{fit.environment.accelerator}, {threads_label(fit.environment.threads)}",
                tag("code", fit.id),
            ]
        )
    if not rows:
        return absent("No finished training.")
    caption = "Training: one row per fit. Peak memory is of the process on CPU, of the allocator on an accelerator."
    caption += view.shared_time
    return table(columns, [("", rows)], caption + view.note, folded=f"{len(rows)} fit{'s' if len(rows) > 1 else ''}")


EQUAL = 0.01  # budgets within this share of the largest one count as the same


@dataclass(frozen=True)
class Training:
    """The fits of one cell on one accelerator; budgets are None where fits differ or the recipe does not fix them."""

    fits: int
    images: int | None  # drawn for batches, second views aside
    batches: int | None
    steps: int | None  # of the optimiser
    stages: str
    seconds: Summary | None
    step: float | None  # seconds; median over fits
    memory: int | None  # peak bytes, largest over fits


def trainings(view: StudyView, accelerator: str) -> dict[str, Training]:
    """Cell -> its training, for cells of the design that have a fit on that accelerator."""
    fits: dict[str, list[FitRecord]] = {}
    for run in view.trained:
        if run.cell.control is None and run.fit.environment.accelerator == accelerator:
            fits.setdefault(run.cell.name, []).append(run.fit)
    return {
        cell: _training(group, [fit for fit in group if fit.id in view.timed_alike]) for cell, group in fits.items()
    }


def _training(fits: Sequence[FitRecord], timed: Sequence[FitRecord]) -> Training:
    recipes = [fit.config.get("recipe") or {} for fit in fits]
    batches = _same([_planned_batches(recipe) for recipe in recipes])
    size = _same([recipe.get("batch_size") for recipe in recipes])
    peaks = [fit.peak_memory_bytes for fit in fits if fit.peak_memory_bytes is not None]
    times = [fit.step_time for fit in timed if fit.step_time is not None]
    return Training(
        fits=len(fits),
        images=None if batches is None or size is None else batches * size,
        batches=batches,
        steps=_same([len(fit.step_seconds) or None for fit in fits]),
        stages=_epochs(recipes[0]),
        seconds=summary([fit.seconds for fit in timed if fit.seconds is not None]),
        step=statistics.median(times) if times else None,
        memory=max(peaks, default=None),
    )


def _planned_batches(recipe: Mapping[str, Any]) -> int | None:
    """Batches of a whole fit; None where the data decide the length of an epoch."""
    steps, stages = recipe.get("steps_per_epoch"), recipe.get("stages")
    return int(steps) * sum(int(stage["epochs"]) for stage in stages) if steps and stages else None


def _epochs(recipe: Mapping[str, Any]) -> str:
    """Epochs, stage by stage where there are several: ``19 base, 12 text``."""
    stages = recipe.get("stages") or []
    names = [f"{stage['epochs']}" + (f" {stage['name']}" if len(stages) > 1 else "") for stage in stages]
    return ", ".join(names) or DASH


def _same(values: Sequence[int | None]) -> int | None:
    first = values[0]
    return first if all(value == first for value in values) else None


def budget_sentence(trained: Mapping[str, Training]) -> str:
    """Whether the systems had the same budget, as the records say; empty below two known budgets."""
    images = [training.images for training in trained.values() if training.images is not None]
    if len(images) < 2:
        return ""
    low, high = min(images), max(images)
    if low == high:
        return f"Same budget: every fit drew {high:,} training images."
    apart = f"between {low:,} and {high:,} training images ({100 * (high - low) / high:.1f} % apart)"
    if high - low <= EQUAL * high:
        return f"Same budget: every fit drew {apart}."
    return f"NOT the same budget: fits drew {apart}."


def render_budget(report: Report) -> Html:
    """The budget in a sentence, one row per system (images, batches, steps, time, memory), and fit by fit."""
    view = report.view
    pieces = []
    for accelerator in view.accelerators:
        trained = trainings(view, accelerator)
        if verdict := budget_sentence(trained):
            pieces.append(paragraph(verdict, class_="warning" if verdict.startswith("NOT") else "notice"))
        pieces.append(_budget_table(view, trained, accelerator))
    return join([*(pieces or [absent("No finished training.")]), fits_table(view)])


def _budget_table(view: StudyView, trained: Mapping[str, Training], accelerator: str) -> Html:
    columns = [Column("System", text=True), Column("Images", "drawn"), Column("Batches"), Column("Steps", "optimiser")]
    columns += [Column("Epochs", text=True), Column("Time", "s per fit"), Column("Step", "ms")]
    columns += [Column("Peak memory", "MB")]
    rows = []
    for cell, training in trained.items():
        seconds = training.seconds
        spread = "" if seconds is None or seconds.sd is None else tag("span", f" ±{seconds.sd:.0f}", class_="sd")
        rows.append(
            [
                view.cells[cell].label,
                *(DASH if n is None else f"{n:,}" for n in (training.images, training.batches, training.steps)),
                training.stages,
                DASH if seconds is None else tag("span", f"{seconds.mean:.0f}", spread),
                DASH if training.step is None else f"{1e3 * training.step:.0f}",
                DASH if training.memory is None else f"{training.memory / 1e6:.0f}",
            ]
        )
    caption = (
        f"Trained on {trained_on(accelerator)}. Images: drawn for batches; a second view of an image is not counted "
        "again, though it costs time. Time: mean ± standard deviation over seeds. Step: one optimiser step, whatever "
        "it holds. Peak memory: largest over seeds, of the process on a CPU, of the allocator on an accelerator."
    )
    return table(columns, [("", rows)], caption + view.note)
