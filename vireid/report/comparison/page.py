"""The sections of a comparison, one method each, as its notebook calls them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from vireid.report.comparison.differences import differences_section
from vireid.report.comparison.summary import comparison_markdown
from vireid.report.comparison.systems import system_tables, to_csv, to_html
from vireid.report.comparison.training import training_section
from vireid.report.costs import counters_table, training_table
from vireid.report.html import Content, Fragment, join, link, paragraph
from vireid.report.load import StudyView
from vireid.report.page import Report
from vireid.report.published import published_records, published_section
from vireid.report.summary import SUMMARY
from vireid.report.text import reads_text, text_rows
from vireid.store import Store, write_atomically


class Comparison(Report):
    """A report on systems; scores with text appear in the section on text alone."""

    def __init__(self, view: StudyView, out: Path) -> None:
        super().__init__(view, out)
        self._tables = [content for content in self._tables if not reads_text(content.setting)]

    def systems(self) -> Fragment:
        """Accuracy and costs of every system in one table; CSV copy, and Markdown copy ``summary.md``."""
        found = system_tables(self.view)
        words = comparison_markdown(self.view, found, self._families("mAP"), text_rows(self.view))
        write_atomically(self.out / SUMMARY, words)
        if not found:
            return paragraph("No scores yet.", class_="absent")
        pieces: list[Content] = []
        for position, content in enumerate(found, start=1):
            name = f"tables/systems-{position}.csv"
            write_atomically(self.out / name, to_csv(content))
            pieces.append(to_html(self.view, content, link(name, "CSV")))
        pieces.append(paragraph("As ", link(SUMMARY, "Markdown"), " for a README.", class_="method"))
        return join(pieces)

    def accuracy(self) -> Fragment:
        """Every metric of every image-only protocol, plain and re-ranked scores in blocks of their own."""
        return self.ablation("accuracy")

    def differences(self) -> Fragment:
        """Differences from the reference system with intervals, in a figure, in sentences and in a table."""
        return differences_section(self.view, self._families("mAP"), self._families("r1"), self.out)

    def budget(self) -> Fragment:
        """What every system was given to train with and what it took, system by system and fit by fit."""
        return join([training_section(self.view), training_table(self.view)])

    def cost(self) -> Fragment:
        """Parameters and MACs by every counter."""
        return counters_table(self.view)

    def published(self) -> Fragment:
        """Published numbers of the checkout and of the store, in tables of their own."""
        own = {record.id: record for record in (*published_records(), *self.view.published)}
        return published_section(list(own.values()))


def open_comparison(store: str | Path, study: str, out: str | Path = ".", stale: Collection[str] = ()) -> Comparison:
    """Open the report of a study that compares systems.

    Args:
        store: root of the record store.
        study: name of the study.
        out: folder that takes ``figures/``, ``tables/`` and ``summary.md``.
        stale: ids of records whose component source has changed since they were made.
    """
    return Comparison(StudyView(Store(Path(store)), study, stale), Path(out))
