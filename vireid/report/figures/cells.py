"""What colour means in figures of cells: grey is the baseline, a hue is the one factor that a cell changes."""

from collections.abc import Sequence

from vireid.core.plan import Cell
from vireid.report.effects.estimate import baseline_level
from vireid.report.figures.canvas import DASHES, OKABE_ITO, colour, dashes
from vireid.report.records.study import StudyView, cells_are_levels

BASELINE_GREY = "#777777"
SEVERAL = "#33414E"  # cells that change several factors
MANY = 7  # lines that a panel can hold
MANY_LEVELS = 2 * len(OKABE_ITO)  # of one factor, such as systems: they differ in hue, then in dashes


def changed(view: StudyView, cell: Cell) -> list[str]:
    """Factors at another level than the baseline's, placebos aside."""
    plan = view.plan
    return [
        factor
        for factor in plan.factors
        if factor not in plan.placebo and cell.factors.get(factor) not in (None, baseline_level(view, factor))
    ]


def cell_colour(view: StudyView, name: str) -> str:
    """Grey for the baseline, a hue for a factor (for a level, where levels are compared), dark for several factors."""
    cell = view.cells[name]
    factors = changed(view, cell)
    if not factors:
        return BASELINE_GREY
    if len(factors) > 1:
        return SEVERAL
    if cells_are_levels(view.plan):
        return colour(_level(view, cell, factors[0]) - 1)
    return colour(list(view.plan.factors).index(factors[0]))


def cell_dashes(view: StudyView, name: str) -> tuple[float, Sequence[float]]:
    """Whole lines for the first level of a factor beside its baseline, broken ones for the others.

    Where levels are compared and have hues of their own, lines are broken when hues begin again.
    """
    cell = view.cells[name]
    factors = changed(view, cell)
    if len(factors) != 1:
        return DASHES[0]
    if cells_are_levels(view.plan):
        return dashes(_level(view, cell, factors[0]) - 1)
    return DASHES[(_level(view, cell, factors[0]) - 1) % len(DASHES)]


def _level(view: StudyView, cell: Cell, factor: str) -> int:
    return view.plan.factors[factor].index(cell.factors[factor])


def leading(view: StudyView, names: Sequence[str]) -> list[str]:
    """Cells to draw where all are too many: the baseline, one per factor that changes it alone, and the fullest.

    Levels of one factor, such as systems, cannot stand for each other: all are drawn while hues and dashes tell them
    apart.
    """
    if len(names) <= (MANY_LEVELS if cells_are_levels(view.plan) else MANY):
        return list(names)
    kept: list[str] = []
    seen: set[tuple[str, ...]] = set()
    fullest = max(len(changed(view, view.cells[name])) for name in names)
    for name in names:
        factors = tuple(changed(view, view.cells[name]))
        if factors not in seen and (len(factors) < 2 or len(factors) == fullest):
            seen.add(factors)
            kept.append(name)
    return kept
