"""The sections of a report, one method each, as notebooks call them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from vireid.report.controls import controls_section
from vireid.report.costs import counters_table, latency_table, training_cost_table, training_table
from vireid.report.effects import Family, families
from vireid.report.effects.section import effects_section
from vireid.report.effects.words import NOTHING
from vireid.report.figures.bars import bars
from vireid.report.figures.curves import training_curves
from vireid.report.figures.dev import dev_curves
from vireid.report.figures.latency import latency_samples
from vireid.report.figures.retrieval import material, retrieval_panel
from vireid.report.figures.tradeoff import tradeoff
from vireid.report.figures.weights import weight_curves
from vireid.report.html import Column, Content, Fragment, Rows, bullets, join, link, paragraph, table, tag
from vireid.report.latex import to_latex
from vireid.report.load import METRICS, RunView, StudyView
from vireid.report.protocols import CARD, card_value, merged, protocol_title, reranking_label
from vireid.report.provenance import environment_tables
from vireid.report.sampling import sampling_table
from vireid.report.selection import selection_table
from vireid.report.summary import SUMMARY, headline, summary_html, summary_markdown
from vireid.report.tables import COSTS, ablation_table, to_csv, to_html
from vireid.report.text import reads_text, text_section
from vireid.store import Store, write_atomically


class Report:
    """A study's report; every method returns one section as HTML and writes its copies under ``out``."""

    def __init__(self, view: StudyView, out: Path) -> None:
        self.view = view
        self.out = out
        self._tables = [ablation_table(view, setting) for setting in view.settings]
        self._effects: dict[str, list[Family]] = {}

    def overview(self) -> Fragment:
        """Title, what was studied, how complete it is, and what is missing and why."""
        view = self.view
        pieces: list[Content] = [tag("h1", view.plan.title)]
        if view.plan.description:
            pieces.append(paragraph(view.plan.description, class_="lead"))
        finished = sum(1 for run in view.runs if not run.problems)
        seeds = ", ".join(map(str, view.plan.seeds))
        named = [f"control {cell.control}" for cell in view.controls]
        named += [name if name == "placebo" else f"placebo {name}" for name in view.plan.placebo]
        checks = f"; checks: {', '.join(named)}" if named else ""
        pieces.append(
            bullets(
                [
                    f"Design: {view.plan.design.replace('_', ' ')}, {len(view.design_cells)} cells × "
                    f"{len(view.plan.seeds)} seed{'s' if len(view.plan.seeds) != 1 else ''} ({seeds}); "
                    f"reference: {view.baseline.label}{checks}.",
                    f"Complete: {finished} of {len(view.runs)} runs.",
                    f"Data: {', '.join(view.data_labels) or 'none yet'}.",
                ]
            )
        )
        if view.note:
            pieces.append(tag("p", tag("strong", view.note.strip()), class_="notice"))
        absent = [f"{run.cell.label}, seed {run.seed}: {'; '.join(run.problems)}" for run in view.runs if run.problems]
        if absent:
            pieces.append(tag("div", paragraph("Missing from this report:"), bullets(absent), class_="warning"))
        stale = [f"{run.cell.label}, seed {run.seed}" for run in view.runs if run.stale]
        if stale:
            words = "Stale: a component has changed since these were measured: " + "; ".join(stale) + "."
            pieces.append(paragraph(words, class_="warning"))
        if view.mixed_sources:
            words = "Runs of this study were made with different sources of " + ", ".join(view.mixed_sources)
            pieces.append(paragraph(words + "; differences between them may come from that.", class_="warning"))
        return join(pieces)

    def ablation(self, copies: str = "ablation") -> Fragment:
        """The ablation table of every protocol, with CSV and LaTeX copies ``tables/<copies>-<n>``."""
        if not self._tables:
            return paragraph("No scores yet.", class_="absent")
        pieces: list[Content] = []
        for position, content in enumerate(self._tables, start=1):
            name = f"tables/{copies}-{position}"
            write_atomically(self.out / f"{name}.csv", to_csv(content))
            write_atomically(self.out / f"{name}.tex", to_latex(self.view, content))
            files = join([link(f"{name}.csv", "CSV"), link(f"{name}.tex", "LaTeX")], " · ")
            pieces += [tag("h3", content.title), to_html(self.view, content, files)]
        return join(pieces)

    def summary(self) -> Fragment:
        """What each toggle is worth and costs, in sentences and one table; Markdown copy ``summary.md``."""
        found = headline(self.view, self._families("mAP"), self._families("r1"))
        write_atomically(self.out / SUMMARY, summary_markdown(self.view, found))
        if found is None:
            return paragraph(NOTHING, class_="absent")
        copy = paragraph("As ", link(SUMMARY, "Markdown"), " for a README.", class_="method")
        return join([summary_html(self.view, found), copy])

    def effects(self, metric: str = "mAP") -> Fragment:
        """Main effects and interactions with intervals, setting by setting: figure, sentences, CSV."""
        return effects_section(self.view, self._families(metric), self.out)

    def sampling(self) -> Fragment:
        """How far differences from the baseline depend on which people were in the test set."""
        return sampling_table(self.view)

    def controls(self) -> Fragment:
        """Controls beside the chance level, placebos against zero."""
        return controls_section(self.view, self._families("mAP"))

    def text(self) -> Fragment:
        """What text adds to infrared queries, source by source."""
        return text_section(self.view, self.out)

    def text_if_any(self) -> Fragment:
        """The same with its heading, for studies most of which have no text; empty HTML without any."""
        if not any(reads_text(setting) for setting in self.view.settings):
            return Fragment("")
        return join([tag("h2", "Text", id="text"), self.text()])

    def _families(self, metric: str) -> list[Family]:
        if metric not in self._effects:
            self._effects[metric] = families(self.view, metric)
        return self._effects[metric]

    def accuracy_against_cost(self) -> Fragment:
        """Accuracy over latency and over MACs with the Pareto front, for the first protocol."""
        by_key = {column.key: column for column in COSTS}
        return (
            join(
                tradeoff(self.view, content, by_key[key], self.out, f"tradeoff-{key}")
                for content in self._tables[:1]
                for key in ("latency", "macs")
            )
            if self._tables
            else paragraph("No scores yet.", class_="absent")
        )

    def scores(self) -> Fragment:
        """Bars with a dot per seed, one figure per protocol."""
        drawn = [bars(self.view, content, self.out, f"scores-{n}") for n, content in enumerate(self._tables, start=1)]
        return join(drawn) if drawn else paragraph("No scores yet.", class_="absent")

    def training(self) -> Fragment:
        """Learning curves, learned weights, dev scores with the rules of picking an epoch, and what each fit took."""
        pieces = [
            training_curves(self.view, self.out),
            weight_curves(self.view, self.out),
            dev_curves(self.view, self.out),
            selection_table(self.view),
            training_table(self.view),
        ]
        return join(piece for piece in pieces if piece is not None)

    def cost(self) -> Fragment:
        """Parameters and MACs by every counter, and what training costs beside deployment."""
        return join([counters_table(self.view), training_cost_table(self.view)])

    def latency(self) -> Fragment:
        """Latency per condition: raw samples and percentiles."""
        return join([latency_samples(self.view, self.out), latency_table(self.view)])

    def retrieval(self) -> Fragment:
        """Panels of the baseline and of the design's last cell, where their material has been written."""
        trained = [run for run in self.view.runs if run.fit is not None]
        if not trained:
            return paragraph("No finished training.", class_="absent")
        done = {run.cell.name for run in trained}
        last = [cell.name for cell in self.view.design_cells if cell.name in done]
        ends = (self.view.baseline.name, *last[-1:])
        chosen: list[RunView] = []
        for name in dict.fromkeys(ends):
            runs = [run for run in trained if run.cell.name == name]
            present = [run for run in runs if material(self.view, run).is_file()]
            chosen += (present or runs)[:1]
        pieces: list[Content] = []
        for run in chosen:
            if material(self.view, run).is_file():
                pieces.append(retrieval_panel(self.view, run, self.out, f"retrieval-{run.planned.fit}"))
            else:
                command = tag("code", f"vireid explain {run.planned.fit}")
                pieces.append(paragraph(f"No panel of {run.cell.label} yet; ", command, " makes it.", class_="absent"))
        return join(pieces)

    def protocols(self) -> Fragment:
        """What every score was measured under."""
        found: dict[str, list[dict[str, object]]] = {}
        for run in self.view.runs:
            for evaluation in run.evaluations:
                title = f"{protocol_title(evaluation.protocol)}, {reranking_label(evaluation.protocol)}"
                found.setdefault(title, []).append(evaluation.protocol)
        if not found:
            return paragraph("No scores yet.", class_="absent")
        cards = {title: merged(own) for title, own in found.items()}
        keys = [key for key in CARD if any(key in card for card in cards.values())]
        keys += sorted({key for card in cards.values() for key in card} - set(CARD))
        columns = [Column("", text=True), *(Column(title, text=True) for title in cards)]
        rows = [[CARD.get(key, key), *(card_value(card, key) for card in cards.values())] for key in keys]
        return table(columns, [Rows("", rows)], "Protocol card: what every score of this report was measured under.")

    def environment(self) -> Fragment:
        """Machines, packages, commits and data of the runs."""
        return environment_tables(self.view)

    def published(self) -> Fragment:
        """Published numbers in the store, apart from everything measured; empty HTML without any."""
        records = self.view.published
        if not records:
            return Fragment("")
        columns = [Column("Source", text=True), Column("Protocol", text=True)]
        columns += [Column(name, "%") for name in METRICS]
        rows: list[list[Content]] = []
        for record in records:
            values = [f"{100 * record.metrics[m]:.1f}" if m in record.metrics else "–" for m in METRICS]
            title = f"{protocol_title(record.protocol)}, {reranking_label(record.protocol)}"
            rows.append([record.source.citation or "no citation", title, *values])
        caption = (
            "Published numbers, as their authors report them on real data. They share no table with measured ones."
        )
        return join([tag("h2", "Published numbers", id="published"), table(columns, [Rows("", rows)], caption)])


def open_report(store: str | Path, study: str, out: str | Path = ".", stale: Collection[str] = ()) -> Report:
    """Open the report of a study.

    Args:
        store: root of the record store.
        study: name of the study.
        out: folder that takes ``figures/`` and ``tables/``.
        stale: ids of records whose component source has changed since they were made.
    """
    return Report(StudyView(Store(Path(store)), study, stale), Path(out))
