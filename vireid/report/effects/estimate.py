"""Effects under every protocol and re-ranking, with what they cost and Holm's correction over each family."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from vireid.report.effects.design import Method, Part, Term, choose_method, columns, pairs, terms, toggles
from vireid.report.records.keys import AccuracyKey
from vireid.report.records.study import StudyView
from vireid.statistics.bootstrap import LEVEL
from vireid.statistics.least_squares import least_squares
from vireid.statistics.seeds import Difference, difference, holm, paired

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CostRatios:
    """With ÷ without, geometric means over the pairs of cells; None where one side was not measured."""

    latency: float | None = None  # median, batch 1
    macs: float | None = None
    step: float | None = None  # median training step
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
            changes = (
                _paired(rows, metric, [compared[term[0]] for term in wanted])
                if method == "paired"
                else _fitted(view, rows, metric, wanted)
            )
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
                families.append(Family(key, str(reranking), metric, method, tuple(_holm(effects))))
    return families


def _paired(rows: pd.DataFrame, metric: str, planned: Sequence[Pairs]) -> list[Difference | None]:
    measured = set(rows.cell)
    present = [tuple(pair for pair in own if measured.issuperset(pair)) for own in planned]
    return [difference(paired(rows, metric, pairs)) for pairs in present]


def _fitted(view: StudyView, rows: pd.DataFrame, metric: str, wanted: Sequence[Term]) -> list[Difference | None]:
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
    """Per cell, over its fits on one accelerator: median seconds of a step, and largest peak memory in bytes."""
    steps: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    for run in view.trained:
        if run.fit.environment.accelerator != accelerator:
            continue
        if run.fit.step_seconds:
            steps.setdefault(run.cell.name, []).append(statistics.median(run.fit.step_seconds))
        if run.fit.peak_memory_bytes is not None:
            memory[run.cell.name] = max(memory.get(run.cell.name, 0.0), float(run.fit.peak_memory_bytes))
    return {cell: statistics.median(values) for cell, values in steps.items()}, memory


def _ratio(values: Mapping[str, float], pairs: Pairs) -> float | None:
    measured = [(values[low], values[high]) for low, high in pairs if low in values and high in values]
    logs = [math.log(high / low) for low, high in measured if low > 0 and high > 0]
    return math.exp(sum(logs) / len(logs)) if logs else None
