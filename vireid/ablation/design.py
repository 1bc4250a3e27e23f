"""Designs: which combinations of levels a study runs. Each returns cells as factor -> level, baseline first."""

from itertools import product

from vireid.ablation.study import Study

Levels = dict[str, str]


def combinations(study: Study) -> list[Levels]:
    """All cells of the study's design, without repeats, the baseline first."""
    cells = [study.baseline, *_DESIGNS[study.design](study)]
    unique: list[Levels] = []
    for cell in cells:
        if cell not in unique:
            unique.append(cell)
    return unique


def _others(study: Study, factor: str) -> list[str]:
    return list(study.factors[factor])[1:]


def _cumulative(study: Study) -> list[Levels]:
    """Baseline, then one factor more at a time, each at its last level, in the order of the file."""
    cells, current = [], dict(study.baseline)
    for factor in study.factors:
        current = {**current, factor: _others(study, factor)[-1]}
        cells.append(current)
    return cells


def _one_at_a_time(study: Study) -> list[Levels]:
    return [{**study.baseline, factor: level} for factor in study.factors for level in _others(study, factor)]


def _leave_one_out(study: Study) -> list[Levels]:
    """Everything on (last levels), then each factor back at its baseline."""
    full = {factor: _others(study, factor)[-1] for factor in study.factors}
    return [full, *({**full, factor: study.baseline[factor]} for factor in study.factors)]


def _full_factorial(study: Study) -> list[Levels]:
    """Every combination. A placebo is on where an odd number of the other factors is: its main effect is then estimated
    from as many fits as theirs, and mixed up with nothing but the interaction of all of them.
    """
    crossed = {factor: levels for factor, levels in study.factors.items() if factor not in study.placebo}
    cells = [dict(zip(crossed, levels, strict=True)) for levels in product(*crossed.values())]
    for factor in study.placebo:
        for cell in cells:
            changed = sum(level != study.baseline[name] for name, level in cell.items() if name in crossed)
            cell[factor] = list(study.factors[factor])[changed % 2]
    return cells


def _explicit(study: Study) -> list[Levels]:
    return [{**study.baseline, **cell} for cell in study.cells]


_DESIGNS = {
    "cumulative": _cumulative,
    "one_at_a_time": _one_at_a_time,
    "leave_one_out": _leave_one_out,
    "full_factorial": _full_factorial,
    "explicit": _explicit,
}
