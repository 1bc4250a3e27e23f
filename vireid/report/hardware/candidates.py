"""Deployable candidates: a trained model as an artefact in a runtime at a place, with its own accuracy.

A latency of precision fp32 has the accuracy of the model itself, as every fp32 runtime is held to its features. Any
other precision has the accuracy of an evaluation of such a file (same graph, runtime, precision and resolution), or
none: it is never borrowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vireid.core.config import canonical_json
from vireid.core.errors import UserError
from vireid.core.identity import run_id
from vireid.core.records import EvaluationRecord, FitRecord
from vireid.report.figures.tradeoff import pareto_front
from vireid.report.hardware.deployment import Deployment, Model
from vireid.report.hardware.timings import Place, Timing
from vireid.report.load import data_label, data_note
from vireid.report.protocols import PLAIN, protocol_key, protocol_title, reranking_label

EXACT = "fp32"


@dataclass(frozen=True)
class Yardstick:
    """The one accuracy that a table of candidates holds: a protocol, without re-ranking, on one kind of data."""

    protocol: str  # canonical card without re-ranking and counts
    data: str  # canonical specification of the images, without resolution and seed
    title: str
    note: str  # warning for synthetic data, or empty
    split: str


@dataclass(frozen=True)
class Accuracy:
    """mAP under the yardstick, a fraction; the mean over fits where there are several."""

    mean_ap: float
    low: float | None  # ends of the interval over query identities, each the mean over fits
    high: float | None
    level: float | None
    fits: tuple[str, ...]
    seeds: tuple[int, ...]
    cosine: float | None = None  # of a file: to the model's own features
    overlap10: float | None = None
    size_bytes: int | None = None  # of the file
    settings: tuple[dict[str, Any], ...] = ()  # compared on dev before this file's were taken

    @property
    def interval(self) -> str:
        """``"[22.0, 41.6]"`` in percent; empty where there is none."""
        return "" if self.low is None or self.high is None else f"[{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class Candidate:
    """One way to deploy one model, at batch 1; ``accuracy`` is None where it was not evaluated."""

    model: Model
    timing: Timing
    accuracy: Accuracy | None

    @property
    def label(self) -> str:
        """The model's name in tables."""
        return self.model.label

    @property
    def place(self) -> Place:
        """Where it was timed."""
        return self.timing.place

    @property
    def precision(self) -> str:
        """Such as fp32 or int8."""
        return self.timing.first.precision

    @property
    def fits(self) -> tuple[str, ...]:
        """Ids of the fits whose accuracy it has; all of the model's where it has none."""
        return self.accuracy.fits if self.accuracy else tuple(fit.id for fit in self.model.fits)

    @property
    def size_bytes(self) -> int | None:
        """Of the file on disk: as it was timed, else as it was evaluated, else of the weights alone."""
        evaluated = self.accuracy.size_bytes if self.accuracy else None
        weights = self.model.cost.size_bytes if self.precision == EXACT else None
        return next((size for size in (self.timing.size_bytes, evaluated, weights) if size is not None), None)

    def __str__(self) -> str:
        return f"{self.label}, {self.timing.runtime}"


def yardsticks(deployment: Deployment, place: Place | None = None) -> list[Yardstick]:
    """Every accuracy that candidates can be measured with: plain searches over all cameras first, most fits first.

    Args:
        deployment: the models and their evaluations.
        place: count only models that were timed there, one image at a time.
    """
    there = [timing for timing in deployment.timings if timing.place == place]
    found: dict[Yardstick, int] = {}
    for model in deployment.models:
        if place is not None and not any(_is_timing_of(timing, model) for timing in there):
            continue
        for fit in model.fits:
            plain = [e for e in deployment.evaluations.get(fit.id, ()) if reranking_label(e.protocol) == PLAIN]
            for yardstick in {yardstick_of(fit, evaluation) for evaluation in plain}:
                found[yardstick] = found.get(yardstick, 0) + 1
    return sorted(found, key=lambda y: (not _is_usual(y), -found[y], y.title, y.data))


def find_yardstick(deployment: Deployment, text: str | None = None, place: Place | None = None) -> Yardstick | None:
    """The first yardstick, or the one whose title contains ``text``; None where nothing was evaluated.

    Given a ``place``, of the models that were timed there: a store may hold more fits on other people than those.

    Raises:
        UserError: no title contains ``text``.
    """
    known = yardsticks(deployment, place) or yardsticks(deployment)
    fitting = [y for y in known if text is None or text.lower() in y.title.lower()]
    if text is not None and not fitting:
        titles = "; ".join(dict.fromkeys(y.title for y in known)) or "none"
        raise UserError(f"--protocol {text}: nothing was evaluated under such a protocol; there are: {titles}")
    return fitting[0] if fitting else None


def yardstick_of(fit: FitRecord, evaluation: EvaluationRecord) -> Yardstick:
    """The yardstick of one evaluation."""
    return Yardstick(
        protocol=protocol_key(evaluation.protocol),
        data=_people(fit),
        title=protocol_title(evaluation.protocol),
        note=data_note(data_label(fit)),
        split=str(evaluation.protocol.get("split", "test")),
    )


def _is_usual(yardstick: Yardstick) -> bool:
    """Whether it is a plain search over all cameras: what is taken where nobody says otherwise."""
    parts = yardstick.title.split(" · ")
    return "indoor" not in parts and not any(part.startswith(("text ", "test-time")) for part in parts)


def _people(fit: FitRecord) -> str:
    data = fit.config.get("data", {})
    synthetic = data.get("synthetic")
    if isinstance(synthetic, Mapping):
        synthetic = {key: value for key, value in synthetic.items() if key != "seed"}
    return canonical_json([data_label(fit), data.get("dataset"), data.get("split"), synthetic])


def candidates(deployment: Deployment, yardstick: Yardstick | None) -> list[Candidate]:
    """Every model at every place in every runtime at batch 1; without a yardstick none has an accuracy."""
    found = []
    for timing in deployment.timings:
        for model in deployment.models:
            if _is_timing_of(timing, model):
                accuracy = None if yardstick is None else accuracy_of(deployment, model, timing, yardstick)
                found.append(Candidate(model, timing, accuracy))
    return found


def _is_timing_of(timing: Timing, model: Model) -> bool:
    """Whether the deployed graph of a model was timed there, one image at a time."""
    same = (timing.graph, tuple(timing.first.resolution)) == (model.graph, tuple(model.cost.resolution))
    return same and timing.first.batch == 1


def accuracy_of(deployment: Deployment, model: Model, timing: Timing, yardstick: Yardstick) -> Accuracy | None:
    """The accuracy that belongs to a timing of a model, by the rules above."""
    exact = timing.first.precision == EXACT
    found: list[tuple[FitRecord, EvaluationRecord]] = []
    for fit in model.fits:
        own = evaluations_under(deployment, fit, yardstick)
        fitting = [e for e in own if (e.artefact is None if exact else is_of(e, timing))]
        found += [(fit, evaluation) for evaluation in fitting[-1:]]
    return _mean(found) if found else None


def evaluations_under(deployment: Deployment, fit: FitRecord, yardstick: Yardstick) -> list[EvaluationRecord]:
    """A fit's plain evaluations under a yardstick, of the model itself and of files."""
    return [
        evaluation
        for evaluation in sorted(deployment.evaluations.get(fit.id, ()), key=lambda e: (e.ended, e.id))
        if reranking_label(evaluation.protocol) == PLAIN
        and "mAP" in evaluation.metrics
        and yardstick_of(fit, evaluation) == yardstick
    ]


def is_of(evaluation: EvaluationRecord, timing: Timing) -> bool:
    """Whether an evaluated file is of the kind that was timed."""
    file, record = evaluation.artefact, timing.first
    return (
        file is not None
        and file.graph == record.artefact
        and run_id(file.runtime) == run_id(record.runtime)
        and file.precision == record.precision
        and tuple(file.resolution) == tuple(record.resolution)
    )


def _mean(found: Sequence[tuple[FitRecord, EvaluationRecord]]) -> Accuracy:
    evaluations = [evaluation for _, evaluation in found]
    intervals = [e.intervals["mAP"] for e in evaluations if "mAP" in e.intervals]
    whole = len(intervals) == len(evaluations)
    files = [e.artefact for e in evaluations if e.artefact is not None]
    return Accuracy(
        mean_ap=float(np.mean([e.metrics["mAP"] for e in evaluations])),
        low=float(np.mean([i.low for i in intervals])) if whole else None,
        high=float(np.mean([i.high for i in intervals])) if whole else None,
        level=intervals[0].level if whole else None,
        fits=tuple(fit.id for fit, _ in found),
        seeds=tuple(fit.seed for fit, _ in found),
        cosine=float(np.mean([f.cosine for f in files])) if files else None,
        overlap10=float(np.mean([f.overlap10 for f in files])) if files else None,
        size_bytes=max((f.size_bytes for f in files), default=None),
        settings=tuple(setting for f in files[:1] for setting in f.candidates),
    )


def front(found: Iterable[Candidate], percentile: float = 50) -> list[Candidate]:
    """The evaluated candidates that no other one equals or beats in both latency and mAP, by rising latency.

    Give candidates of one place: others' latencies are not comparable.
    """
    scored = [(c, c.accuracy.mean_ap) for c in found if c.accuracy is not None]
    return [scored[n][0] for n in pareto_front([(c.timing.ms(percentile), score) for c, score in scored])]
