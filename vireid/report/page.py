"""The sections of a report, one method each, as notebooks call them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from vireid.report.costs import counters_table, latency_table, training_table
from vireid.report.figures.bars import bars
from vireid.report.figures.curves import training_curves, weight_curves
from vireid.report.figures.latency import latency_samples
from vireid.report.figures.retrieval import material, retrieval_panel
from vireid.report.figures.tradeoff import tradeoff
from vireid.report.html import Column, Content, Fragment, Rows, bullets, join, link, paragraph, table, tag
from vireid.report.latex import to_latex
from vireid.report.load import METRICS, RunView, StudyView
from vireid.report.protocols import CARD, card_value, protocol_title, reranking_label
from vireid.report.provenance import environment_tables
from vireid.report.statistics import MIN_SEEDS, effects, sentence, toggles
from vireid.report.tables import COSTS, ablation_table, to_csv, to_html
from vireid.store import Store, write_atomically


class Report:
    """A study's report; every method returns one section as HTML and writes its copies under ``out``."""

    def __init__(self, view: StudyView, out: Path) -> None:
        self.view = view
        self.out = out
        self._tables = [ablation_table(view, setting) for setting in view.settings]

    def overview(self) -> Fragment:
        """Title, what was studied, how complete it is, and what is missing and why."""
        view = self.view
        pieces: list[Content] = [tag("h1", view.plan.title)]
        if view.plan.description:
            pieces.append(paragraph(view.plan.description, class_="lead"))
        finished = sum(1 for run in view.runs if not run.problems)
        seeds = ", ".join(map(str, view.plan.seeds))
        pieces.append(
            bullets(
                [
                    f"Design: {view.plan.design.replace('_', ' ')}, {len(view.plan.cells)} cells × "
                    f"{len(view.plan.seeds)} seed{'s' if len(view.plan.seeds) != 1 else ''} ({seeds}); "
                    f"baseline: {view.baseline.label}.",
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

    def ablation(self) -> Fragment:
        """The ablation table of every protocol, with CSV and LaTeX copies under ``tables/``."""
        if not self._tables:
            return paragraph("No scores yet.", class_="absent")
        pieces: list[Content] = []
        for position, content in enumerate(self._tables, start=1):
            name = f"tables/ablation-{position}"
            write_atomically(self.out / f"{name}.csv", to_csv(content))
            write_atomically(self.out / f"{name}.tex", to_latex(self.view, content))
            files = join([link(f"{name}.csv", "CSV"), link(f"{name}.tex", "LaTeX")], " · ")
            pieces += [tag("h3", content.title), to_html(self.view, content, files)]
        return join(pieces)

    def effects(self, metric: str = "mAP") -> Fragment:
        """A plain sentence per toggle, setting by setting."""
        found = effects(self.view, metric)
        if not found:
            return paragraph("No pair of cells that differ in one factor alone has been measured yet.", class_="absent")
        levels: dict[str, int] = {}
        for factor, _, _ in toggles(self.view):
            levels[factor] = levels.get(factor, 0) + 1
        pieces: list[Content] = []
        for content in self._tables:
            for reranking in dict.fromkeys(row.reranking for row in content.rows):
                own = [e for e in found if e.setting == content.setting and e.reranking == reranking]
                if not own:
                    continue
                items: list[Content] = []
                for effect in own:
                    low, high = (self.view.cells[name].label for name in effect.pairs[0])
                    more = f" and {len(effect.pairs) - 1} more pairs" if len(effect.pairs) > 1 else ""
                    words = f" {low} → {high}{more}"
                    shade = "unclaimed" if effect.difference.n < MIN_SEEDS else None
                    text = tag("span", sentence(effect, levels[effect.factor]), class_=shade)
                    items.append(tag("span", text, tag("small", words)))
                note = f" ({content.note})" if content.note else ""
                pieces += [paragraph(tag("strong", f"{content.title}, {reranking}"), note), bullets(items)]
        pieces.append(
            paragraph(
                f"In points of percent. From {MIN_SEEDS} seeds on: 95 % Student t interval over seeds (differences "
                "paired by seed); an effect counts as shown where p < 0.05 after Holm's correction over the toggles "
                "of a table. An interval over few seeds tells about the randomness of training on these data, not "
                "about other data.",
                class_="method",
            )
        )
        return join(pieces)

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
        """Learning curves, learned weights, and what each fit took."""
        pieces = [training_curves(self.view, self.out), weight_curves(self.view, self.out), training_table(self.view)]
        return join(piece for piece in pieces if piece is not None)

    def cost(self) -> Fragment:
        """Parameters and MACs by every counter."""
        return counters_table(self.view)

    def latency(self) -> Fragment:
        """Latency per condition: raw samples and percentiles."""
        return join([latency_samples(self.view, self.out), latency_table(self.view)])

    def retrieval(self) -> Fragment:
        """Panels of the baseline and of the last cell, where their material has been written."""
        trained = [run for run in self.view.runs if run.fit is not None]
        if not trained:
            return paragraph("No finished training.", class_="absent")
        ends = (self.view.baseline.name, trained[-1].cell.name)
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
        cards: dict[str, dict[str, object]] = {}
        for run in self.view.runs:
            for evaluation in run.evaluations:
                title = f"{protocol_title(evaluation.protocol)}, {reranking_label(evaluation.protocol)}"
                cards.setdefault(title, evaluation.protocol)
        if not cards:
            return paragraph("No scores yet.", class_="absent")
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
