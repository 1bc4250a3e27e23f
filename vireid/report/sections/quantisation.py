"""What quantisation changes: accuracy of int8 files beside float32, by processor, over seeds and file by file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from vireid.core.messages import DASH, file_name
from vireid.core.processor import INTEGER_PRECISIONS
from vireid.core.protocol_card import PLAIN
from vireid.core.records import EvaluatedFile, EvaluationRecord, FitRecord
from vireid.report.html import Column, Html, bullets, join, paragraph, table, tag, unfilled
from vireid.report.page import Report
from vireid.report.records.choose import find_accuracy_key
from vireid.report.records.deployment import DeploymentView
from vireid.report.records.evaluated import NOT_RECORDED, evaluations_under
from vireid.report.records.keys import AccuracyKey, as_sentence, runtime_label, signed
from vireid.report.tables import csv_text
from vireid.statistics.seeds import MIN_SEEDS, Difference, difference

_SCORES = {"mAP": "mAP", "r1": "R1"}


@dataclass(frozen=True)
class Quantised:
    """An evaluated file beside the network that it was made from."""

    model: str
    fit: FitRecord
    whole: EvaluationRecord | None
    file: EvaluationRecord
    artefact: EvaluatedFile

    @property
    def label(self) -> str:
        """Runtime and precision; how it was quantised where that is not the usual mode."""
        return file_name(self.artefact)

    @property
    def kernels(self) -> str:
        """Instructions that summed int8 products; a dash for precisions that do not depend on them."""
        return self.artefact.kernels or NOT_RECORDED if self.artefact.precision in INTEGER_PRECISIONS else DASH

    def lost(self, metric: str) -> float | None:
        """Score of the file less that of the network, a fraction."""
        return None if self.whole is None else self.file.metrics[metric] - self.whole.metrics[metric]


def render_quantisation(report: Report) -> Html:
    """Files of less precision beside float32: accuracy, nearness of features, size; and what was tried on dev."""
    deployment = report.deployment
    key = find_accuracy_key(deployment)
    found = [] if key is None else list(quantised(deployment, key))
    if not found or key is None:
        return unfilled("No quantised file evaluated", "vireid quantise RUN --to DIR")
    caption = (
        f"Files of less precision beside the networks that they were made from: {key.title}, {PLAIN}. Cosine: "
        "mean over the evaluated images; top 10: mean share of the ten nearest gallery images that both have in "
        f"common. Settings were chosen on dev identities. Int8 on: instructions that summed int8 products, whose "
        f"accuracy this is.{as_sentence(key.note)}"
    )
    columns = [Column("Model", text=True), Column("Seed"), Column("File", text=True), Column("mAP", "%, fp32")]
    columns += [Column("mAP", "%, file"), Column("Difference", "points"), Column("Interval", "of the file's mAP")]
    columns += [Column("Cosine", "to fp32 features"), Column("Top 10", "% shared"), Column("Size", "MB")]
    columns.append(Column("Int8 on", text=True))
    over_seeds = _over_seeds(report, found, key)
    folded = f"{len(found)} evaluated files, one by one" if over_seeds else ""
    pieces = [over_seeds, table(columns, [("", [_row(file) for file in found])], caption, folded=folded)]
    tried = {
        f"{file.model}, seed {file.fit.seed}, {runtime_label(file.artefact.runtime)}": file.artefact.candidates
        for file in found
        if file.artefact.candidates
    }
    if tried:
        pieces.append(paragraph("Settings that were compared on dev before one was taken:"))
        listed = [tag("span", f"{name}: ", "; ".join(map(_setting_text, group))) for name, group in tried.items()]
        pieces.append(bullets(listed))
    return join(piece for piece in pieces if piece)


def quantised(deployment: DeploymentView, key: AccuracyKey) -> Iterable[Quantised]:
    """Every evaluated file under a protocol."""
    for model in deployment.models:
        for fit in model.fits:
            evaluations = evaluations_under(deployment, fit, key)
            whole = next((e for e in reversed(evaluations) if e.artefact is None), None)
            for evaluation in evaluations:
                if evaluation.artefact is not None:
                    yield Quantised(model.label, fit, whole, evaluation, evaluation.artefact)


Pair = tuple[Quantised, Quantised]  # the same file, on two kinds of processor


def _over_seeds(report: Report, found: Sequence[Quantised], key: AccuracyKey) -> Html:
    """What files of one kind lose on one kind of processor, and one file between two; empty below three seeds."""
    groups: dict[tuple[str, str], list[Quantised]] = {}
    for file in found:
        groups.setdefault((file.label, file.kernels), []).append(file)
    if max(len({file.fit.seed for file in files}) for files in groups.values()) < MIN_SEEDS:
        return Html()
    lines = [
        _Line(label, kernels, [_Change.of_file(file) for file in files])
        for (label, kernels), files in sorted(groups.items())
    ]
    lines += [
        _Line(label, kernels, [_Change.between(*pair) for pair in pairs]) for label, kernels, pairs in _on_two(groups)
    ]
    columns = [Column("File", text=True), Column("Int8 on", text=True), Column("Files")]
    columns += [Column(name, "points [95 %]") for name in _SCORES.values()]
    columns += [Column("Top 10", "% shared"), Column("Largest", "points of mAP")]
    caption = (
        f"What files of less precision lose over seeds: {key.title}, {PLAIN}; difference from the network in float32, "
        "averaged over models, with Student intervals over seeds. “Less”: one and the same file on two kinds of "
        f"processor. Largest: of any file, without its sign.{as_sentence(key.note)}"
    )
    numbers = report.copy("tables/quantisation.csv", csv_text([line.numbers() for line in lines]))
    return table(columns, [("", [line.row() for line in lines])], caption, numbers)


@dataclass(frozen=True)
class _Change:
    """What of one file's scores differs from another evaluation's; fractions."""

    seed: int
    scores: Mapping[str, float]
    shared: float  # of the ten nearest with the network; between processors, how much more of them

    @classmethod
    def of_file(cls, file: Quantised) -> "_Change":
        """A file less its network."""
        lost = {metric: file.lost(metric) for metric in _SCORES}
        return cls(file.fit.seed, {k: v for k, v in lost.items() if v is not None}, file.artefact.overlap10)

    @classmethod
    def between(cls, one: Quantised, other: Quantised) -> "_Change":
        """A file on one kind of processor less the same on another."""
        scores = {metric: one.file.metrics[metric] - other.file.metrics[metric] for metric in _SCORES}
        return cls(one.fit.seed, scores, one.artefact.overlap10 - other.artefact.overlap10)


@dataclass(frozen=True)
class _Line:
    """Files of one kind, over seeds."""

    label: str
    kernels: str
    changes: Sequence[_Change]

    def over_seeds(self, metric: str) -> Difference | None:
        """Over seeds, each the mean of its models."""
        seeds: dict[int, list[float]] = {}
        for change in self.changes:
            if metric in change.scores:
                seeds.setdefault(change.seed, []).append(change.scores[metric])
        return difference([float(np.mean(group)) for group in seeds.values()])

    @property
    def shared(self) -> float:
        """Mean share of the ten nearest."""
        return float(np.mean([change.shared for change in self.changes]))

    @property
    def largest(self) -> float | None:
        """Largest change of mAP of any file."""
        return max((abs(change.scores["mAP"]) for change in self.changes if "mAP" in change.scores), default=None)

    def row(self) -> list[str]:
        """As the page shows it."""
        shared = f"{100 * self.shared:.1f}" if " less " not in self.kernels else signed(100 * self.shared)
        largest = DASH if self.largest is None else f"{100 * self.largest:.1f}"
        changes = [DASH if (change := self.over_seeds(metric)) is None else _points(change) for metric in _SCORES]
        return [self.label, self.kernels, str(len(self.changes)), *changes, shared, largest]

    def numbers(self) -> dict[str, object]:
        """At full precision, as fractions."""
        entries: dict[str, object] = {"file": self.label, "kernels": self.kernels, "files": len(self.changes)}
        for metric in _SCORES:
            change = self.over_seeds(metric)
            for name in ("mean", "low", "high"):
                entries[f"{metric}_{name}"] = None if change is None else getattr(change, name)
        return {**entries, "top10_shared": self.shared, "largest_mAP": self.largest}


def _on_two(groups: Mapping[tuple[str, str], Sequence[Quantised]]) -> Iterable[tuple[str, str, list[Pair]]]:
    """Files of one digest that were evaluated on two kinds of processor."""
    for (label, one), (other_label, other) in combinations(sorted(groups), 2):
        known = {file.artefact.digest: file for file in groups[other_label, other]}
        pairs = [(file, known[file.artefact.digest]) for file in groups[label, one] if file.artefact.digest in known]
        if label == other_label and pairs:
            yield label, f"{one} less {other}", pairs


def _points(change: Difference) -> str:
    text = signed(100 * change.mean, 2)
    if change.low is None or change.high is None:
        return text
    return f"{text} [{signed(100 * change.low, 2)}, {signed(100 * change.high, 2)}]"


def _row(file: Quantised) -> list[str]:
    whole, score, interval = file.whole, file.file.metrics["mAP"], file.file.intervals.get("mAP")
    lost = file.lost("mAP")
    return [
        file.model,
        str(file.fit.seed),
        file.label,
        DASH if whole is None else f"{100 * whole.metrics['mAP']:.2f}",
        f"{100 * score:.2f}",
        DASH if lost is None else signed(100 * lost, 2),
        DASH if interval is None else f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]",
        f"{file.artefact.cosine:.4f}",
        f"{100 * file.artefact.overlap10:.1f}",
        f"{file.artefact.size_bytes / 1e6:.1f}",
        file.kernels,
    ]


def _setting_text(setting: Mapping[str, Any]) -> str:
    phrases = []
    for key, value in setting.items():
        if isinstance(value, Mapping):
            phrases.append(_setting_text(value) or "defaults")
        elif isinstance(value, float):
            phrases.append(f"{key} {value:.4g}")
        elif value not in (None, ""):
            phrases.append(f"{key} {value}")
    return ", ".join(phrases)
