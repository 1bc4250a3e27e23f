"""What every system was given to train with, and what it took: the budget that a comparison rests on."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vireid.core.messages import DASH
from vireid.core.records import FitRecord
from vireid.report.html import Column, Html, absent, join, paragraph, table, tag
from vireid.report.page import Report
from vireid.report.records.study import StudyView
from vireid.report.sections.training import fits_table
from vireid.statistics.seeds import Summary, summary

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
    step: float | None  # seconds, median over steps, then over fits
    memory: int | None  # peak bytes, largest over fits


def trainings(view: StudyView, accelerator: str) -> dict[str, Training]:
    """Cell -> its training, for cells of the design that have a fit on that accelerator."""
    fits: dict[str, list[FitRecord]] = {}
    for run in view.trained:
        if run.cell.control is None and run.fit.environment.accelerator == accelerator:
            fits.setdefault(run.cell.name, []).append(run.fit)
    return {cell: _training(own) for cell, own in fits.items()}


def _training(fits: Sequence[FitRecord]) -> Training:
    recipes = [fit.config.get("recipe") or {} for fit in fits]
    batches = _same([_batches(recipe) for recipe in recipes])
    size = _same([recipe.get("batch_size") for recipe in recipes])
    peaks = [fit.peak_memory_bytes for fit in fits if fit.peak_memory_bytes is not None]
    medians = [statistics.median(fit.step_seconds) for fit in fits if fit.step_seconds]
    return Training(
        fits=len(fits),
        images=None if batches is None or size is None else batches * size,
        batches=batches,
        steps=_same([len(fit.step_seconds) or None for fit in fits]),
        stages=_stages(recipes[0]),
        seconds=summary([fit.seconds for fit in fits if fit.seconds is not None]),
        step=statistics.median(medians) if medians else None,
        memory=max(peaks, default=None),
    )


def _batches(recipe: Mapping[str, Any]) -> int | None:
    """Batches of a whole fit; None where the data decide the length of an epoch."""
    steps, stages = recipe.get("steps_per_epoch"), recipe.get("stages")
    return int(steps) * sum(int(stage["epochs"]) for stage in stages) if steps and stages else None


def _stages(recipe: Mapping[str, Any]) -> str:
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


def render(report: Report) -> Html:
    """The budget in a sentence, one row per system (images, batches, steps, time, memory), and fit by fit."""
    view = report.view
    pieces = []
    for accelerator in view.accelerators:
        trained = trainings(view, accelerator)
        if verdict := budget_sentence(trained):
            pieces.append(paragraph(verdict, class_="warning" if verdict.startswith("NOT") else "notice"))
        pieces.append(_table(view, trained, accelerator))
    return join([*(pieces or [absent("No finished training.")]), fits_table(view)])


def _table(view: StudyView, trained: Mapping[str, Training], accelerator: str) -> Html:
    columns = [Column("System", text=True), Column("Images", "drawn"), Column("Batches"), Column("Steps", "optimiser")]
    columns += [Column("Epochs", text=True), Column("Time", "s per fit"), Column("Step", "ms, median")]
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
        f"Training on {accelerator}. Images: drawn for batches; a second view of an image is not counted again, though "
        "it costs time. Time: mean ± standard deviation over seeds. Step: one optimiser step, whatever it holds. Peak "
        "memory: largest over seeds, of the process on a CPU, of the allocator on an accelerator."
    )
    return table(columns, [("", rows)], caption + view.note)
