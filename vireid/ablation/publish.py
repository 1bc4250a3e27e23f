"""Copy a study, or what is finished of it, into the folder of committed reference results."""

import shutil
from pathlib import Path

from vireid.core.errors import UserError
from vireid.core.plan import Plan
from vireid.core.records import EvaluationRecord, Record
from vireid.report.records.study import StudyView
from vireid.report.render import NOTEBOOK, deployment_records
from vireid.store import Store, unwritable


def publish_study(store: Store, name: str, to: Path, *, part: bool = False) -> int:
    """Copy plan, records, per-query tables and report of study ``name``; returns the number of records.

    With ``part``, what is finished of an unfinished study: fits with all of their evaluations, and their costs. A
    run that goes on later, with ``to`` as its store, trains none of them again.

    Evaluations of files that were made from its fits go along, and with a report on hardware the costs and latencies
    of all graphs that it shows, so that it renders from the copies alone. Pictures of people, weights and logs stay.

    Raises:
        UserError: the study is unknown, or incomplete without ``part``, or ``to`` cannot be written.
    """
    file = store.study(name) / "plan.json"
    if not file.is_file():
        raise UserError(f"study '{name}': no plan at {file}; run `vireid ablate ablations/{name}.yaml` first")
    plan = Plan.model_validate_json(file.read_bytes())
    records = _records(store, plan, part=part)
    target = Store(to)
    try:
        for record in records:
            if target.get(record.id) is not None:
                continue  # published before, or by another study: records stay as they were made
            target.put(record)
            if isinstance(record, EvaluationRecord) and record.per_query_file is not None:
                source = store.runs / record.per_query_file
                copy = target.runs / record.per_query_file
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
        target.study(name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target.study(name) / "plan.json")
        report = store.study(name) / "report"
        if report.is_dir():
            without = shutil.ignore_patterns(NOTEBOOK)  # the page has all of its outputs, at the same size
            shutil.copytree(report, target.study(name) / "report", dirs_exist_ok=True, ignore=without)
    except OSError as error:
        raise unwritable(to, error) from error
    return len(records)


def _records(store: Store, plan: Plan, *, part: bool) -> list[Record]:
    runs = plan.runs
    if part:
        runs = [run for run in runs if all(store.get(id_) is not None for id_ in (run.fit, *run.evaluations))]
        if not runs:
            raise UserError(f"study '{plan.name}': no fit of it is finished and evaluated; nothing to publish")
    wanted = {id_ for run in runs for id_ in (run.fit, *run.evaluations, run.cost)}
    stored = {id_: store.get(id_) for id_ in sorted(wanted)}
    missing = [id_ for id_, record in stored.items() if record is None]
    if missing and not part:
        raise UserError(
            f"study '{plan.name}' is incomplete: {len(missing)} of {len(wanted)} records are missing "
            f"({', '.join(missing[:3])}…); run `vireid ablate` on it again, or publish what is there with --part"
        )
    records = [record for record in stored.values() if record is not None]
    graphs = {record.artefact for record in records if record.kind == "cost"}
    fits = {run.fit for run in runs}
    records += store.records(lambda row: row.kind == "latency" and row.graph in graphs)
    records += store.records(lambda row: row.kind == "evaluation" and row.graph is not None and row.fit in fits)
    if plan.study.get("report") == "hardware":
        records += [r for r in deployment_records(StudyView(store, plan.name)) if r.status != "failed"]
    return list({record.id: record for record in records}.values())
