"""What can be deployed, joined from records: trained models, their deployed graphs, scores and latencies."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from vireid.core.config import canonical_json
from vireid.core.contribution import Contribution
from vireid.core.errors import UserError
from vireid.core.plan import Plan, PlannedRun
from vireid.core.record_row import RecordRow
from vireid.core.records import CostRecord, EvaluationRecord, FitRecord, LatencyRecord, Record
from vireid.report.records.keys import AccuracyKey, TimingKey, data_label, data_note
from vireid.report.records.study import StudyView, read_plan, with_level_names
from vireid.report.records.timings import Timing, contributed_timings, machine_names, timings
from vireid.store import Store

logger = logging.getLogger(__name__)

_DECIDING = ("model", "data", "augmentation")
_NO_KEYS = ("name", "version", "pretrained")  # of a recorded model: not overrides of its configuration


@dataclass(frozen=True)
class Model:
    """One configuration with its fits, one per seed, and the graph that is deployed of it."""

    label: str
    fits: tuple[FitRecord, ...]  # by seed
    cost: CostRecord
    overrides: tuple[str, ...] = ()  # that make its configuration, where a study names them

    @property
    def graph(self) -> str:
        """Digest of the deployed graph."""
        assert self.cost.artefact is not None
        return self.cost.artefact

    @property
    def measured_as(self) -> list[str]:
        """Arguments of ``vireid profile`` that measure its graph: a study's, else every plain key of its model."""
        if self.overrides:
            return list(self.overrides)
        height, width = self.cost.resolution
        plain = {k: v for k, v in self.cost.model.items() if isinstance(v, str | int | float) and k not in _NO_KEYS}
        keys = [f"model.{key}={str(v).lower() if isinstance(v, bool) else v}" for key, v in plain.items()]
        return [f"model={self.cost.model['name']}", *keys, f"data.height={height}", f"data.width={width}"]


@dataclass(frozen=True)
class DeploymentView:
    """Everything that reports on hardware read."""

    title: str
    models: tuple[Model, ...]
    costs: tuple[CostRecord, ...]  # all of the store, those of models that were never trained too
    evaluations: Mapping[str, tuple[EvaluationRecord, ...]]  # by fit, measured
    timings: tuple[Timing, ...]
    latencies: tuple[LatencyRecord, ...]  # all of the store, also skipped ones and whole query pipelines
    labels: Mapping[str, str] = field(default_factory=dict)  # of the graphs that a report shows
    machines: Mapping[str, str] = field(default_factory=dict)  # name of each machine by its digest
    contributions: Mapping[str, Contribution] = field(default_factory=dict)  # what others measured, by digest

    @property
    def shown(self) -> tuple[Timing, ...]:
        """Timings of the graphs that a report shows."""
        return tuple(timing for timing in self.timings if timing.graph in self.labels)

    @property
    def notes(self) -> list[str]:
        """Warnings that go with the data of the models."""
        notes = (data_note(data_label(fit)) for model in self.models for fit in model.fits)
        return list(dict.fromkeys(filter(None, notes)))

    def plain_evaluations(self, fit: FitRecord) -> list[tuple[EvaluationRecord, AccuracyKey]]:
        """A fit's evaluations without re-ranking, of the model itself and of files, oldest first, with their keys."""
        if fit.id not in self._plain:
            ordered = sorted(self.evaluations.get(fit.id, ()), key=lambda e: (e.ended, e.id))
            plain = [evaluation for evaluation in ordered if evaluation.card.is_plain]
            self._plain[fit.id] = [(evaluation, AccuracyKey.deployed(fit, evaluation)) for evaluation in plain]
        return self._plain[fit.id]

    @cached_property
    def _plain(self) -> dict[str, list[tuple[EvaluationRecord, AccuracyKey]]]:
        """By fit: a choice asks for them once for each candidate."""
        return {}

    def measured_by(self, key: TimingKey) -> str:
        """Who measured there; empty of the store's own records."""
        return self.contributions[key.contribution].contributor if key.contribution else ""

    def graph_name(self, timing: Timing) -> str:
        """A graph as tables name it: its models, and the resolution."""
        return f"{self.labels[timing.graph]}, {timing.resolution}"

    def cost_of(self, graph: str) -> CostRecord | None:
        """A cost record of a graph; records that share a graph share its costs."""
        return next((cost for cost in self.costs if cost.artefact == graph), None)


class StoredEvaluations(Mapping[str, tuple[EvaluationRecord, ...]]):
    """Measured evaluations by fit, each fit's read when it is asked for: few of a large store's belong to a choice.

    Args:
        store: where they lie.
    """

    def __init__(self, store: Store) -> None:
        self._rows: dict[str, list[RecordRow]] = {}
        self._read: dict[str, tuple[EvaluationRecord, ...]] = {}
        for row in store.rows():
            if row.kind == "evaluation" and row.is_result and row.fit is not None:
                self._rows.setdefault(row.fit, []).append(row)

    def __getitem__(self, fit: str) -> tuple[EvaluationRecord, ...]:
        if fit not in self._read:
            every = (row.record() for row in self._rows[fit])
            self._read[fit] = tuple(record for record in every if isinstance(record, EvaluationRecord))
        return self._read[fit]

    def __contains__(self, fit: object) -> bool:
        return fit in self._rows  # Mapping's own would read them

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def study_deployment(view: StudyView) -> DeploymentView:
    """What a study trained, and what the store profiled without training it."""
    models = []
    for cell in view.design_cells:
        runs = [run for run in view.trained if run.cell.name == cell.name]
        cost = view.costs.get(cell.name)
        if runs and cost is not None and cost.artefact is not None:
            fits = tuple(run.fit for run in sorted(runs, key=lambda run: run.seed))
            models.append(Model(cell.label, fits, cost, _overrides(view.plan, runs[0].planned)))
    planned = {name for run in view.plan.runs for name in run.evaluations}
    records = [
        record
        for record in view.records.values()
        if not isinstance(record, EvaluationRecord) or record.artefact is not None or record.id in planned
    ]
    evaluations: dict[str, tuple[EvaluationRecord, ...]] = {}
    for record in records:
        if isinstance(record, EvaluationRecord) and _is_result(record):
            evaluations[record.fit] = (*evaluations.get(record.fit, ()), record)
    everything = [*records, *view.failed_latencies]
    return _deployment(view.plan.title, models, everything, plans_of(view.store), view.store, evaluations)


def store_deployment(store: Store) -> DeploymentView:
    """Every fit of a store that could be deployed, seeds of one configuration together; features have no network.

    Its fits come without curves and step times, so that no file of a large store is read.
    """
    joined = (row.record() for row in store.rows() if row.kind in ("fit", "cost", "latency"))
    records, plans = {record.id: record for record in joined}, plans_of(store)
    costs = [record for record in records.values() if isinstance(record, CostRecord) and _is_result(record)]
    cost_of = cost_finder(costs)
    planned = {run.fit: (with_level_names(plan), run) for plan in plans for run in plan.runs}
    groups: dict[str, list[FitRecord]] = {}
    for record in records.values():
        if not isinstance(record, FitRecord) or not _is_result(record) or record.source.method is not None:
            continue
        if not record.config.get("data", {}).get("shuffle_identities"):  # a control: nobody deploys it
            groups.setdefault(_configuration(record, records), []).append(record)
    models: list[Model] = []
    for fits in groups.values():
        fits.sort(key=lambda fit: fit.seed)
        label, cost = describe(fits[0].config["model"]), cost_of(fits[0].config)
        overrides: tuple[str, ...] = ()
        if fits[0].id in planned:
            plan, run = planned[fits[0].id]
            cell = next(cell for cell in plan.cells if cell.name == run.cell)
            label, overrides = f"{plan.name}: {cell.label}", _overrides(plan, run)
            cost = next((known for known in costs if known.id == run.cost), cost)
        if cost is not None and cost.artefact is not None:
            models.append(Model(label, tuple(fits), cost, overrides))
    named = _with_unique_labels(models)
    return _deployment(str(store.root.name), named, records.values(), plans, store, StoredEvaluations(store))


def cost_finder(costs: Iterable[CostRecord]) -> Callable[[Mapping[str, Any]], CostRecord | None]:
    """Finds the cost of a fit's graph by the fit's configuration.

    It is of the same model configuration (its teacher is not deployed) at the same resolution. Each network is looked
    for once: a store of thousands of fits has few.
    """
    known = [(tuple(cost.resolution), _without_teacher(cost.model), cost) for cost in costs]

    @cache
    def find(height: Any, width: Any, model: str) -> CostRecord | None:
        wanted = json.loads(model)
        return next((c for size, network, c in known if size == (height, width) and network == wanted), None)

    def cost_of(config: Mapping[str, Any]) -> CostRecord | None:
        data = config.get("data", {})
        return find(data.get("height"), data.get("width"), canonical_json(_without_teacher(config.get("model", {}))))

    return cost_of


def describe(model: Mapping[str, Any]) -> str:
    """A model configuration in short: its name, backbone, width and what is switched on."""
    phrases = [str(model.get("name", "model"))]
    if model.get("backbone"):
        phrases.append(str(model["backbone"]))
    if model.get("width") not in (None, 1, 1.0):
        phrases.append(f"×{model['width']:g}")
    phrases += [f"{key} {model[key]}" for key in ("ibn", "mha") if model.get(key) not in (None, "none")]
    return " ".join(phrases)


def _deployment(
    title: str,
    models: list[Model],
    records: Iterable[Record],
    plans: Iterable[Plan],
    store: Store,
    evaluations: Mapping[str, tuple[EvaluationRecord, ...]],
) -> DeploymentView:
    everything = list(records)
    costs = tuple(record for record in everything if isinstance(record, CostRecord) and _is_result(record))
    latencies = tuple(record for record in everything if isinstance(record, LatencyRecord))
    sharing: dict[str, list[str]] = {}
    for model in models:
        sharing.setdefault(model.graph, []).append(model.label)
    labels = {graph: _together(names) for graph, names in sharing.items()}
    cost_of = cost_finder(costs)
    configurations = (row.part("config") for row in store.rows() if row.kind == "fit")
    trained = {run.cost for plan in plans for run in plan.runs}
    trained |= {cost.id for config in configurations if (cost := cost_of(config)) is not None}
    for cost in costs:
        if cost.id not in trained and cost.artefact is not None and cost.artefact not in labels:
            labels[cost.artefact] = f"{describe(cost.model)} (untrained)"
    names = machine_names(latencies)
    timed, contributions = timings(latencies, names), dict(store.contributions())
    for digest, contribution in contributions.items():
        timed += contributed_timings(digest, contribution, {timing.key.device for timing in timed})
    return DeploymentView(
        title, tuple(models), costs, evaluations, tuple(timed), latencies, labels, names, contributions
    )


def _together(names: list[str]) -> str:
    """Label of models that share a graph: all of a few, else the first and how many more."""
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} more"


def _is_result(record: Record) -> bool:
    return record.status == "ok" and record.source.kind == "measured"


def plans_of(store: Store) -> list[Plan]:
    """All plans of a store; those that cannot be read are left out with a warning."""
    plans = []
    for path in sorted(store.root.glob("studies/*/plan.json")):
        try:
            plans.append(read_plan(store, path.parent.name))
        except UserError as error:
            logger.warning("1 plan is left out: %s", error)
    return plans


def _overrides(plan: Plan, run: PlannedRun) -> tuple[str, ...]:
    """Of a study's overrides those that decide the network, its resolution, and whether the two go together."""
    base = [str(entry) for entry in plan.study.get("base", [])]
    return tuple(word for word in (*base, *run.overrides) if word.lstrip("+").startswith(_DECIDING))


def _configuration(fit: FitRecord, records: Mapping[str, Record]) -> str:
    """What fits share that differ in their seed alone: that of rendered people and of earlier fits included."""
    config = {key: value for key, value in fit.config.items() if key != "seed"}
    data, model = dict(config.get("data", {})), dict(config.get("model", {}))
    if isinstance(data.get("synthetic"), Mapping):
        data["synthetic"] = {key: value for key, value in data["synthetic"].items() if key != "seed"}
    if isinstance(teacher := model.get("teacher"), Mapping):
        model["teacher"] = {**teacher, "run": _earlier(teacher.get("run"), records)}
    config |= {"data": data, "model": model, "start_from": _earlier(config.get("start_from"), records)}
    return canonical_json([config, fit.environment.accelerator])


def _earlier(run: Any, records: Mapping[str, Record]) -> Any:
    """A fit that another builds on by its configuration; by its id where it is not in the store."""
    fit = records.get(run) if isinstance(run, str) else None
    return _configuration(fit, records) if isinstance(fit, FitRecord) else run


def _without_teacher(model: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(canonical_json({key: value for key, value in model.items() if key != "teacher"}))  # type: ignore[no-any-return]


def _with_unique_labels(models: list[Model]) -> list[Model]:
    labels = [model.label for model in models]
    return [
        Model(f"{m.label}, fit {m.fits[0].id}", m.fits, m.cost, m.overrides) if labels.count(m.label) > 1 else m
        for m in models
    ]
