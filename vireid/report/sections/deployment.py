"""Models as they can be deployed: mAP against latency, what a toggle costs, and what quantisation changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from vireid.core.config import canonical_json
from vireid.core.messages import DASH
from vireid.core.protocol_card import PLAIN
from vireid.core.records import CostRecord
from vireid.report.copies import Copies
from vireid.report.figures import canvas
from vireid.report.figures.canvas import place_labels
from vireid.report.html import Column, Html, join, table, tag, unfilled
from vireid.report.page import Report
from vireid.report.records.choose import Deployable, candidates, find_accuracy_key, front
from vireid.report.records.deployment import DeploymentView, describe
from vireid.report.records.keys import AccuracyKey, TimingKey, as_sentence, grouped
from vireid.report.records.timings import Timing
from vireid.report.sections.scores import along, staircase
from vireid.report.tables import csv_text

LEGEND_ROW = 0.2  # inches
LEGEND_CHARACTERS = 130  # that fit side by side
MARKS = {"fp32": "o", "bf16": "s", "fp16": "P", "tf32": "^", "int8": "D"}


def render_front(report: Report) -> Html:
    """One figure and one table per machine, mode and threads, under one accuracy protocol."""
    deployment = report.deployment
    key = find_accuracy_key(deployment)
    every = candidates(deployment, key)
    if key is None or not every:
        return unfilled(
            "No model of this study has both an accuracy and a latency",
            "vireid ablate ablations/STUDY.yaml",
            "vireid profile model=NAME profile=runtimes",
        )
    copy = report.copy("tables/candidates.csv", candidates_csv(every, key))
    pieces = []
    for number, timed in enumerate(extreme_keys(every), start=1):
        group = [candidate for candidate in every if candidate.timing.key == timed]
        pieces.append(tag("h3", str(timed)))
        if any(candidate.accuracy for candidate in group):
            pieces.append(_front_figure(deployment, group, key, report.copies, f"front-{number}"))
        pieces.append(_candidates_table(group, key, copy))
    return join(pieces)


def extreme_keys(candidates: Sequence[Deployable]) -> list[TimingKey]:
    """One core and all of a machine's cores; everything on a machine that has neither."""
    keys = sorted({candidate.timing.key for candidate in candidates})
    ends = [key for key in keys if key.threads in (1, key.cores) or key.accelerator != "cpu"]
    machines = {key.machine for key in ends}
    return [key for key in keys if key in ends or key.machine not in machines]


def _front_figure(
    deployment: DeploymentView, group: Sequence[Deployable], key: AccuracyKey, out: Copies, name: str
) -> Html:
    points = ((c, c.accuracy) for c in group if c.accuracy is not None)
    scored = [(c, accuracy, (c.timing.ms(50), 100 * accuracy.mean_ap)) for c, accuracy in points]  # ms and percent
    best = front(group)
    first = [(c, accuracy, point) for c, accuracy, point in scored if c in best]
    first.sort(key=lambda entry: best.index(entry[0]))
    labels = list(dict.fromkeys(model.label for model in deployment.models))
    with canvas.styled():
        figure = canvas.new_figure(canvas.PAGE, 4.0)
        axes = figure.add_subplot()
        canvas.light_grid(axes, "both")
        scale = canvas.milliseconds_axis(axes, [x for *_, (x, _) in scored])
        for candidate, accuracy, (x, y) in scored:
            shade = canvas.colour(labels.index(candidate.label))
            if candidate in best and accuracy.low is not None and accuracy.high is not None:
                axes.plot([x, x], [100 * accuracy.low, 100 * accuracy.high], color=shade, linewidth=0.8, alpha=0.5)
            mark = MARKS.get(candidate.precision, "X")
            axes.scatter(x, y, s=30, marker=mark, zorder=3, **_paint(labels.index(candidate.label)))
        axes.set_xlabel(f"p50 of one image, ms{scale}")
        axes.set_ylabel("mAP (%)")
        axes.margins(x=0.15, y=0.12)
        axes.set_xlim(*axes.get_xlim())
        line = staircase([point for *_, point in first])
        line.append((axes.get_xlim()[1], line[-1][1]))
        axes.plot(*zip(*line, strict=True), color=canvas.GREY, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
        systems = [label for label in labels if any(candidate.label == label for candidate, *_ in scored)]
        handles: list[Artist] = [axes.scatter([], [], marker="o", label=s, **_paint(labels.index(s))) for s in systems]
        precisions = sorted({candidate.precision for candidate, *_ in scored})
        marks = [(precision, MARKS.get(precision, "X")) for precision in precisions]
        handles += [Line2D([], [], marker=m, linestyle="", color=canvas.GREY, label=label) for label, m in marks]
        longest = max(len(name) for name in (*systems, *precisions))
        columns = min(4, max(1, LEGEND_CHARACTERS // (longest + 6)))  # a wider legend would be cut off at the sides
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        figure.set_figheight(4.6 + LEGEND_ROW * -(-len(handles) // columns))
        covered = [point for candidate, _, point in scored if candidate not in best]
        for _, accuracy, (x, _) in first:
            if accuracy.low is not None and accuracy.high is not None:
                covered += along([(x, 100 * accuracy.low), (x, 100 * accuracy.high)])
        names = [candidate.timing.short for candidate, *_ in first]
        place_labels(axes, [point for *_, point in first], names, covered + along(line))
        caption = (
            f"mAP against latency on {group[0].timing.key}: {key.title}, {PLAIN}. Colour and fill: system; shape: "
            "precision. Dashed: Pareto front, whose members are named by runtime; thin lines: their intervals over "
            f"query identities.{as_sentence(key.note)}"
        )
        return canvas.publish(figure, name, caption, out)


def _paint(position: int) -> dict[str, Any]:
    """Colours of a system's marks: filled, and once the colours are used up hollow, pale, and with a dark edge."""
    shade = canvas.colour(position)
    pale = tuple(0.4 * part + 0.6 for part in to_rgb(shade))
    face, edge, width = (
        (shade, "white", 0.7),
        ("white", shade, 1.2),
        (pale, shade, 1.2),
        (shade, "black", 1.0),
    )[position // len(canvas.OKABE_ITO) % 4]
    return {"facecolor": face, "edgecolor": edge, "linewidth": width}


def _candidates_table(group: Sequence[Deployable], key: AccuracyKey, files: str) -> Html:
    best = front(group)
    columns = [Column("Model", text=True), Column("Runtime", text=True)]
    columns += [Column(name, "ms") for name in ("p50", "p90", "p99")]
    columns += [Column("File", "MB"), Column("RSS", "MB"), Column("mAP", "%"), Column("Interval"), Column("Seeds")]
    order = sorted(group, key=lambda c: (c.accuracy is None, c.timing.ms(50)))
    on = ("On the front", [_candidate_row(c) for c in order if c in best])
    off = ("Behind it", [_candidate_row(c) for c in order if c not in best and c.accuracy is not None])
    none = ("Not evaluated: no accuracy of their own", [_candidate_row(c) for c in order if c.accuracy is None])
    caption = (
        f"Candidates on {group[0].timing.key}, batch 1: {key.title}, {PLAIN}. float32 has the accuracy of the fit; any "
        "other precision that of an evaluated file of its kind, or none; int8 only that which was measured on the "
        "instructions that this machine computes int8 with. mAP and its interval are means over seeds."
        f"{as_sentence(key.note)}"
    )
    first = table(columns, [block for block in (on,) if block[1]], caption, files)
    others = [block for block in (off, none) if block[1]]
    if not others:
        return first
    count = sum(len(rows) for _, rows in others)
    return join(
        [
            first,
            table(columns, others, f"All other candidates.{as_sentence(key.note)}", folded=f"{count} behind the front"),
        ]
    )


def _candidate_row(candidate: Deployable) -> list[str]:
    accuracy, timing = candidate.accuracy, candidate.timing
    return [
        candidate.label,
        timing.runtime,
        *(f"{timing.ms(percentile):.2f}" for percentile in (50, 90, 99)),
        *(DASH if size is None else f"{size / 1e6:.1f}" for size in (candidate.size_bytes, timing.rss_bytes)),
        tag("span", candidate.elsewhere or "not evaluated", class_="unclaimed")
        if accuracy is None
        else f"{100 * accuracy.mean_ap:.1f}",
        DASH if accuracy is None else accuracy.interval or DASH,
        DASH if accuracy is None else ", ".join(map(str, accuracy.seeds)),
    ]


def candidates_csv(candidates: Sequence[Deployable], key: AccuracyKey) -> str:
    """Every candidate at full precision; each row names machine, protocol and data."""
    rows = []
    for c in candidates:
        accuracy, timing = c.accuracy, c.timing
        height, width = timing.first.resolution
        row: dict[str, object] = {"model": c.label, "graph": timing.graph, "runtime": timing.runtime}
        row |= {"precision": timing.precision, "height": height, "width": width, "device": timing.key.device}
        row |= {"way": timing.key.way, "threads": timing.key.threads}
        row |= {f"p{percentile}_ms": timing.ms(percentile) for percentile in (50, 90, 99)}
        row |= {"size_bytes": c.size_bytes, "rss_bytes": timing.rss_bytes}
        row |= {"mAP": accuracy and accuracy.mean_ap, "low": accuracy and accuracy.low}
        row |= {"high": accuracy and accuracy.high, "seeds": accuracy and " ".join(map(str, accuracy.seeds))}
        row |= {"fits": " ".join(c.fits), "cosine": accuracy and accuracy.cosine}
        row |= {"kernels": accuracy and accuracy.kernels, "measured_on": " ".join(c.measured_on)}
        row |= {"overlap10": accuracy and accuracy.overlap10, "protocol": key.title, "data": key.note or "real"}
        rows.append(row)
    return csv_text(rows)


@dataclass(frozen=True)
class Toggle:
    """A key of a model's configuration, its level without and with."""

    key: str
    without: str
    with_: str

    def __str__(self) -> str:
        return f"{self.key}={self.with_}"


TOGGLES = (Toggle("ibn", "none", "a"), Toggle("mha", "none", "refine"))


@dataclass(frozen=True)
class Price:
    """One toggle on one model in one runtime on one machine: the two timings."""

    toggle: Toggle
    without: Timing
    with_: Timing
    cost_without: CostRecord
    cost_with: CostRecord

    @property
    def ratio(self) -> float:
        """p50 with ÷ p50 without."""
        return self.with_.ms(50) / self.without.ms(50)

    @property
    def macs_ratio(self) -> float | None:
        """MACs with ÷ MACs without."""
        before, after = self.cost_without.macs, self.cost_with.macs
        return None if not before or after is None else after / before


def toggled_pairs(costs: Sequence[CostRecord]) -> list[tuple[Toggle, CostRecord, CostRecord]]:
    """Cost records of one resolution whose models differ in a toggle and nothing else; a missing key is its default."""
    differing = []
    for toggle in TOGGLES:
        levels: dict[tuple[object, ...], dict[str, CostRecord]] = {}
        for cost in costs:
            if cost.artefact is not None:
                rest = {key: value for key, value in cost.model.items() if key not in (toggle.key, "teacher")}
                key = canonical_json(rest), tuple(cost.resolution)
                levels.setdefault(key, {}).setdefault(str(cost.model.get(toggle.key, toggle.without)), cost)
        for level in levels.values():
            if toggle.without in level and toggle.with_ in level:
                differing.append((toggle, level[toggle.without], level[toggle.with_]))
    return differing


def prices(deployment: DeploymentView) -> list[Price]:
    """Every pair in every runtime that measured both under one condition: machine, settings, precision, batch, size."""
    priced: dict[tuple[object, ...], Price] = {}
    for toggle, before, after in toggled_pairs(deployment.costs):
        timed = {t.condition: t for t in deployment.timings if t.graph == after.artefact}
        for timing in deployment.timings:
            if timing.graph == before.artefact and (other := timed.get(timing.condition)) is not None:
                key = toggle, before.artefact, after.artefact, timing.condition  # models may share both graphs
                priced.setdefault(key, Price(toggle, timing, other, before, after))
    return list(priced.values())


def render_toggles(report: Report) -> Html:
    """One block per toggle, machine, mode and threads."""
    deployment = report.deployment
    priced = prices(deployment)
    if not priced:
        profile = "profile=runtimes"
        return unfilled(
            "No model was measured both with and without ibn=a or mha=refine on one machine",
            f"vireid profile model=idkl model.ibn=none {profile}",
            f"vireid profile model=idkl model.ibn=a {profile}",
        )
    columns = [Column("Model without it", text=True), Column("Runtime", text=True), Column("Batch")]
    columns += [Column("Without", "p50, ms"), Column("With", "p50, ms"), Column("Ratio", "p50")]
    columns.append(Column("MACs", "ratio"))
    groups = grouped(priced, lambda price: (str(price.toggle), price.without.key))
    blocks = [(f"{name} on {key}", [_price_row(price) for price in group]) for (name, key), group in groups.items()]
    caption = (
        "Price of a toggle at inference: median latency with it ÷ without it, of models that differ in nothing else, "
        "on one machine, in one runtime, measured in one mode. Weights do not matter for it; most of these were never "
        "trained. Beside it the ratio of MACs, which a runtime does not have to follow."
    )
    return table(columns, blocks, caption + as_sentence(*deployment.notes))


def _price_row(price: Price) -> list[str]:
    macs = price.macs_ratio
    return [
        f"{describe(price.cost_without.model)}, {price.without.resolution}",
        price.without.runtime,
        str(price.without.batch),
        f"{price.without.ms(50):.2f}",
        f"{price.with_.ms(50):.2f}",
        f"×{price.ratio:.2f}",
        DASH if macs is None else f"×{macs:.2f}",
    ]
