"""What a design can identify: its terms, the matrix of a linear model of them, and the method that fits the design.

Coding: a factor with L levels has one column per level other than its baseline, 1 at that level and 0 elsewhere, less
1/L. With two levels that is ±½. A main effect is then the mean difference between its level and the baseline level,
averaged over the levels of all other factors with equal weight; a two-way interaction (the product of two columns) is
how much the effect of one factor changes when the other is switched on. Seeds are blocks with a column of their own.

Controls are no part of a design. A placebo has a main effect and no interactions: in a full factorial it is aliased
with the interaction of all other factors, which the model leaves out.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from vireid.core.plan import Cell
from vireid.report.records.study import StudyView

Method = Literal["two-way", "main effects", "paired"]
Part = tuple[str, str]  # factor, level other than its baseline
Term = tuple[Part, ...]  # one part: main effect; two: interaction
FloatArray = npt.NDArray[np.float64]


def toggles(view: StudyView) -> list[Part]:
    """Every level that some cell of the design has and the baseline has not, in the order of the plan."""
    return [
        (factor, level)
        for factor, levels in view.plan.factors.items()
        for level in levels
        if level != baseline_level(view, factor)
        and any(cell.factors.get(factor) == level for cell in view.design_cells)
    ]


def baseline_level(view: StudyView, factor: str) -> str:
    """The level that a factor's effects are taken from."""
    return view.baseline.factors.get(factor, view.plan.factors[factor][0])


def pairs(view: StudyView, part: Part) -> tuple[tuple[str, str], ...]:
    """Pairs of cells (without, with) that differ in this factor alone; of other factors, placebos are overlooked."""
    factor, level = part
    reference = baseline_level(view, factor)
    without = [cell for cell in view.design_cells if cell.factors.get(factor) == reference]
    return tuple(
        (low.name, high.name)
        for high in view.design_cells
        if high.factors.get(factor) == level
        for low in without
        if _others(view, low, factor) == _others(view, high, factor)
    )


def _others(view: StudyView, cell: Cell, factor: str) -> dict[str, str]:
    return {name: level for name, level in cell.factors.items() if name != factor and name not in view.plan.placebo}


def terms(view: StudyView, method: Method) -> list[Term]:
    """Main effects, then, for the method that can separate them, the two-way interactions."""
    mains = toggles(view)
    wanted: list[Term] = [(part,) for part in mains]
    if method == "two-way":
        wanted += _interactions(view, mains)
    return wanted


def _interactions(view: StudyView, mains: Sequence[Part]) -> list[Term]:
    crossed = [part for part in mains if part[0] not in view.plan.placebo]
    return [(a, b) for a, b in combinations(crossed, 2) if a[0] != b[0]]


def choose_method(view: StudyView) -> Method:
    """The method that the planned cells allow, whatever has been measured of them.

    Least squares with two-way interactions where the planned cells separate all of them (full column rank), as in a
    full factorial. Otherwise differences paired by seed, where every toggle has two cells that differ in it alone
    (one at a time, cumulative, leave one out). Otherwise least squares on main effects (fractions of a factorial).
    """
    mains = toggles(view)
    everything: list[Term] = [(part,) for part in mains] + _interactions(view, mains)
    matrix = np.column_stack([np.ones(len(view.design_cells)), columns(view, view.design_cells, everything)])
    if len(everything) > len(mains) and np.linalg.matrix_rank(matrix) == matrix.shape[1]:
        return "two-way"
    return "paired" if all(pairs(view, part) for part in mains) else "main effects"


def columns(view: StudyView, cells: Sequence[Cell], chosen: Sequence[Term]) -> FloatArray:
    """Effect-coded columns: cells × terms."""
    sizes = {factor: len({cell.factors.get(factor) for cell in view.design_cells}) for factor in view.plan.factors}
    return code([cell.factors for cell in cells], chosen, sizes)


def code(levels: Sequence[Mapping[str, str]], chosen: Sequence[Term], sizes: Mapping[str, int]) -> FloatArray:
    """Effect-coded columns (rows × terms) of rows of factor levels; ``sizes`` has the number of levels of a factor."""
    matrix = np.ones((len(levels), len(chosen)))
    for position, term in enumerate(chosen):
        for factor, level in term:
            present = np.array([row.get(factor) == level for row in levels], dtype=float)
            matrix[:, position] *= present - 1 / sizes[factor]
    return matrix
