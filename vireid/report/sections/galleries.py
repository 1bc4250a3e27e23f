"""Galleries as they are stored: accuracy, bytes, time of a search, and what is on the front of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from vireid.bundle.device.choice import pareto_front
from vireid.core.messages import DASH, file_name
from vireid.core.protocol_card import COUNTS
from vireid.core.records import FitRecord, GalleryRecord
from vireid.report.copies import Copies
from vireid.report.figures import canvas
from vireid.report.html import Column, Html, join, table, unfilled
from vireid.report.page import Report
from vireid.report.records.deployment import Model
from vireid.report.records.keys import as_sentence, data_label, data_note, grouped
from vireid.report.records.searches import SearchTimes, search_times
from vireid.report.records.timings import machine_names
from vireid.report.sections.scores import along, staircase
from vireid.report.tables import csv_text

DECADES = 30  # times: values that lie farther apart have a mark at every decade alone
ROWS = 100_000  # that the figure's times are of, where they were measured


@dataclass(frozen=True)
class Stored:
    """A model with its gallery in one storage under one protocol, mean over its fits."""

    model: Model
    file: str  # what made the features
    protocol: str
    storage: str
    records: tuple[GalleryRecord, ...]

    @property
    def mean_ap(self) -> float:
        """A fraction."""
        return sum(record.metrics["mAP"] for record in self.records) / len(self.records)

    @property
    def change(self) -> tuple[float, float, float]:
        """To float32, with the ends of its interval, means over fits."""
        differences = [record.differences["mAP"] for record in self.records]
        count = len(differences)
        return (
            sum(difference.mean for difference in differences) / count,
            sum(difference.low for difference in differences) / count,
            sum(difference.high for difference in differences) / count,
        )

    @property
    def first(self) -> GalleryRecord:
        """One of them, for what all share."""
        return self.records[0]


def render_galleries(report: Report) -> Html:
    """A table of accuracies per protocol, one of times per machine, and the picture of both."""
    view = report.view
    galleries = [r for r in view.records.values() if isinstance(r, GalleryRecord) and r.status == "ok"]
    stored = [one for model in report.deployment.models for one in _stored(model, galleries)]
    if not stored:
        return unfilled("No gallery of this study was stored and searched", "vireid gallery RUN")
    note = as_sentence(*dict.fromkeys(data_note(data_label(fit)) for one in stored for fit in one.model.fits[:1]))
    widths = {one.first.features for one in stored}
    times = [each for each in search_times(view.records.values()) if each.features in widths]
    copy = report.copy("tables/galleries.csv", _csv(stored))
    pieces: list[Html] = []
    for number, (protocol, group) in enumerate(grouped(stored, lambda one: one.protocol).items(), start=1):
        pieces.append(_figure(group, times, protocol, note, report.copies, f"galleries-{number}"))
        pieces.append(_accuracies(group, protocol, note, copy))
    names = machine_names([*report.deployment.latencies])
    for machine, measured in grouped(times, lambda each: each.machine).items():
        pieces.append(_times(measured, names.get(machine, "one machine")))
    return join(pieces)


def _stored(model: Model, galleries: Sequence[GalleryRecord]) -> list[Stored]:
    fits = {fit.id: fit for fit in model.fits}
    own = [record for record in galleries if record.fit in fits]
    groups = grouped(own, lambda r: (_made_by(r), r.card.without(*COUNTS).title, r.storage))
    return [Stored(model, *key, tuple(records)) for key, records in groups.items()]


def _made_by(record: GalleryRecord) -> str:
    file = record.artefact
    return "trained model" if file is None else f"{file_name(file)} file"


def _accuracies(group: Sequence[Stored], protocol: str, note: str, copy: str) -> Html:
    columns = [Column("Features", text=True), Column("Gallery", text=True), Column("Row", "bytes")]
    columns += [Column("Read of it", "bytes"), Column("mAP", "%"), Column("To float32", "points")]
    columns += [Column("Same ten", "%"), Column("Fits")]
    blocks = []
    for label, members in grouped(group, lambda one: one.model.label).items():
        rows = [_accuracy_row(one) for one in members]
        blocks.append((label, rows))
    caption = (
        f"Galleries as they are stored: {protocol}. Queries stay in float32. The difference is paired by query, its "
        "interval over query identities; same ten: share of float32's ten nearest that stay. Accuracy is that of the "
        f"protocol's gallery.{note}"
    )
    return table(columns, blocks, caption, copy)


def _accuracy_row(one: Stored) -> list[str]:
    mean, low, high = (f"{100 * value:+.2f}".replace("-", "−") for value in one.change)
    overlaps = [record.overlap10 for record in one.records if record.overlap10 is not None]
    exact = one.storage == "fp32"
    return [
        one.file,
        one.storage,
        f"{one.first.row_bytes:g}",
        f"{one.first.scanned_bytes:g}",
        f"{100 * one.mean_ap:.1f}",
        DASH if exact else f"{mean} [{low}, {high}]",
        DASH if not overlaps else f"{100 * sum(overlaps) / len(overlaps):.1f}",
        str(len(one.records)),
    ]


def _times(group: Sequence[SearchTimes], machine: str) -> Html:
    sizes = sorted({rows for times in group for rows in times.seconds})
    columns = [Column("Gallery", text=True), Column("Values")]
    columns += [Column(f"{rows:,}".replace(",", " "), "ms") for rows in sizes]
    columns += [Column("Memory", "MB"), Column("Exponent")]
    blocks = [
        (library, [_time_row(times, sizes) for times in members])
        for library, members in grouped(group, lambda times: times.library).items()
    ]
    caption = (
        f"One search on one core of {machine}, by rows: median, a fresh process each. Memory: of the rows of the last "
        "column. Exponent: slope of log time over log rows; 1 is in step with rows, below it a fixed part counts."
    )
    return table(columns, blocks, caption)


def _time_row(times: SearchTimes, sizes: Sequence[int]) -> list[str]:
    shown = [1e3 * times.seconds[rows] if rows in times.seconds else None for rows in sizes]
    memory = times.gallery_bytes.get(sizes[-1])
    return [
        times.storage,
        str(times.features),
        *(DASH if ms is None else f"{ms:.{3 if ms < 1 else 2}f}" for ms in shown),
        DASH if memory is None else f"{memory / 1e6:.1f}",
        DASH if times.exponent is None else f"{times.exponent:.2f}",
    ]


def _figure(
    group: Sequence[Stored], times: Sequence[SearchTimes], protocol: str, note: str, out: Copies, name: str
) -> Html:
    """MAP against bytes of a row, and against the time of a search where any was measured."""
    storages = list(dict.fromkeys(one.storage for one in group))
    timed = {(t.storage, t.features): t.ms(ROWS) for t in times if t.library == "numpy"}
    panels = [("bytes of a row (logarithmic)", [(one, one.first.row_bytes) for one in group])]
    known = [(one, timed.get((one.storage, one.first.features))) for one in group]
    searched = [(one, ms) for one, ms in known if ms is not None]
    if searched:
        panels.append((f"ms of a search in {ROWS:,} rows (logarithmic)".replace(",", " "), searched))
    exact = {(one.model.label, one.file): one.mean_ap for one in group if one.storage == "fp32"}
    with canvas.styled():
        figure = canvas.new_figure(canvas.PAGE, 3.4)
        grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        labelled: list[tuple[Axes, list[tuple[float, float]], list[str], list[tuple[float, float]]]] = []
        for axes, (label, points) in zip(grid, panels, strict=True):
            canvas.light_grid(axes, "both")
            where, covered = [(x, 100 * one.mean_ap) for one, x in points], []
            for (one, x), point in zip(points, where, strict=True):
                shade = canvas.colour(storages.index(one.storage))
                axes.scatter(*point, s=30, color=shade, zorder=3)
                reference = exact.get((one.model.label, one.file))
                if reference is not None and one.storage != "fp32":
                    ends = [(x, 100 * (reference + end)) for end in one.change[1:]]
                    axes.plot(*zip(*ends, strict=True), color=shade, linewidth=0.8, alpha=0.6)
                    covered += along(ends)
            axes.set_xscale("log")
            if max(x for x, _ in where) < DECADES * min(x for x, _ in where):
                canvas.plain_logarithm(axes.xaxis)
            else:
                axes.xaxis.set_major_formatter("{x:g}")
            axes.margins(x=0.18, y=0.18)
            axes.set_xlim(*axes.get_xlim())
            best = [where[position] for position in pareto_front(where)]
            line = staircase(best)
            line.append((axes.get_xlim()[1], line[-1][1]))
            axes.plot(*zip(*line, strict=True), color=canvas.GREY, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
            axes.set_xlabel(label)
            ahead = [(x * 10 ** (step / 20), y) for x, y in best for step in range(1, 10)]  # along a logarithmic axis
            labelled.append((axes, where, [one.storage for one, _ in points], covered + along(line) + ahead))
        grid[0].set_ylabel("mAP (%)")
        for axes, where, names, covered in labelled:  # last: it freezes the layout of the whole figure
            canvas.place_labels(axes, where, names, covered)
        caption = (
            f"mAP against what a gallery costs: {protocol}. Colour: storage. Dashed: Pareto front; thin lines: "
            f"intervals of the difference to float32, paired by query. Times with NumPy on one core.{note}"
        )
        return canvas.publish(figure, name, caption, out)


def _csv(stored: Sequence[Stored]) -> str:
    rows = []
    for one in stored:
        for record in one.records:
            fit: FitRecord = next(fit for fit in one.model.fits if fit.id == record.fit)
            change = record.differences["mAP"]
            row: dict[str, object] = {"model": one.model.label, "fit": record.fit, "features": one.file}
            row |= {"width": record.features, "storage": one.storage, "row_bytes": record.row_bytes}
            row |= {"scanned_bytes": record.scanned_bytes, **record.metrics, "overlap10": record.overlap10}
            row |= {"change": change.mean, "change_low": change.low, "change_high": change.high}
            row |= {"protocol": one.protocol, "data": data_note(data_label(fit)) or "real"}
            rows.append(row)
    return csv_text(rows)
