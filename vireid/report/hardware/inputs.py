"""Which records a report on hardware reads: they decide whether it is up to date, and are published with its study."""

from __future__ import annotations

from vireid.core.records import Record
from vireid.report.hardware.deployment import Deployment, study_deployment
from vireid.report.hardware.toggles import prices
from vireid.report.load import StudyView


def records_read(view: StudyView) -> list[Record]:
    """Beside those that the plan names: files' evaluations, and costs and latencies of every graph that is shown."""
    deployment = study_deployment(view)
    graphs = set(deployment.labels) | _priced(deployment)
    fits = {fit.id for model in deployment.models for fit in model.fits}
    found: list[Record] = [cost for cost in deployment.costs if cost.artefact in graphs]
    found += [latency for latency in deployment.latencies if latency.artefact in graphs]
    found += [e for fit in fits for e in deployment.evaluations.get(fit, ()) if e.artefact is not None]
    return sorted(found, key=lambda record: record.id)


def _priced(deployment: Deployment) -> set[str]:
    return {timing.graph for price in prices(deployment) for timing in (price.without, price.with_)}
