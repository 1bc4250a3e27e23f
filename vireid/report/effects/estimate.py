"""Effects: what a design can identify (terms, the matrix of their linear model, the fitting method), and estimates.

Coding: a factor with L levels has one column per level other than its baseline, 1 at that level and 0 elsewhere, less
1/L. With two levels that is ±½. A main effect is then the mean difference between its level and the baseline level,
averaged over the levels of all other factors with equal weight; a two-way interaction (the product of two columns) is
how much the effect of one factor changes when the other is switched on. Seeds are blocks with a column of their own.

Controls are no part of a design. A placebo has a main effect and no interactions: in a full factorial it is aliased
with the interaction of all other factors, which the model leaves out.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from vireid.core.plan import Cell
from vireid.report.records.keys import AccuracyKey
from vireid.report.records.study import StudyView
from vireid.statistics.bootstrap import LEVEL
from vireid.statistics.least_squares import Fitted, least_squares
from vireid.statistics.seeds import Difference, difference, holm, paired

Method = Literal["two-way", "main effects", "paired"]
Part = tuple[str, str]  # factor, level other than its baseline
Term = tuple[Part, ...]  # one part: main effect; two: interaction
FloatArray = npt.NDArray[np.float64]


def toggles(view: StudyView) -> list[Part]:
    """Every level that some cell of the design has and the baseline has not, in the order of the plan.

    Those of random factors are drawn, not chosen, and no toggles.
    """
    return [
        (factor, level)
        for factor, levels in view.plan.factors.items()
        if factor not in view.plan.random
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
        if other_levels(view, low, factor) == other_levels(view, high, factor)
    )


def squares(view: StudyView, first: Part, second: Part) -> tuple[tuple[str, str], ...]:
    """Pairs whose differences add up to how much the second part changes what the first is worth.

    Of every four cells that differ in these two alone: (second, both), and turned round (first, neither).
    """
    reference = baseline_level(view, second[0])

    def own(level: str) -> list[tuple[str, str]]:
        return [pair for pair in pairs(view, first) if view.cells[pair[1]].factors.get(second[0]) == level]

    return tuple(
        pair
        for low, high in own(second[1])
        for before, after in own(reference)
        if other_levels(view, view.cells[before], second[0]) == other_levels(view, view.cells[low], second[0])
        for pair in ((low, high), (after, before))
    )


def other_levels(view: StudyView, cell: Cell, factor: str) -> dict[str, str]:
    """A cell's levels of the factors beside one; placebos are overlooked."""
    return {name: level for name, level in cell.factors.items() if name != factor and name not in view.plan.placebo}


def terms(view: StudyView, method: Method) -> list[Term]:
    """Main effects, then the two-way interactions that the method can separate; pairs, those of crossed cells."""
    mains = toggles(view)
    wanted: list[Term] = [(part,) for part in mains]
    if method == "two-way":
        wanted += _interactions(view, mains)
    if method == "paired":
        wanted += [(a, b) for a, b in _interactions(view, mains) if squares(view, a, b)]
    return wanted


def _interactions(view: StudyView, mains: Sequence[Part]) -> list[Term]:
    crossed = [part for part in mains if part[0] not in view.plan.placebo]
    return [(a, b) for a, b in combinations(crossed, 2) if a[0] != b[0]]


def choose_method(view: StudyView) -> Method:
    """The method that the planned cells allow, whatever has been measured of them.

    Least squares with two-way interactions where the planned cells separate all of them (full column rank), as in a
    full factorial. Otherwise differences paired by seed, where every toggle has two cells that differ in it alone
    (one at a time, cumulative, leave one out), with the interactions of such parts as are crossed. Otherwise least
    squares on main effects (fractions of a factorial).
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


Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CostRatios:
    """With ÷ without, geometric means over the pairs of cells; None where one side was not measured."""

    latency: float | None = None  # median, batch 1
    macs: float | None = None
    step: float | None = None  # training step
    memory: float | None = None  # peak of training


@dataclass(frozen=True)
class Effect:
    """A main effect (one part) or a two-way interaction (two parts) on one metric."""

    parts: Term
    metric: str
    difference: Difference | None  # None where the measured cells cannot estimate it
    pairs: Pairs = ()  # cells (without, with) that differ in this factor alone
    ratios: CostRatios = CostRatios()
    placebo: bool = False
    p_holm: float | None = None

    @property
    def interaction(self) -> bool:
        """Whether two factors take part."""
        return len(self.parts) > 1

    @property
    def shown(self) -> bool:
        """Whether the corrected test shows a difference."""
        return self.p_holm is not None and self.p_holm < 1 - LEVEL


@dataclass(frozen=True)
class Family:
    """The effects under one protocol and re-ranking on one metric: what one correction goes over, placebos aside."""

    key: AccuracyKey
    reranking: str
    metric: str
    method: Method
    effects: tuple[Effect, ...]
    fitted: Fitted | None = None
    """What least squares found beside the effects; None where they are paired differences."""

    @property
    def tested(self) -> int:
        """Number of effects that the correction goes over."""
        return sum(1 for effect in self.effects if effect.p_holm is not None)

    @property
    def mains(self) -> list[Effect]:
        """Its main effects."""
        return [effect for effect in self.effects if not effect.interaction]

    @property
    def interactions(self) -> list[Effect]:
        """Its two-way interactions."""
        return [effect for effect in self.effects if effect.interaction]


def families(view: StudyView, metric: str = "mAP") -> list[Family]:
    """All families of a study, protocol by protocol, plain scores and re-ranked ones apart."""
    method = choose_method(view)
    wanted = terms(view, method)
    compared = {part: pairs(view, part) for part in toggles(view)}
    design = [cell.name for cell in view.design_cells]
    families: list[Family] = []
    for key in view.keys:
        ratios = cost_ratios(view, key, compared)
        for reranking, block in view.scores_in(key).groupby("reranking", sort=False):
            rows = block[block.cell.isin(design)].dropna(subset=[metric])
            fitted = None if method == "paired" else _fitted(view, rows, metric, wanted)
            if fitted is None:
                changes = [_paired(view, rows, metric, term, compared) for term in wanted]
            else:
                changes = fitted.differences
            effects = [
                Effect(
                    parts=term,
                    metric=metric,
                    difference=change,
                    pairs=compared[term[0]] if len(term) == 1 else (),
                    ratios=ratios[term[0]] if len(term) == 1 else CostRatios(),
                    placebo=any(factor in view.plan.placebo for factor, _ in term),
                )
                for term, change in zip(wanted, changes, strict=True)
            ]
            if any(effect.difference is not None for effect in effects):
                families.append(Family(key, str(reranking), metric, method, tuple(_holm(effects)), fitted))
    return families


def _paired(
    view: StudyView, rows: pd.DataFrame, metric: str, term: Term, compared: Mapping[Part, Pairs]
) -> Difference | None:
    measured = set(rows.cell)
    if len(term) == 1:
        return difference(paired(rows, metric, [pair for pair in compared[term[0]] if measured.issuperset(pair)]))
    planned = squares(view, *term)
    whole = [
        pair
        for with_second, turned in zip(planned[::2], planned[1::2], strict=True)
        if measured.issuperset((*with_second, *turned))
        for pair in (with_second, turned)
    ]
    return difference([2 * mean for mean in paired(rows, metric, whole)])  # a square is the sum of its two pairs


def _fitted(view: StudyView, rows: pd.DataFrame, metric: str, wanted: Sequence[Term]) -> Fitted:
    cells = [view.cells[name] for name in rows.cell]
    seeds = [int(seed) for seed in rows.seed]
    matrix = columns(view, cells, wanted)
    support = [_seeds_bearing_on(matrix[:, column], seeds) for column in range(matrix.shape[1])]
    return least_squares(rows[metric].to_numpy(dtype=float), seeds, matrix, support)


def _seeds_bearing_on(column: np.ndarray[tuple[int], np.dtype[np.float64]], seeds: Sequence[int]) -> int:
    """Number of seeds in which a term takes more than one value: in any other it is part of the block."""
    by_seed: dict[int, set[float]] = {}
    for seed, value in zip(seeds, column, strict=True):
        by_seed.setdefault(seed, set()).add(float(value))
    return sum(1 for values in by_seed.values() if len(values) > 1)


def _holm(effects: Sequence[Effect]) -> list[Effect]:
    """Corrected over all effects but placebos, which are checks on the study and claim nothing."""
    tested = [None if e.placebo or e.difference is None else e.difference.p for e in effects]
    return [replace(e, p_holm=p) for e, p in zip(effects, holm(tested), strict=True)]


def cost_ratios(view: StudyView, key: AccuracyKey, compared: Mapping[Part, Pairs]) -> dict[Part, CostRatios]:
    """What toggles do to deployment cost, and to the cost of the training runs behind an accuracy."""
    block = view.main_block(1)
    latency = {cell: timing.median for cell, timing in block.timings.items()} if block else {}
    macs = {cell: cost.macs for cell, cost in view.costs.items() if cost.macs}
    steps, memory = training_costs(view, key.accelerator)
    costs = (latency, macs, steps, memory)
    return {part: CostRatios(*(_ratio(values, pairs) for values in costs)) for part, pairs in compared.items()}


def training_costs(view: StudyView, accelerator: str) -> tuple[dict[str, float], dict[str, float]]:
    """Per cell, over its fits on one accelerator: seconds of a step, and largest peak memory in bytes."""
    steps: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    for run in view.trained:
        if run.fit.environment.accelerator != accelerator:
            continue
        if (step := run.fit.step_time) is not None and run.fit.id in view.timed_alike:
            steps.setdefault(run.cell.name, []).append(step)
        if run.fit.peak_memory_bytes is not None:
            memory[run.cell.name] = max(memory.get(run.cell.name, 0.0), float(run.fit.peak_memory_bytes))
    return {cell: statistics.median(values) for cell, values in steps.items()}, memory


def _ratio(values: Mapping[str, float], pairs: Pairs) -> float | None:
    measured = [(values[low], values[high]) for low, high in pairs if low in values and high in values]
    logs = [math.log(high / low) for low, high in measured if low > 0 and high > 0]
    return math.exp(sum(logs) / len(logs)) if logs else None
