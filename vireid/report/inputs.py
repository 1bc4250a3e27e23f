"""What a rendered report depends on, as one digest: unchanged inputs need no second rendering."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

import vireid.report
from vireid.core.config import canonical_json
from vireid.core.records import CostRecord, LatencyRecord
from vireid.report.figures.retrieval import material
from vireid.report.hardware.inputs import records_read
from vireid.report.load import StudyView
from vireid.report.published import PUBLISHED


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
    if template.is_file() and "open_hardware" in template.read_text(encoding="utf-8"):
        for record in records_read(view):
            digest.update(canonical_json(record).encode())
    for run in view.runs:
        digest.update(canonical_json([run.planned.fit, *run.problems]).encode())
        files = [evaluation.per_query_file for evaluation in run.evaluations]
        there = [file is not None and (view.store.runs / file).is_file() for file in files]
        digest.update(canonical_json(there).encode())  # their content is in the records, as digests
        _add(digest, sorted(material(view, run).parent.glob("*")))
    _add(digest, [*sorted(PUBLISHED.glob("*.json")), template, *sorted(_sources())])
    return digest.hexdigest()


def _sources() -> Iterable[Path]:
    package = Path(vireid.report.__file__).parent
    return (path for path in package.rglob("*") if path.suffix in (".py", ".j2", ".css"))


def _add(digest: hashlib._Hash, paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_file():
            digest.update(path.name.encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
