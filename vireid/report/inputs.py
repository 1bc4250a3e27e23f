"""What a rendered report depends on, as one digest: unchanged inputs need no second rendering.

Every report reads its study. A notebook that reads more lists it in its metadata:
``{"vireid": {"reads": ["deployment"]}}``, with names from ``MORE``.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import vireid.report
from vireid.core.config import canonical_json
from vireid.core.errors import UserError, did_you_mean
from vireid.core.records import CostRecord, LatencyRecord, Record
from vireid.report.records.deployment import study_deployment
from vireid.report.records.published import PUBLISHED
from vireid.report.records.study import StudyView
from vireid.report.sections.retrieval import material
from vireid.report.sections.toggles import prices


def input_digest(view: StudyView, template: Path, stale: Collection[str]) -> str:
    """SHA-256 over all that a page is made of.

    The plan, its records, what is missing, latencies of its graphs, panel material, published numbers, template, code.
    """
    artefacts = {cost.artefact for cost in view.costs.values()}
    named = {name for run in view.plan.runs for name in (run.fit, run.cost, *run.evaluations)}
    digest = hashlib.sha256()
    digest.update(canonical_json([sys.version, sorted(stale), view.plan.model_dump(mode="json")]).encode())
    for record in sorted(view.records.values(), key=lambda r: r.id):
        timed = isinstance(record, CostRecord | LatencyRecord) and record.artefact in artefacts
        if record.id in named or timed or record.source.kind == "published":
            digest.update(canonical_json(record).encode())
    for name in _reads(template):
        for record in MORE[name](view):
            digest.update(canonical_json(record).encode())
    for run in view.runs:
        digest.update(canonical_json([run.planned.fit, *run.problems]).encode())
        files = [evaluation.per_query_file for evaluation in run.evaluations]
        there = [file is not None and (view.store.runs / file).is_file() for file in files]
        digest.update(canonical_json(there).encode())  # their content is in the records, as digests
        _add(digest, sorted(material(view, run).parent.glob("*")))
    package = Path(vireid.report.__file__).parent
    sources = (path for path in package.rglob("*") if path.suffix in (".py", ".j2", ".css"))
    _add(digest, [*sorted(PUBLISHED.glob("*.json")), template, *sorted(sources)])
    return digest.hexdigest()


def deployment_records(view: StudyView) -> list[Record]:
    """What a report on hardware reads beside the study: costs and latencies of every graph shown, evaluated files."""
    deployment = study_deployment(view)
    priced = {timing.graph for price in prices(deployment) for timing in (price.without, price.with_)}
    graphs = set(deployment.labels) | priced
    fits = {fit.id for model in deployment.models for fit in model.fits}
    records: list[Record] = [cost for cost in deployment.costs if cost.artefact in graphs]
    records += [latency for latency in deployment.latencies if latency.artefact in graphs]
    records += [e for fit in fits for e in deployment.evaluations.get(fit, ()) if e.artefact is not None]
    return sorted(records, key=lambda record: record.id)


MORE: Mapping[str, Callable[[StudyView], list[Record]]] = {"deployment": deployment_records}


def _reads(template: Path) -> list[str]:
    try:
        metadata = json.loads(template.read_bytes())["metadata"]
        names: list[str] = metadata.get("vireid", {}).get("reads", [])
    except (OSError, ValueError, KeyError):  # no notebook: rendering it will say so
        return []
    if unknown := [name for name in names if name not in MORE]:
        raise UserError(f"{template}: reads '{unknown[0]}', which is unknown{did_you_mean(unknown[0], MORE)}")
    return names


def _add(digest: hashlib._Hash, paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_file():
            digest.update(path.name.encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
