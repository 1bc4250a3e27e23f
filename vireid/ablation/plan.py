"""Study → plan: cells × seeds with the ids of their records, and what is checked before it runs. Trains nothing."""

from collections.abc import Mapping, Sequence
from itertools import product

from vireid.ablation.fractions import alias_groups, fraction
from vireid.ablation.references import find_cell, resolve
from vireid.ablation.study import Study
from vireid.config import ExperimentConfig
from vireid.core.errors import UserError
from vireid.core.plan import Cell, Plan, PlannedRun
from vireid.experiment.context import RunContext
from vireid.experiment.identity import RunIds, deployed_protocols, teacher_of
from vireid.overrides import compose, group_names, override_key
from vireid.store import Store

Levels = dict[str, str]  # factor -> level


def make_plan(
    study: Study, overrides: Sequence[str] = (), *, seeds: Sequence[int] | None = None, only: Sequence[str] = ()
) -> tuple[Plan, dict[str, ExperimentConfig]]:
    """Plan a study.

    Args:
        study: the study as read.
        overrides: ``key=value`` changes of its base, from the command line.
        seeds: other seeds than the study's.
        only: ``factor=level`` conditions that cells must meet; the baseline always stays.

    Returns:
        The plan, and the configuration of every fit by its id.

    Raises:
        UserError: a cell whose configuration is impossible (the message names cell and reason), or an override of
            a key that a factor sets.
    """
    _refuse_overriding_factors(study, overrides)
    conditions = _conditions(study, only)
    every = [_cell(study, levels) for levels in combinations(study)]
    every += [_control(study, name) for name in study.controls]
    cells = [c for c in every if c.baseline or c.control or conditions.items() <= c.factors.items()]
    seeds = list(seeds or study.seeds)
    planner = _Planner(study, overrides, every)
    runs: list[PlannedRun] = []
    configs: dict[str, ExperimentConfig] = {}
    for seed in seeds:
        for cell in cells:
            run, config = planner.plan(cell, seed)
            if run.fit in configs:
                twin = next(other for other in runs if other.fit == run.fit)
                raise UserError(
                    f"study {study.name}: cell {twin.cell} at seed {twin.seed} and cell {cell.name} at seed {seed} are "
                    f"one run ({run.fit}): nothing that decides a result differs; drop one or fix its overrides"
                )
            configs[run.fit] = config
            runs.append(run)
    plan = Plan(
        name=study.name,
        title=study.title,
        description=study.description,
        design=study.design,
        factors={factor: list(levels) for factor, levels in study.factors.items()},
        seeds=seeds,
        cells=cells,
        runs=runs,
        placebo=study.placebo,
        random=study.random,
        planted=study.planted,
        untrained=study.untrained,
        aliases=aliases(study) if study.design == "fractional_factorial" else [],
        study=study.model_dump(mode="json"),
    )
    return plan, configs


def replaced(study: Study, overrides: Sequence[str]) -> list[str]:
    """What of a study's base a choice on the command line takes with it: ``data=sysu`` replaces all of ``data``.

    Nobody who writes ``data=sysu`` sees that the study's ``data.hold_out_dev=true`` goes too.
    """
    given = {override_key(text) for text in overrides}
    chosen = given & set(group_names())
    base = [(text, override_key(text)) for text in study.base]
    return [text for text, key in base if "." in key and key.partition(".")[0] in chosen and key not in given]


class _Planner:
    """Plans cells of a study, each once, and before it the cells that it begins with or learns from."""

    def __init__(self, study: Study, overrides: Sequence[str], cells: Sequence[Cell]) -> None:
        self._study, self._overrides, self._cells = study, overrides, cells
        self._planned: dict[tuple[str, int], tuple[PlannedRun, ExperimentConfig]] = {}
        self._open: list[str] = []  # cells whose own references are being resolved

    def plan(self, cell: Cell, seed: int) -> tuple[PlannedRun, ExperimentConfig]:
        """The run of a cell at a seed and its configuration.

        Raises:
            UserError: an impossible configuration, a reference to a cell that is not there, or cells that build on
                each other.
        """
        if (cell.name, seed) not in self._planned:
            where = f"study {self._study.name}, cell {cell.name}"
            if cell.name in self._open:
                raise UserError(f"{where}: builds on itself: {' → '.join([*self._open, cell.name])}")
            self._open.append(cell.name)
            self._planned[cell.name, seed] = self._plan(cell, seed, where)
            self._open.pop()
        return self._planned[cell.name, seed]

    def _plan(self, cell: Cell, seed: int, where: str) -> tuple[PlannedRun, ExperimentConfig]:
        changes = [o for factor, level in cell.factors.items() for o in self._study.factors[factor][level]]
        changes += self._study.controls.get(cell.control or "", [])

        def fit_of(name: str) -> str:
            try:
                named = find_cell(name, self._cells, self._study)
            except UserError as error:
                raise UserError(f"{where}: {error}") from error
            return self.plan(named, seed)[0].fit

        base = resolve(self._study.base, fit_of)
        changes = resolve([*self._overrides, *changes, f"seed={seed}"], fit_of)
        config = compose([*base, *changes], where)
        ids = RunIds(config)
        try:
            run = PlannedRun(
                cell=cell.name,
                seed=config.seed,
                overrides=changes,
                fit=ids.fit,
                evaluations=[ids.evaluation(protocol) for protocol in config.evaluation.protocols],
                cost=ids.cost,
                deployed=[
                    ids.deployed(protocol, runtime)
                    for runtime in config.evaluation.deployed
                    for protocol in deployed_protocols(config)
                ],
            )
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        return run, config


def _cell(study: Study, levels: Levels) -> Cell:
    changed = {factor: level for factor, level in levels.items() if level != study.baseline[factor]}
    silent = study.placebo if study.design == "full_factorial" else []  # there it follows from the other factors
    labels = [
        study.labels.get(factor, factor) + ("" if _is_switch(study, factor) else f" {level}")
        for factor, level in changed.items()
        if factor not in silent
    ]
    if study.design == "cumulative" and labels:
        labels = labels[-1:]  # each row adds one thing to the row above
    return Cell(
        name=",".join(f"{factor}={level}" for factor, level in changed.items()) or "baseline",
        label="+ " + " + ".join(labels) if labels else "baseline",
        factors=levels,
        baseline=not changed,
    )


def _control(study: Study, name: str) -> Cell:
    """The baseline with a control's overrides."""
    return Cell(name=f"control={name}", label=f"control: {name}", factors=study.baseline, control=name)


def _is_switch(study: Study, factor: str) -> bool:
    """Whether a factor is just on or off, so that its name says enough."""
    return len(study.factors[factor]) == 2 and study.baseline[factor] in ("none", "off", "base", "fixed")


def _conditions(study: Study, only: Sequence[str]) -> dict[str, str]:
    conditions = {}
    for text in only:
        factor, equals, level = text.partition("=")
        if not equals:
            raise UserError(f"study {study.name}: --only {text}: expected factor=level")
        conditions[factor] = level
    try:
        study.check_levels(conditions)
    except ValueError as error:
        raise UserError(f"study {study.name}: --only: {error}") from error
    return conditions


def _refuse_overriding_factors(study: Study, overrides: Sequence[str]) -> None:
    for override in overrides:
        key = override_key(override)
        if key == "seed":
            raise UserError(f"study {study.name}: '{override}': seeds come from the study's own list; see --seeds")
        for factor, levels in study.factors.items():
            if any(key == override_key(change) for changes in levels.values() for change in changes):
                raise UserError(f"study {study.name}: '{override}': the factor '{factor}' sets this key in its levels")


def combinations(study: Study) -> list[Levels]:
    """All cells of the study's design, without repeats, the baseline first."""
    cells = [study.baseline, *_DESIGNS[study.design](study)]
    unique: list[Levels] = []
    for cell in cells:
        if cell not in unique:
            unique.append(cell)
    return unique


def _other_levels(study: Study, factor: str) -> list[str]:
    return list(study.factors[factor])[1:]


def _cumulative(study: Study) -> list[Levels]:
    """Baseline, then one factor more at a time, each at its last level, in the order of the file."""
    cells, current = [], dict(study.baseline)
    for factor in study.factors:
        current = {**current, factor: _other_levels(study, factor)[-1]}
        cells.append(current)
    return cells


def _one_at_a_time(study: Study) -> list[Levels]:
    return [{**study.baseline, factor: level} for factor in study.factors for level in _other_levels(study, factor)]


def _leave_one_out(study: Study) -> list[Levels]:
    """Everything on (last levels), then each factor back at its baseline."""
    full = {factor: _other_levels(study, factor)[-1] for factor in study.factors}
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


def _fractional_factorial(study: Study) -> list[Levels]:
    """Two levels a factor, a fraction of the combinations at the study's resolution (``vireid.ablation.fractions``)."""
    factors = {name: list(levels) for name, levels in study.factors.items()}
    return [
        {name: levels[on] for (name, levels), on in zip(factors.items(), row, strict=True)}
        for row in fraction(len(factors), study.resolution)
    ]


def aliases(study: Study) -> list[str]:
    """What a fraction cannot tell apart, in the words of the study: a main effect or pair and all that it contains."""
    names = [study.labels.get(name, name) for name in study.factors]
    return [
        " = ".join(" × ".join(names[position] for position in sorted(effect)) for effect in group)
        for group in alias_groups(len(names), study.resolution)
    ]


def _explicit(study: Study) -> list[Levels]:
    return [{**study.baseline, **cell} for cell in study.cells]


_DESIGNS = {
    "cumulative": _cumulative,
    "one_at_a_time": _one_at_a_time,
    "leave_one_out": _leave_one_out,
    "full_factorial": _full_factorial,
    "fractional_factorial": _fractional_factorial,
    "explicit": _explicit,
}


def check_earlier_fits(configs: Mapping[str, ExperimentConfig], store: Store) -> None:
    """Check the teachers and the starts of a plan before anything of it runs.

    Args:
        configs: configuration of every planned fit by its id. A fit that another builds on need not be there yet where
            it is planned too.
        store: where the others are.

    Raises:
        UserError: one is missing, or does not fit what builds on it.
    """
    for run in (RunContext(config, store) for config in configs.values()):
        if teacher_of(run.config) is not None and run.ids.teacher not in configs:
            from vireid.experiment.start import check_teacher  # reads weights, and so needs torch: most plans do not

            check_teacher(run)
        if run.config.start_from is not None and run.config.start_from not in configs:
            from vireid.experiment.start import check_start

            check_start(run)


def in_waves(configs: Mapping[str, ExperimentConfig]) -> list[list[str]]:
    """Ids of planned fits in waves: each comes in a later wave than the planned teacher and start that it builds on."""
    left = {fit: {RunIds(config).teacher, config.start_from} for fit, config in configs.items()}
    waves: list[list[str]] = []
    while left:
        waves.append([fit for fit, earlier in left.items() if not earlier & left.keys()])
        left = {fit: earlier for fit, earlier in left.items() if fit not in waves[-1]}
    return waves
