"""Means, spreads and effects of toggles, with seeds as blocks.

A toggle's effect is measured on pairs of cells that differ in that factor alone: within each seed the differences of
all such pairs are averaged (the seed is the block), and a Student t interval is taken over seeds. Below ``MIN_SEEDS``
no interval is given and no effect is claimed. Tests of one metric in one setting are corrected by Holm (1979).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from vireid.core.plan import Cell
from vireid.report.load import Setting, StudyView

MIN_SEEDS = 3
LEVEL = 0.95


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (None below two values) of ``n`` seeds."""

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences over ``n`` seeds; interval and p only from ``MIN_SEEDS`` on."""

    mean: float
    n: int
    low: float | None = None
    high: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class Effect:
    """Effect of raising one factor from its baseline level to ``level``, all other factors equal."""

    factor: str
    level: str
    setting: Setting
    reranking: str
    metric: str
    difference: Difference
    pairs: tuple[tuple[str, str], ...]  # (cell without, cell with)
    latency_ratio: float | None = None
    macs_ratio: float | None = None
    p_holm: float | None = None

    @property
    def shown(self) -> bool:
        """Whether the corrected test shows a difference."""
        return self.p_holm is not None and self.p_holm < 1 - LEVEL


def summary(values: Sequence[float]) -> Summary | None:
    """Mean and spread over seeds; None without values."""
    present = [value for value in values if not math.isnan(value)]
    if not present:
        return None
    sd = float(np.std(present, ddof=1)) if len(present) > 1 else None
    return Summary(float(np.mean(present)), sd, len(present))


def difference(blocks: Sequence[float]) -> Difference | None:
    """Mean of per-seed differences with a t interval; None without any."""
    n = len(blocks)
    if n == 0:
        return None
    mean = float(np.mean(blocks))
    if n < MIN_SEEDS:
        return Difference(mean, n)
    if math.isclose(min(blocks), max(blocks), rel_tol=1e-12):  # no spread but rounding: the interval is a point
        return Difference(mean, n, mean, mean, 1.0 if mean == 0 else 0.0)
    error = float(np.std(blocks, ddof=1)) / math.sqrt(n)
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return Difference(mean, n, mean - half, mean + half, p)


def paired(scores: pd.DataFrame, metric: str, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Per-seed differences (with − without), averaged over the pairs; seeds that lack any of the cells are left out.

    Args:
        scores: rows of one setting and one re-ranking, with columns cell, seed and ``metric``.
        metric: column to compare.
        pairs: names (cell without, cell with).
    """
    by_cell = scores.pivot_table(index="seed", columns="cell", values=metric, aggfunc="mean")
    names = {name for pair in pairs for name in pair}
    if not pairs or not names <= set(by_cell.columns):
        return []
    complete = by_cell[sorted(names)].dropna()
    blocks = sum((complete[high] - complete[low] for low, high in pairs), start=pd.Series(0.0, index=complete.index))
    return [float(value) for value in blocks / len(pairs)]


def toggles(view: StudyView) -> Iterator[tuple[str, str, tuple[tuple[str, str], ...]]]:
    """Every factor level other than its baseline, with the pairs of cells that differ in it alone."""
    for factor, levels in view.plan.factors.items():
        reference = view.baseline.factors.get(factor, levels[0])
        for level in levels:
            if level == reference:
                continue
            pairs = [
                (low.name, high.name)
                for high in view.plan.cells
                for low in view.plan.cells
                if high.factors.get(factor) == level
                and low.factors.get(factor) == reference
                and _others(low, factor) == _others(high, factor)
            ]
            if pairs:
                yield factor, level, tuple(pairs)


def effects(view: StudyView, metric: str = "mAP") -> list[Effect]:
    """Effects of all toggles in every setting and re-ranking, Holm-corrected within each of these."""
    condition = view.main_condition(1)
    medians = {cell: float(np.median(s)) for cell, s in view.latency[condition].items()} if condition else {}
    macs = {cell: cost.macs for cell, cost in view.costs.items() if cost.macs}
    found: list[Effect] = []
    for setting in view.settings:
        for reranking, rows in view.scores_in(setting).groupby("reranking", sort=False):
            family: list[Effect] = []
            for factor, level, planned in toggles(view):
                measured = set(rows.dropna(subset=[metric]).cell)
                pairs = tuple(pair for pair in planned if measured.issuperset(pair))
                change = difference(paired(rows, metric, pairs))
                if change is not None:
                    effect = Effect(factor, level, setting, str(reranking), metric, change, pairs)
                    family.append(replace(effect, latency_ratio=_ratio(medians, pairs), macs_ratio=_ratio(macs, pairs)))
            found += _holm(family)
    return found


def _holm(family: list[Effect]) -> list[Effect]:
    tested = [effect for effect in family if effect.difference.p is not None]
    if not tested:
        return family
    corrected = multipletests([effect.difference.p for effect in tested], method="holm")[1]
    by_identity = {id(effect): float(p) for effect, p in zip(tested, corrected, strict=True)}
    return [replace(effect, p_holm=by_identity.get(id(effect))) for effect in family]


def _ratio(values: dict[str, float], pairs: Sequence[tuple[str, str]]) -> float | None:
    """Geometric mean of with ÷ without over the pairs that have both."""
    logs = [math.log(values[high] / values[low]) for low, high in pairs if low in values and high in values]
    return math.exp(sum(logs) / len(logs)) if logs else None


def _others(cell: Cell, factor: str) -> dict[str, str]:
    return {name: level for name, level in cell.factors.items() if name != factor}


def factor_label(name: str) -> str:
    """A factor as sentences print it: short names are acronyms."""
    return name.upper() if len(name) <= 3 else name.replace("_", " ").capitalize()


def seeds_phrase(n: int) -> str:
    """``"1 seed, no effect claimed"`` and the like, for fewer than ``MIN_SEEDS``."""
    return f"{n} seed{'s' if n != 1 else ''}, no effect claimed"


def signed(value: float, decimals: int = 1) -> str:
    """Number with its sign, a true minus, and no negative zero."""
    text = f"{value:+.{decimals}f}"
    return text.replace("-", "−") if float(text) != 0 else f"±{0:.{decimals}f}"


def _plain(value: float) -> str:
    return signed(value).lstrip("+±")


def sentence(effect: Effect, levels: int = 1) -> str:
    """One plain sentence, in points of percent; ``levels`` above one adds the level's name."""
    name = factor_label(effect.factor) + (f" ({effect.level})" if levels > 1 else "")
    change = effect.difference
    gain = f"{signed(100 * change.mean)} {effect.metric}"
    if change.low is not None and change.high is not None:
        gain += f" [{_plain(100 * change.low)}, {_plain(100 * change.high)}]"
    if effect.latency_ratio is not None:
        cost = f"latency ×{effect.latency_ratio:.2f}"
    elif effect.macs_ratio is not None:
        cost = f"MACs ×{effect.macs_ratio:.2f}, latency not measured"
    else:
        cost = "cost not measured"
    if change.n < MIN_SEEDS:
        return f"{name}: {seeds_phrase(change.n)} ({gain}), {cost}"
    return f"{name}: {gain}, {cost}" if effect.shown else f"{name}: no effect shown ({gain}), {cost}"
