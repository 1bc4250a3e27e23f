"""Single fits as a report takes them: of a study, or as a study of one or two cells that is written nowhere."""

from collections.abc import Collection, Sequence
from pathlib import Path

from vireid.core.errors import UserError
from vireid.core.plan import Cell, Plan, PlannedRun
from vireid.core.records import EvaluationRecord, FitRecord
from vireid.remote.copy import store_folder
from vireid.report.records.find import find_study, known_studies, stores
from vireid.report.records.study import RunView, StudyView, TrainedRun, read_plan
from vireid.store import Store

MOST = 2  # fits that a report sets against each other


def opened_view(
    store: Store | str | Path, study: str, runs: Sequence[str] = (), stale: Collection[str] | None = None
) -> StudyView:
    """The view of a study; where none is named, of one that has all ``runs``, else of these alone.

    Args:
        store: the record store or its root; empty: the first that has the study, or the first of the fits.
        study: its name, or empty.
        runs: ids of fits, or their first digits.
        stale: as ``StudyView`` takes it.

    Raises:
        UserError: no such study, no such fit, or neither is named.
    """
    if study:
        where, name = (store, study) if store else find_study(study)
        return StudyView(_opened(where), name, stale)
    if not runs:
        raise UserError("a report is of a study or of runs: name one")
    records = _opened(store) if store else _store_of(runs[0])
    plan = plan_of_runs(records, runs)
    if (planned := _study_of(records, [run.fit for run in plan.runs])) is not None:
        return StudyView(records, planned, stale)
    return StudyView(records, plan.name, stale, plan)


def _opened(store: Store | str | Path) -> Store:
    return store if isinstance(store, Store) else Store(store_folder(store))


def _study_of(store: Store, fits: Sequence[str]) -> str | None:
    """The first study of the store whose plan has all of these fits: what they are called there says more."""
    for name in known_studies(store.root):
        try:
            planned = {run.fit for run in read_plan(store, name).runs}
        except UserError:  # of another version: its own report says so
            continue
        if planned.issuperset(fits):
            return name
    return None


def _store_of(run: str) -> Store:
    roots = stores()
    for root in roots:
        if list(root.glob(f"runs/{run}*.json")):
            return Store(root)
    raise UserError(f"run {run}: not in {', '.join(map(str, roots)) or 'any store'} (`vireid results list`)")


def plan_of_runs(store: Store, runs: Sequence[str]) -> Plan:
    """A plan whose cells are these fits, the first of them the baseline, with all their evaluations in the store.

    Raises:
        UserError: more than two, no such fit, or the same twice.
    """
    if len(runs) > MOST:
        raise UserError(f"{len(runs)} runs are given: a report shows one, or sets two against each other")
    fits: list[FitRecord] = []
    for name in runs:
        record = store.find(name)
        if not isinstance(record, FitRecord):
            raise UserError(f"run {record.id} is a record of kind '{record.kind}'; name a fit (`vireid results list`)")
        if record in fits:
            raise UserError(f"run {record.id} is given twice; name two fits")
        fits.append(record)
    ids = [fit.id for fit in fits]
    evaluations: dict[str, list[str]] = {id_: [] for id_ in ids}
    for record in store.records():
        if isinstance(record, EvaluationRecord) and record.fit in evaluations and record.artefact is None:
            evaluations[record.fit].append(record.id)
    labels = [f"{_method(fit)} {fit.id}" for fit in fits]
    return Plan(
        name=f"run{'s' if len(ids) > 1 else ''} {' and '.join(ids)}",
        title=f"{labels[0]} and {labels[1]}" if len(ids) > 1 else labels[0],
        design="explicit",
        factors={"run": labels},
        seeds=sorted({fit.seed for fit in fits}),
        cells=[
            Cell(name=fit.id, label=label, factors={"run": label}, baseline=fit is fits[0])
            for fit, label in zip(fits, labels, strict=True)
        ],
        runs=[
            PlannedRun(
                cell=fit.id, seed=fit.seed, overrides=[], fit=fit.id, evaluations=sorted(evaluations[fit.id]), cost=""
            )
            for fit in fits
        ],
        study={},
    )


def _method(fit: FitRecord) -> str:
    """The model, or whose features they are."""
    return str((fit.config.get("model") or {}).get("name") or fit.source.method or "run")


def chosen_runs(view: StudyView, runs: Sequence[str] = ()) -> list[TrainedRun]:
    """The fits that sections about single runs show, at most two, the one to compare with first.

    By default the baseline and the last cell of the design, at the first seed that both are trained with.

    Raises:
        UserError: a fit that is not trained, or not of this study.
    """
    if runs:
        return [_named(view, name) for name in runs]
    done: dict[int, dict[str, TrainedRun]] = {}
    for run in view.trained:
        if run.cell.control is None:
            done.setdefault(run.seed, {})[run.cell.name] = run
    last = view.design_cells[-1].name if view.design_cells else ""
    names = list(dict.fromkeys((view.baseline.name, last)))
    for cells in done.values():
        if all(name in cells for name in names):
            return [cells[name] for name in names]
    return [next(iter(cells.values())) for cells in list(done.values())[:1]]


def _named(view: StudyView, name: str) -> TrainedRun:
    matching: list[RunView] = [run for run in view.runs if run.planned.fit.startswith(name)]
    if len({run.planned.fit for run in matching}) != 1:
        many = (
            "several fits begin with this" if matching else "no fit of it has this id; leave the study empty for others"
        )
        raise UserError(f"run {name} of study '{view.plan.name}': {many}")
    if not isinstance(matching[0], TrainedRun):
        raise UserError(f"run {name} of study '{view.plan.name}': {'; '.join(matching[0].problems)}")
    return matching[0]
