"""What a report reads: a study's plan joined with the records it names, and nothing else.

Rules kept here, so that no table or figure can break them: re-ranked and plain scores are separate rows; fits from
unlike accelerators and scores on unlike data stay in separate settings; training times are of one kind of machine;
latencies are pooled only where artefact, runtime, precision, batch, threads, resolution, device and limits on kernels
all agree; published numbers never join measured ones.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.messages import counted
from vireid.core.plan import Cell, Plan, PlannedRun
from vireid.core.record_row import RecordRow
from vireid.core.records import CostRecord, EvaluationRecord, FitRecord, LatencyRecord, Record
from vireid.report.records.keys import (
    METRICS,
    AccuracyKey,
    as_sentence,
    data_label,
    data_note,
    grouped,
    training_circumstances,
)
from vireid.report.records.stored import stored_records
from vireid.report.records.timings import Timing, TimingBlock, timings
from vireid.store import Store


@dataclass(frozen=True)
class RunView:
    """One planned run with its records; ``problems`` says what is missing and why."""

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
class TrainedRun(RunView):
    """A run whose training has finished."""

    fit: FitRecord


def read_plan(store: Store, name: str) -> Plan:
    """The plan of a study.

    Raises:
        UserError: no such study in the store, or its plan cannot be read.
    """
    path = store.study(name) / "plan.json"
    if not path.is_file():
        present = sorted(p.parent.name for p in store.root.glob("studies/*/plan.json"))
        hint = f"; studies there: {', '.join(present)}" if present else ""
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
        stale: ids of records whose component source has changed since, which the caller looks up; None: not looked.
        plan: where it is not that of the store's ``studies/<name>``.

    Raises:
        UserError: no such study in the store.
    """

    def __init__(self, store: Store, name: str, stale: Collection[str] | None = None, plan: Plan | None = None) -> None:
        self.store = store
        self.plan = with_level_names(read_plan(store, name) if plan is None else plan)
        self.records: dict[str, Record] = {record.id: record for record in stored_records(store, self._reads)}
        self._failures: dict[str, list[Record]] = {}
        for failure in store.failures():
            self._failures.setdefault(failure.id, []).append(failure)
        self.cells: dict[str, Cell] = {cell.name: cell for cell in self.plan.cells}
        self._stale_known = stale is not None
        self.runs = [self._join(run, frozenset(stale or ())) for run in self.plan.runs]

    @cached_property
    def _planned(self) -> frozenset[str]:
        """Ids of the records that the plan names."""
        return frozenset(n for r in self.plan.runs for n in (r.fit, r.cost, *r.evaluations, *r.deployed))

    def _reads(self, row: RecordRow) -> bool:
        """Whether a report may show a record: not other studies' fits, and of their evaluations none either."""
        if row.kind not in ("fit", "evaluation") or row.id in self._planned:
            return True
        return row.is_published or row.method is not None or (row.graph is not None and row.fit in self._planned)

    def _join(self, run: PlannedRun, stale: frozenset[str]) -> RunView:
        problems: list[str] = []
        fit = self._finished(run.fit, "training", problems)
        evaluations = [self._finished(name, "evaluation", problems) for name in run.evaluations] if fit else []
        cost = self._finished(run.cost, "profile", problems) if fit else None
        measured = tuple(e for e in evaluations if isinstance(e, EvaluationRecord) and e.source.kind == "measured")
        kind = TrainedRun if isinstance(fit, FitRecord) else RunView
        return kind(
            cell=self.cells[run.cell],
            planned=run,
            fit=fit if isinstance(fit, FitRecord) else None,  # type: ignore[arg-type]  # a trained run has one
            evaluations=measured,
            cost=cost if isinstance(cost, CostRecord) else None,
            problems=tuple(problems),
            stale=not stale.isdisjoint({run.fit, run.cost, *run.evaluations}),
        )

    @cached_property
    def trained(self) -> list[TrainedRun]:
        """Runs whose training has finished."""
        return [run for run in self.runs if isinstance(run, TrainedRun)]

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
        """One row per cell, seed and evaluation: key, re-ranking label, metrics as fractions."""
        rows = [
            {
                "cell": run.cell.name,
                "seed": run.seed,
                "evaluation": evaluation.id,
                "key": AccuracyKey.in_study(run.fit, evaluation),
                "reranking": evaluation.card.reranking_label,
                "stale": run.stale,
                **{name: evaluation.metrics.get(name) for name in METRICS},
            }
            for run in self.trained
            for evaluation in run.evaluations
        ]
        columns = ["cell", "seed", "evaluation", "key", "reranking", "stale", *METRICS]
        return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(METRICS, float))

    @cached_property
    def keys(self) -> list[AccuracyKey]:
        """What has scores that may be compared, in the order in which the plan meets it."""
        return list(dict.fromkeys(self.scores.key))

    def scores_in(self, key: AccuracyKey) -> pd.DataFrame:
        """Rows of ``scores`` that may be compared."""
        return self.scores[[other == key for other in self.scores.key]].reset_index(drop=True)

    def panel(self, run: RunView) -> Path:
        """Where the input of a run's retrieval panel lies, present or not."""
        return self.store.directory(run.planned.fit) / "explain" / "retrieval.json"

    def per_query(self, evaluation: EvaluationRecord) -> pd.DataFrame | None:
        """The per-query table of an evaluation; None where it does not lie beside the record.

        Raises:
            UserError: the table is not the one that the record speaks of.
        """
        file = evaluation.per_query_file
        return self.store.per_query(evaluation) if file is not None and (self.store.runs / file).is_file() else None

    @cached_property
    def costs(self) -> dict[str, CostRecord]:
        """Cost of each cell; seeds share the graph, so the first one stands for all."""
        costs: dict[str, CostRecord] = {}
        for run in self.runs:
            if run.cost is not None:
                costs.setdefault(run.cell.name, run.cost)
        return costs

    def sharing(self, key: Callable[[CostRecord], object]) -> list[list[str]]:
        """Cells of the design with a cost, grouped by what ``key`` takes from it; in the order of the plan."""
        counted = (cell.name for cell in self.design_cells if cell.name in self.costs)
        return list(grouped(counted, lambda cell: key(self.costs[cell])).values())

    def group_label(self, cells: Sequence[str]) -> str:
        """Label of cells that share a row: the first one's, and how many more there are; all where they are levels."""
        if cells_are_levels(self.plan):
            return ", ".join(self.cells[cell].label for cell in cells)
        more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
        return self.cells[cells[0]].label + more

    def graphs_in(self, block: TimingBlock) -> list[tuple[str, Timing]]:
        """One entry per deployed graph of a block: label of the cells that share it, and its timing."""
        groups = [[cell for cell in group if cell in block.timings] for group in self.sharing(lambda c: c.artefact)]
        return [(self.group_label(group), block.timings[group[0]]) for group in groups if group]

    @cached_property
    def latency(self) -> list[TimingBlock]:
        """Latencies of the cells, block by block of what may be compared."""
        graphs = {cost.artefact for cost in self.costs.values()}
        measured = (r for r in self.records.values() if isinstance(r, LatencyRecord) and r.artefact in graphs)
        blocks = []
        for group in grouped(timings(measured), lambda timing: (timing.key, timing.condition)).values():
            by_graph = {timing.graph: timing for timing in group}
            graph_of = {cell: self.costs[cell].artefact for cell in self.cells if cell in self.costs}
            blocks.append(TimingBlock({c: by_graph[g] for c, g in graph_of.items() if g is not None and g in by_graph}))
        return sorted(blocks, key=lambda block: block.order)

    @cached_property
    def failed_latencies(self) -> list[LatencyRecord]:
        """The last attempt of every latency that failed and has no result."""
        last = [tries[-1] for run, tries in self._failures.items() if run not in self.records]
        return [record for record in last if isinstance(record, LatencyRecord)]

    @cached_property
    def unmeasured(self) -> list[str]:
        """Latencies that were asked for and were skipped or failed, with the reason."""
        artefacts = {cost.artefact for cost in self.costs.values()}
        lines = [
            f"{r.runtime.get('name', 'unnamed runtime')}, batch {r.batch}: {r.reason or 'no reason recorded'}"
            for r in (*self.records.values(), *self.failed_latencies)
            if isinstance(r, LatencyRecord) and r.status != "ok" and r.artefact in artefacts
        ]
        return list(dict.fromkeys(lines))

    @cached_property
    def latency_notes(self) -> list[str]:
        """What the profiler remarked on its own measurements, such as a busy machine."""
        lines: list[str] = []
        for record in self.records.values():
            if isinstance(record, LatencyRecord) and record.status == "ok" and record.notes:
                cells = [self.cells[c].label for c, cost in self.costs.items() if cost.artefact == record.artefact]
                lines += [f"{', '.join(cells)}, batch {record.batch}: {note}" for note in record.notes if cells]
        return list(dict.fromkeys(lines))

    def main_block(self, batch: int) -> TimingBlock | None:
        """The latencies that tables print for a batch size: most cells measured, then eager before other runtimes."""
        return max(
            (block for block in self.latency if block.first.batch == batch),
            key=lambda b: (len(b.timings), b.first.runtime_name.startswith("eager"), b.first.precision == "fp32"),
            default=None,
        )

    @cached_property
    def data_labels(self) -> list[str]:
        """What the study's fits were trained on, as captions name it."""
        return list(dict.fromkeys(data_label(run.fit) for run in self.trained))

    @cached_property
    def accelerators(self) -> list[str]:
        """What the study's fits were trained on."""
        return list(dict.fromkeys(run.fit.environment.accelerator for run in self.trained))

    @cached_property
    def finished(self) -> int:
        """Number of runs that nothing is missing of."""
        return sum(not run.problems for run in self.runs)

    @cached_property
    def note(self) -> str:
        """What every caption of the study ends with: empty for real data, a warning sentence for synthetic data."""
        return as_sentence("; ".join(filter(None, map(data_note, self.data_labels))))

    @cached_property
    def mixed_sources(self) -> list[str]:
        """Components whose source differs between runs of this study although their version does not.

        Sources that were compared with today's and compute the same (runs that are not stale) are one source.
        """
        seen: dict[tuple[str, str, str], set[str]] = {}
        for run in self.runs:
            for role, stamp in (run.fit.components if run.fit else {}).items():
                source = stamp.digest if run.stale or not self._stale_known else "as now"
                seen.setdefault((role, stamp.name, stamp.version), set()).add(source)
        return [f"{role} {name} {version}" for (role, name, version), digests in seen.items() if len(digests) > 1]

    @cached_property
    def side_by_side(self) -> int:
        """The largest number of fits that ran at the same time on one machine."""
        largest = 0
        for run in self.trained:
            fits = [other.fit for other in self.trained if other.fit.environment.machine == run.fit.environment.machine]
            largest = max(largest, sum(fit.started <= run.fit.started < fit.ended for fit in fits))
        return largest

    @cached_property
    def timed_alike(self) -> set[str]:
        """Ids of the fits whose times may stand side by side: of each accelerator, those made in its commonest way.

        The way is the machine, the threads and what the environment held kernels to.
        """
        alike: set[str] = set()
        for accelerator in self.accelerators:
            fits = [run.fit for run in self.trained if run.fit.environment.accelerator == accelerator]
            groups = grouped(fits, lambda fit: training_circumstances(fit.environment))
            alike |= {fit.id for fit in max(groups.values(), key=len)}
        return alike

    @property
    def shared_time(self) -> str:
        """What to say beside training times: where fits shared a machine or came from several; else empty."""
        sentences = []
        if self.side_by_side > 1:
            sentences.append(
                f"Training times are of up to {self.side_by_side} fits side by side, which slow each other: compare "
                "them roughly."
            )
        if left_out := len({run.fit.id for run in self.trained} - self.timed_alike):
            sentences.append(
                f"{counted(left_out, 'fit')} of other machines, thread counts or kernels than most "
                f"{'counts' if left_out == 1 else 'count'} for no training time."
            )
        return "".join(f" {sentence}" for sentence in sentences)

    @cached_property
    def features(self) -> list[EvaluationRecord]:
        """Scores in the store of features that other programs computed, by method; never among the study's own."""
        every = (r for r in self.records.values() if isinstance(r, EvaluationRecord) and r.status == "ok")
        return sorted((r for r in every if r.source.method), key=lambda r: (str(r.source.method).lower(), r.id))

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
