"""The sections of a report on hardware, one method each, as its notebook calls them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from vireid.report.hardware.deployment import study_deployment
from vireid.report.hardware.devices import devices_section
from vireid.report.hardware.front import front_section
from vireid.report.hardware.latency import latency_section, machines_table, skipped
from vireid.report.hardware.quantisation import quantisation_section
from vireid.report.hardware.roofline import roofline_section
from vireid.report.hardware.toggles import toggles_section
from vireid.report.hardware.ways import ways_section
from vireid.report.html import Fragment, bullets, join, paragraph
from vireid.report.load import StudyView
from vireid.report.page import Report
from vireid.store import Store


class Hardware(Report):
    """A report on deployment: of a study's models, and of graphs that the store profiled without training them."""

    def __init__(self, view: StudyView, out: Path) -> None:
        super().__init__(view, out)
        self.deployment = study_deployment(view)

    def machines(self) -> Fragment:
        """What was measured on which machines, and what could not be."""
        absent = skipped(self.deployment)
        below = [paragraph("Not measured:"), bullets(absent)] if absent else []
        return join([machines_table(self.deployment), *below])

    def latency(self) -> Fragment:
        """Latency by machine, graph and runtime."""
        return latency_section(self.deployment, self.out)

    def front(self) -> Fragment:
        """Accuracy against latency, at one core and at all."""
        return front_section(self.deployment, self.out)

    def quantisation(self) -> Fragment:
        """Quantised files beside their networks."""
        return quantisation_section(self.deployment)

    def roofline(self) -> Fragment:
        """Achieved arithmetic against measured roofs."""
        return roofline_section(self.deployment, self.out)

    def ways(self) -> Fragment:
        """Where the time of one query goes."""
        return ways_section(self.deployment, self.out)

    def toggles(self) -> Fragment:
        """What ibn=a and mha=refine cost at inference, per runtime."""
        return toggles_section(self.deployment)

    def devices(self) -> Fragment:
        """Devices never measured."""
        return devices_section(self.deployment)


def open_hardware(store: str | Path, study: str, out: str | Path = ".", stale: Collection[str] = ()) -> Hardware:
    """Open the report on hardware of a study.

    Args:
        store: root of the record store.
        study: name of the study.
        out: folder that takes ``figures/`` and ``tables/``.
        stale: ids of records whose component source has changed since they were made.
    """
    return Hardware(StudyView(Store(Path(store)), study, stale), Path(out))
