"""Deployable candidates: a trained model as a file in a runtime on a machine, with its own accuracy.

A latency of precision fp32 has the accuracy of the model itself, as every fp32 runtime is held to its features. Any
other precision has the accuracy of an evaluation of such a file (same graph, runtime, precision and resolution), or
none: it is never borrowed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vireid.bundle.device.choice import pareto_front
from vireid.core.errors import UserError
from vireid.core.identity import run_id
from vireid.core.records import EvaluationRecord, FitRecord
from vireid.report.records.deployment import DeploymentView, Model
from vireid.report.records.keys import AccuracyKey, TimingKey
from vireid.report.records.timings import Timing

EXACT = "fp32"


@dataclass(frozen=True)
class Accuracy:
    """mAP under one key, a fraction; the mean over fits where there are several."""

    mean_ap: float
    low: float | None  # ends of the interval over query identities, each the mean over fits
    high: float | None
    fits: tuple[str, ...]
    seeds: tuple[int, ...]
    cosine: float | None = None  # of a file: to the model's own features
    overlap10: float | None = None
    size_bytes: int | None = None  # of the file

    @property
    def interval(self) -> str:
        """``"[22.0, 41.6]"`` in percent; empty where there is none."""
        return "" if self.low is None or self.high is None else f"[{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class Deployable:
    """One model as one file in one runtime, at batch 1; ``accuracy`` is None where it was not evaluated."""

    model: Model
    timing: Timing
    accuracy: Accuracy | None

    @property
    def label(self) -> str:
        """The model's name in tables."""
        return self.model.label

    @property
    def precision(self) -> str:
        """Such as fp32 or int8."""
        return self.timing.precision

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


def accuracy_keys(deployment: DeploymentView, timed: TimingKey | None = None) -> list[AccuracyKey]:
    """Every accuracy that candidates can be compared by: plain searches over all cameras first, most fits first.

    Args:
        deployment: the models and their evaluations.
        timed: count only models that were timed there, one image at a time.
    """
    timings = [timing for timing in deployment.timings if timing.key == timed]
    fits: dict[AccuracyKey, int] = {}
    for model in deployment.models:
        if timed is not None and not any(_is_timing_of(timing, model) for timing in timings):
            continue
        for fit in model.fits:
            plain = [e for e in deployment.evaluations.get(fit.id, ()) if e.card.is_plain]
            for key in {AccuracyKey.deployed(fit, evaluation) for evaluation in plain}:
                fits[key] = fits.get(key, 0) + 1
    return sorted(fits, key=lambda key: (not key.is_usual, -fits[key], key.title, key.people))


def find_accuracy_key(
    deployment: DeploymentView, text: str | None = None, timed: TimingKey | None = None
) -> AccuracyKey | None:
    """The first key, or the first whose title contains ``text``; None where nothing was evaluated.

    With ``timed``, of the models that were timed there: a store may hold more fits on other people than those.

    Raises:
        UserError: no title contains ``text``.
    """
    known = accuracy_keys(deployment, timed) or accuracy_keys(deployment)
    fitting = [key for key in known if text is None or text.lower() in key.title.lower()]
    if text is not None and not fitting:
        titles = "; ".join(dict.fromkeys(key.title for key in known)) or "none"
        raise UserError(f"--protocol {text}: nothing was evaluated under such a protocol; there are: {titles}")
    return fitting[0] if fitting else None


def candidates(deployment: DeploymentView, key: AccuracyKey | None) -> list[Deployable]:
    """Every model with every timing of its graph at batch 1; without a key none has an accuracy."""
    return [
        Deployable(model, timing, None if key is None else accuracy_of(deployment, model, timing, key))
        for timing in deployment.timings
        for model in deployment.models
        if _is_timing_of(timing, model)
    ]


def _is_timing_of(timing: Timing, model: Model) -> bool:
    """Whether the deployed graph of a model was timed there, one image at a time."""
    same = (timing.graph, tuple(timing.first.resolution)) == (model.graph, tuple(model.cost.resolution))
    return same and timing.batch == 1


def accuracy_of(deployment: DeploymentView, model: Model, timing: Timing, key: AccuracyKey) -> Accuracy | None:
    """The accuracy that belongs to a timing of a model, by the rules above."""
    exact = timing.precision == EXACT
    matching: list[tuple[FitRecord, EvaluationRecord]] = []
    for fit in model.fits:
        own = evaluations_under(deployment, fit, key)
        fitting = [e for e in own if (e.artefact is None if exact else is_of(e, timing))]
        matching += [(fit, evaluation) for evaluation in fitting[-1:]]
    return _mean(matching) if matching else None


def evaluations_under(deployment: DeploymentView, fit: FitRecord, key: AccuracyKey) -> list[EvaluationRecord]:
    """A fit's plain evaluations under a key, of the model itself and of files."""
    return [
        evaluation
        for evaluation in sorted(deployment.evaluations.get(fit.id, ()), key=lambda e: (e.ended, e.id))
        if evaluation.card.is_plain and "mAP" in evaluation.metrics and AccuracyKey.deployed(fit, evaluation) == key
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


def _mean(matching: Sequence[tuple[FitRecord, EvaluationRecord]]) -> Accuracy:
    evaluations = [evaluation for _, evaluation in matching]
    intervals = [e.intervals["mAP"] for e in evaluations if "mAP" in e.intervals]
    whole = len(intervals) == len(evaluations)
    files = [e.artefact for e in evaluations if e.artefact is not None]
    return Accuracy(
        mean_ap=float(np.mean([e.metrics["mAP"] for e in evaluations])),
        low=float(np.mean([i.low for i in intervals])) if whole else None,
        high=float(np.mean([i.high for i in intervals])) if whole else None,
        fits=tuple(fit.id for fit, _ in matching),
        seeds=tuple(fit.seed for fit, _ in matching),
        cosine=float(np.mean([f.cosine for f in files])) if files else None,
        overlap10=float(np.mean([f.overlap10 for f in files])) if files else None,
        size_bytes=max((f.size_bytes for f in files), default=None),
    )


def front(candidates: Iterable[Deployable], percentile: float = 50) -> list[Deployable]:
    """The evaluated candidates that no other one equals or beats in both latency and mAP, by rising latency.

    Give candidates of one ``TimingKey``: others' latencies are not comparable.
    """
    scored = [(c, c.accuracy.mean_ap) for c in candidates if c.accuracy is not None]
    return [scored[n][0] for n in pareto_front([(c.timing.ms(percentile), score) for c, score in scored])]
