"""What a report reads: a study's plan joined with the records it names, and nothing else.

Rules kept here, so that no table or figure can break them: re-ranked and plain scores are separate rows; fits from
unlike accelerators and scores on unlike data stay in separate settings; latencies are pooled only where artefact,
runtime, precision, batch, threads, resolution and device all agree; published numbers never join measured ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import pandas as pd

from vireid.core.config import parse
from vireid.core.environment import MACHINE_IDENTITY, Environment
from vireid.core.errors import UserError
from vireid.core.identity import run_id
from vireid.core.plan import Cell, Plan, PlannedRun
from vireid.core.records import CostRecord, EvaluationRecord, FitRecord, LatencyRecord, Record
from vireid.report.protocols import protocol_key, reranking_label
from vireid.report.runtimes import runtime_label
from vireid.store import Store

METRICS = ("r1", "r5", "r10", "r20", "mAP", "mINP")
NOT_COMPARABLE = "not comparable with published results"


@dataclass(frozen=True)
class RunView:
    """One planned run with the records found for it; ``problems`` says in words what is missing and why."""

    cell: Cell
    planned: PlannedRun
    fit: FitRecord | None
    evaluations: tuple[EvaluationRecord, ...]
    cost: CostRecord | None
    problems: tuple[str, ...]
    stale: bool

    @property
    def seed(self) -> int:
        """Training seed."""
        return self.planned.seed


@dataclass(frozen=True)
class Setting:
    """What scores must share to stand in one table: protocol (without its re-ranking), data and accelerator."""

    protocol: str  # canonical JSON of the protocol card without re-ranking
    data: str
    accelerator: str


@dataclass(frozen=True)
class Condition:
    """What latency samples must share to be pooled or compared."""

    runtime: str
    precision: str
    batch: int
    threads: int
    resolution: tuple[int, int]  # height, width in pixels
    device: str
    key: str  # digest of the runtime's whole configuration, the way of measuring and the machine's identity

    @property
    def setup(self) -> str:
        """Everything but the batch, in words."""
        height, width = self.resolution
        threads = f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        return f"{self.runtime}, {self.precision}, {threads}, {height}×{width} pixels, {self.device}"

    def __str__(self) -> str:
        return f"batch {self.batch}, {self.setup}"


def read_plan(store: Store, name: str) -> Plan:
    """The plan of a study.

    Raises:
        UserError: no such study in the store, or its plan cannot be read.
    """
    path = store.study(name) / "plan.json"
    if not path.is_file():
        found = sorted(p.parent.name for p in store.root.glob("studies/*/plan.json"))
        hint = f"; studies there: {', '.join(found)}" if found else ""
        raise UserError(f"{path}: study '{name}' has no plan in this store; run `vireid ablate` first{hint}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON ({error}); plan the study again") from error
    return parse(Plan, content, str(path))


class StudyView:
    """Plan and records of one study.

    Args:
        store: where the records lie.
        name: the study.
        stale: ids of records whose component source has changed since; the caller knows the components.

    Raises:
        UserError: no such study in the store.
    """

    def __init__(self, store: Store, name: str, stale: Collection[str] = ()) -> None:
        self.store = store
        self.plan = with_level_names(read_plan(store, name))
        self.records: dict[str, Record] = {record.id: record for record in store.records()}
        self._failures: dict[str, list[Record]] = {}
        for failure in store.failures():
            self._failures.setdefault(failure.id, []).append(failure)
        self.cells: dict[str, Cell] = {cell.name: cell for cell in self.plan.cells}
        self.runs = [self._join(run, frozenset(stale)) for run in self.plan.runs]

    def _join(self, run: PlannedRun, stale: frozenset[str]) -> RunView:
        problems: list[str] = []
        fit = self._finished(run.fit, "training", problems)
        evaluations = [self._finished(name, "evaluation", problems) for name in run.evaluations] if fit else []
        cost = self._finished(run.cost, "profile", problems) if fit else None
        measured = tuple(e for e in evaluations if isinstance(e, EvaluationRecord) and e.source.kind == "measured")
        return RunView(
            cell=self.cells[run.cell],
            planned=run,
            fit=fit if isinstance(fit, FitRecord) else None,
            evaluations=measured,
            cost=cost if isinstance(cost, CostRecord) else None,
            problems=tuple(problems),
            stale=not stale.isdisjoint({run.fit, run.cost, *run.evaluations}),
        )

    def _finished(self, name: str, what: str, problems: list[str]) -> Record | None:
        """The record if it holds a result; otherwise add to ``problems`` why not."""
        record = self.records.get(name)
        if record is not None and record.status == "ok":
            return record
        failures = self._failures.get(name, [])
        if record is not None:
            problems.append(f"{what} {record.status}: {record.reason or 'no reason recorded'}")
        elif failures:
            last = max(failures, key=lambda failure: failure.ended)
            times = f" ({len(failures)} attempts)" if len(failures) > 1 else ""
            problems.append(f"{what} failed{times}: {last.reason or 'no reason recorded'}")
        elif (self.store.runs / f"{name}.json").exists():
            problems.append(f"{what}: its record cannot be read")
        else:
            problems.append(f"{what} not run yet")
        return None

    @cached_property
    def baseline(self) -> Cell:
        """The cell that differences are taken against."""
        return next((cell for cell in self.design_cells if cell.baseline), self.plan.cells[0])

    @cached_property
    def design_cells(self) -> list[Cell]:
        """The cells of the design: all but the controls."""
        return [cell for cell in self.plan.cells if cell.control is None]

    @cached_property
    def controls(self) -> list[Cell]:
        """Cells that check the study itself."""
        return [cell for cell in self.plan.cells if cell.control is not None]

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per cell, seed and evaluation: setting fields, re-ranking label, metrics as fractions."""
        rows = []
        for run in self.runs:
            if run.fit is None:
                continue
            for evaluation in run.evaluations:
                rows.append(
                    {
                        "cell": run.cell.name,
                        "seed": run.seed,
                        "evaluation": evaluation.id,
                        "reranking": reranking_label(evaluation.protocol),
                        **asdict(setting_of(run.fit, evaluation)),
                        "stale": run.stale,
                        **{name: evaluation.metrics.get(name) for name in METRICS},
                    }
                )
        columns = ["cell", "seed", "evaluation", "protocol", "reranking", "data", "accelerator", "stale", *METRICS]
        frame = pd.DataFrame(rows, columns=columns)
        return frame.astype(dict.fromkeys(METRICS, float))

    @cached_property
    def settings(self) -> list[Setting]:
        """The settings that have scores, in the order in which the plan meets them."""
        keys = self.scores[["protocol", "data", "accelerator"]].drop_duplicates()
        return [Setting(*map(str, row)) for row in keys.itertuples(index=False, name=None)]

    def scores_in(self, setting: Setting) -> pd.DataFrame:
        """Rows of ``scores`` in a setting."""
        s = self.scores
        keep = (s.protocol == setting.protocol) & (s.data == setting.data) & (s.accelerator == setting.accelerator)
        return s[keep].reset_index(drop=True)

    @cached_property
    def costs(self) -> dict[str, CostRecord]:
        """Cost of each cell (seeds share the graph, so the first one found)."""
        found: dict[str, CostRecord] = {}
        for run in self.runs:
            if run.cost is not None:
                found.setdefault(run.cell.name, run.cost)
        return found

    def sharing(self, key: Callable[[CostRecord], object]) -> list[list[str]]:
        """Cells of the design with a cost, grouped by what ``key`` takes from it; in the order of the plan."""
        groups: dict[object, list[str]] = {}
        for cell in self.design_cells:
            if cell.name in self.costs:
                groups.setdefault(key(self.costs[cell.name]), []).append(cell.name)
        return list(groups.values())

    def group_label(self, cells: Sequence[str]) -> str:
        """Label of cells that share a row: the first one's, and how many more there are; all where they are levels."""
        if cells_are_levels(self.plan):
            return ", ".join(self.cells[cell].label for cell in cells)
        more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
        return self.cells[cells[0]].label + more

    def graphs_in(self, condition: Condition) -> list[tuple[str, list[float]]]:
        """Latency samples in a condition, one entry per deployed graph: label of the cells that share it, seconds."""
        measured = self.latency[condition]
        groups = [[cell for cell in group if cell in measured] for group in self.sharing(lambda cost: cost.artefact)]
        return [(self.group_label(group), measured[group[0]]) for group in groups if group]

    @cached_property
    def latency(self) -> dict[Condition, dict[str, list[float]]]:
        """Raw seconds per forward pass: condition -> cell -> samples; cells with one artefact share its samples."""
        cells_of: dict[str, list[str]] = {}
        for cell, cost in self.costs.items():
            if cost.artefact is not None:
                cells_of.setdefault(cost.artefact, []).append(cell)
        found: dict[Condition, dict[str, list[float]]] = {}
        for record in self.records.values():
            if not isinstance(record, LatencyRecord) or record.status != "ok" or record.artefact not in cells_of:
                continue
            if not record.seconds or record.stages:  # the way from a file to a ranked list is no forward pass
                continue
            by_cell = found.setdefault(condition_of(record), {})
            for cell in cells_of[record.artefact]:
                by_cell.setdefault(cell, []).extend(record.seconds)
        order = {name: position for position, name in enumerate(self.cells)}
        return {
            condition: dict(sorted(found[condition].items(), key=lambda item: order[item[0]]))
            for condition in sorted(found, key=lambda c: (c.device, c.runtime, c.precision, c.threads, c.key, c.batch))
        }

    @cached_property
    def failed_latencies(self) -> list[LatencyRecord]:
        """The last attempt of every latency that failed and has no result."""
        last = [tries[-1] for run, tries in self._failures.items() if run not in self.records]
        return [record for record in last if isinstance(record, LatencyRecord)]

    @cached_property
    def unmeasured(self) -> list[str]:
        """Latencies that were asked for and were skipped or failed, with the reason."""
        artefacts = {cost.artefact for cost in self.costs.values()}
        found: list[str] = []
        for record in (*self.records.values(), *self.failed_latencies):
            if isinstance(record, LatencyRecord) and record.status != "ok" and record.artefact in artefacts:
                name = record.runtime.get("name", "unnamed runtime")
                found.append(f"{name}, batch {record.batch}: {record.reason or 'no reason recorded'}")
        return list(dict.fromkeys(found))

    @cached_property
    def latency_notes(self) -> list[str]:
        """What the profiler remarked on its own measurements, such as a busy machine."""
        found: list[str] = []
        for record in self.records.values():
            if isinstance(record, LatencyRecord) and record.status == "ok" and record.notes:
                cells = [self.cells[c].label for c, cost in self.costs.items() if cost.artefact == record.artefact]
                found += [f"{', '.join(cells)}, batch {record.batch}: {note}" for note in record.notes if cells]
        return list(dict.fromkeys(found))

    def main_condition(self, batch: int) -> Condition | None:
        """The condition that tables print for a batch size: most cells measured, then eager before other runtimes."""
        fitting = [c for c in self.latency if c.batch == batch]
        return max(
            fitting,
            key=lambda c: (len(self.latency[c]), c.runtime.startswith("eager"), c.precision == "fp32"),
            default=None,
        )

    @cached_property
    def data_labels(self) -> list[str]:
        """What the study's fits were trained on, as captions name it."""
        return list(dict.fromkeys(data_label(run.fit) for run in self.runs if run.fit is not None))

    @cached_property
    def note(self) -> str:
        """What every caption of the study ends with: empty for real data, a warning sentence for synthetic data."""
        return as_sentence("; ".join(filter(None, (data_note(label) for label in self.data_labels))))

    @cached_property
    def mixed_sources(self) -> list[str]:
        """Components whose source differs between runs of this study although their version does not."""
        seen: dict[tuple[str, str, str], set[str]] = {}
        for run in self.runs:
            for role, stamp in (run.fit.components if run.fit else {}).items():
                seen.setdefault((role, stamp.name, stamp.version), set()).add(stamp.digest)
        return [f"{role} {name} {version}" for (role, name, version), digests in seen.items() if len(digests) > 1]

    @cached_property
    def published(self) -> list[EvaluationRecord]:
        """Published evaluations in the store; shown in a section of their own."""
        return [r for r in self.records.values() if isinstance(r, EvaluationRecord) and r.source.kind == "published"]


def cells_are_levels(plan: Plan) -> bool:
    """Whether a study compares the levels of one factor, such as systems, and not what switching something on does."""
    return plan.design == "explicit" and len(plan.factors) == 1


def with_level_names(plan: Plan) -> Plan:
    """The plan, its cells called by their levels where these are what it compares."""
    if not cells_are_levels(plan):
        return plan
    (factor,) = plan.factors
    changes = [{} if cell.control is not None else {"label": cell.factors[factor]} for cell in plan.cells]
    named = [cell.model_copy(update=change) for cell, change in zip(plan.cells, changes, strict=True)]
    return plan.model_copy(update={"cells": named})


def setting_of(fit: FitRecord, evaluation: EvaluationRecord) -> Setting:
    """The setting in which an evaluation of a fit stands."""
    return Setting(protocol_key(evaluation.protocol), data_label(fit), fit.environment.accelerator)


def data_label(fit: FitRecord) -> str:
    """Name of the data of a fit; synthetic data carry their renderer's version."""
    specification = fit.data.get("specification") or {}
    if fit.data_kind == "real":
        return str(fit.data.get("name") or specification.get("name") or "real data")
    version = (specification.get("synthetic") or specification).get("renderer_version", "")
    return f"synthetic {version}".strip()


def data_note(label: str) -> str:
    """The warning that goes with a data label; empty for real data."""
    return f"{label}, {NOT_COMPARABLE}" if label.startswith("synthetic") else ""


def as_sentence(note: str) -> str:
    """A note as the last sentence of a caption; empty for an empty note."""
    return f" {note[0].upper()}{note[1:]}." if note else ""


def device_label(environment: Environment) -> str:
    """Name of a machine as headings print it."""
    device = environment.device
    cores = device.get("logical_cores")
    host = str(device.get("cpu") or environment.platform) + (f", {cores} logical cores" if cores else "")
    return host if environment.accelerator == "cpu" else f"{environment.accelerator} ({host})"


def machine_key(environment: Environment) -> str:
    """Digest of a machine's identity: only latencies with equal keys may stand side by side."""
    machine = {key: environment.device.get(key) for key in MACHINE_IDENTITY}
    return run_id([machine, environment.accelerator])


def ways_of(record: LatencyRecord) -> list[str]:
    """How a latency was measured where that is not simply in the profiler's own process; limit or isolation first."""
    limit = None if record.limit is None else str(record.limit.get("name"))
    return [limit or ("isolated" if record.isolated else ""), "sustained" if record.windows else ""]


def condition_of(record: LatencyRecord) -> Condition:
    """The condition of a latency record."""
    label, ways = runtime_label(record.runtime), ways_of(record)
    name, _, settings = label.partition(" (")
    details = ", ".join(filter(None, [settings.removesuffix(")"), *ways]))
    machine = {key: record.environment.device.get(key) for key in MACHINE_IDENTITY}
    return Condition(
        runtime=f"{name} ({details})" if details else name,
        precision=record.precision,
        batch=record.batch,
        threads=record.threads,
        resolution=record.resolution,
        device=device_label(record.environment),
        key=run_id([record.runtime, machine, record.environment.accelerator, record.isolated, ways]),
    )
