"""The most accurate file within limits of latency, size and memory on one device."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vireid.bundle.device.choice import overlap, pareto_front, rank
from vireid.core.errors import UserError
from vireid.core.messages import counted
from vireid.core.processor import INTEGER_PRECISIONS
from vireid.core.records import EvaluationRecord, FitRecord, LatencyRecord
from vireid.report.records.deployment import DeploymentView, Model
from vireid.report.records.evaluated import (
    NOT_RECORDED,
    counts_for,
    evaluations_under,
    kernels_of,
    measured_elsewhere,
    query_file_bytes,
)
from vireid.report.records.keys import AccuracyKey, TimingKey, grouped
from vireid.report.records.people import on_same_people, people_of, render_seeds
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
    kernels: str = ""  # that an integer file was evaluated with, "not recorded" of older records; empty of others
    graph: str = "model"  # of its files, the one that queries go through

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
    measured_on: tuple[str, ...] = ()  # kernels, other than the machine's, that an integer file was evaluated with

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

    @property
    def commands(self) -> list[str]:
        """What makes the artefact, ready to paste; the first fit of several."""
        run, name = self.fits[0], self.timing.runtime_name
        openvino = name.startswith("openvino")
        if self.precision == EXACT:
            export = [f"vireid export {run} --to deployed --format openvino"] if openvino else []
            return [*export, f"vireid bundle {run} --to deployed-bundle"]
        if self.precision == "int8":
            quantise, graph = f"vireid quantise {run} --to deployed", self.accuracy.graph if self.accuracy else "model"
            if name.startswith("executorch"):  # a bundle computes with ONNX Runtime alone
                return [f"{quantise} --runtime executorch"]
            bundle = f"vireid bundle --file deployed/{graph}-int8.onnx --to deployed-bundle"
            return [quantise, *([] if openvino else [bundle])]
        return [f"vireid export {run} --to deployed" + (" --format openvino" if openvino else "")]

    @property
    def network(self) -> tuple[object, ...]:
        """What decides accuracy: other runtimes of one network in float32 differ in latency alone."""
        if self.precision == EXACT:
            return (*self.fits, EXACT)
        return (*self.fits, self.precision, self.timing.runtime)

    @property
    def elsewhere(self) -> str:
        """On which kernels it was evaluated instead of this machine's; empty where it was not."""
        if not self.measured_on:
            return ""
        return f"measured on {' and '.join(self.measured_on)}, not on {kernels_of(self.timing)}"

    def __str__(self) -> str:
        return f"{self.label}, {self.timing.runtime}"


def accuracy_keys(deployment: DeploymentView, timed: TimingKey | None = None) -> list[AccuracyKey]:
    """Every accuracy that candidates can be compared by: plain searches over all cameras first, most fits first.

    Args:
        deployment: the models and their evaluations.
        timed: count only models that were timed there, one image at a time.
    """
    there = {_network_of(timing) for timing in deployment.timings if timing.key == timed and timing.batch == 1}
    fits: dict[AccuracyKey, int] = {}
    for model in deployment.models:
        if timed is not None and (model.graph, tuple(model.cost.resolution)) not in there:
            continue
        for fit in model.fits:
            for key in {key for _, key in deployment.plain_evaluations(fit)}:
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


def candidates(deployment: DeploymentView, key: AccuracyKey | None, timed: TimingKey | None = None) -> list[Deployable]:
    """Every model with every timing of its graph at batch 1; without a key none has an accuracy.

    With ``timed``, those alone that were timed there: the evaluations of others are not read.
    """
    return [
        Deployable(
            model,
            timing,
            None if key is None else accuracy_of(deployment, model, timing, key),
            () if key is None else measured_elsewhere(deployment, model, timing, key),
        )
        for timing, model in timed_models(deployment)
        if timed is None or timing.key.condition == timed.condition
    ]


def timed_models(deployment: DeploymentView) -> Iterator[tuple[Timing, Model]]:
    """Every timing of one image at a time, with each model whose deployed graph it is of."""
    models = grouped(deployment.models, lambda model: (model.graph, tuple(model.cost.resolution)))
    for timing in deployment.timings:
        if timing.batch == 1:
            for model in models.get(_network_of(timing), ()):
                yield timing, model


def _network_of(timing: Timing) -> tuple[str, tuple[int, ...]]:
    return timing.graph, tuple(timing.first.resolution)


def accuracy_of(deployment: DeploymentView, model: Model, timing: Timing, key: AccuracyKey) -> Accuracy | None:
    """The accuracy that belongs to a timing of a model, by the rules above."""
    exact = timing.precision == EXACT
    matching: list[tuple[FitRecord, EvaluationRecord]] = []
    for fit in model.fits:
        evaluations = evaluations_under(deployment, fit, key)
        fitting = [e for e in evaluations if (e.artefact is None if exact else counts_for(e, timing))]
        matching += [(fit, evaluation) for evaluation in fitting[-1:]]
    return _mean(matching) if matching else None


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
        size_bytes=query_file_bytes(files),
        kernels=" and ".join(sorted({f.kernels or NOT_RECORDED for f in files if f.precision in INTEGER_PRECISIONS})),
        graph="model-infrared" if any(p.startswith("model-infrared/") for f in files for p in f.parts) else "model",
    )


def front(candidates: Iterable[Deployable], percentile: float = 50) -> list[Deployable]:
    """The evaluated candidates that no other one equals or beats in both latency and mAP, by rising latency.

    Give candidates of one ``TimingKey``: others' latencies are not comparable.
    """
    scored = [(c, c.accuracy.mean_ap) for c in candidates if c.accuracy is not None]
    return [scored[n][0] for n in pareto_front([(c.timing.ms(percentile), score) for c, score in scored])]


MB = 1e6


@dataclass(frozen=True)
class Limits:
    """What an artefact may take; None: anything. ``percentile`` says which latency is held to ``ms``."""

    ms: float | None = None
    mb: float | None = None  # the artefact's file on disk
    rss_mb: float | None = None  # highest resident memory of the process
    percentile: float = 50

    @property
    def bounds(self) -> list[tuple[str, str, float, Callable[[Deployable], float | None]]]:
        """Each limit that was given: what it is of, its unit, the limit, and a candidate's value."""
        every = [
            (f"latency (p{self.percentile:g})", "ms", self.ms, lambda c: c.timing.ms(self.percentile)),
            ("file", "MB", self.mb, lambda c: None if c.size_bytes is None else c.size_bytes / MB),
            ("memory", "MB", self.rss_mb, lambda c: None if c.timing.rss_bytes is None else c.timing.rss_bytes / MB),
        ]
        return [(name, unit, limit, read) for name, unit, limit, read in every if limit is not None]

    def exceeded(self, candidate: Deployable) -> list[str]:
        """What a candidate takes too much of; a value that was not measured is not within its limit."""
        excess = []
        for name, unit, limit, read in self.bounds:
            value = read(candidate)
            if value is None:
                excess.append(f"{name} not measured")
            elif value > limit:
                excess.append(f"{name} {value:.2f} {unit} > {limit:g}")
        return excess


@dataclass(frozen=True)
class DeploymentChoice:
    """What was considered on one device, and what came of it."""

    key: TimingKey
    limits: Limits
    considered: tuple[Deployable, ...]  # with an accuracy
    unevaluated: tuple[Deployable, ...]
    elsewhere: tuple[Deployable, ...]  # evaluated on other people, and therefore not compared
    front: tuple[Deployable, ...]
    best: Deployable | None
    runner_up: Deployable | None  # the next in accuracy that is not the same network at the same precision

    @property
    def shown(self) -> list[Deployable]:
        """The choice, the runner-up, then the rest of the front by rising latency, what exceeds the limits last."""
        chosen = [c for c in (self.best, self.runner_up) if c is not None]
        others = [c for c in self.front if c not in chosen]
        return [*chosen, *sorted(others, key=lambda c: (bool(self.limits.exceeded(c)), self.front.index(c)))]

    @property
    def overlap(self) -> bool | None:
        """Whether the intervals of choice and runner-up overlap; None without both."""
        if self.best is None or self.runner_up is None:
            return None
        return overlapping(self.best.accuracy, self.runner_up.accuracy)

    @property
    def people_note(self) -> str:
        """Who was left out for other people, and where those of the compared differ; empty where neither is so."""
        notes = []
        if self.elsewhere:
            models = list(dict.fromkeys(c.label for c in self.elsewhere))
            shown = "; ".join(models[:4]) + (f"; and {len(models) - 4} more" if len(models) > 4 else "")
            notes.append(
                f"Left out, as evaluated on other people (render seeds {render_seeds(self.elsewhere)}, not "
                f"{render_seeds(self.considered)}): {shown}. Name their study with --study to choose among them."
            )
        if len({people_of(c) for c in self.considered}) > 1:
            notes.append(
                "Not every model was evaluated on all of the same people: seeds are missing of some, so that their "
                "scores are means over fewer."
            )
        return " ".join(notes)

    @property
    def nearest_misses(self) -> str:
        """One sentence on the candidate that comes nearest to each limit."""
        remarks = []
        for name, unit, limit, read in self.limits.bounds:
            values = [(value, c) for c in self.considered if (value := read(c)) is not None]
            if not values:
                remarks.append(f"{name}: not measured of any candidate")
                continue
            value, candidate = min(values, key=lambda pair: pair[0])
            within = " (within it)" if value <= limit else ""
            remarks.append(f"{name}: at least {value:.2f} {unit}, of {candidate}, against {limit:g} {unit}{within}")
        return f"Nothing evaluated fits all limits; {'; '.join(remarks)}."

    @property
    def sentence(self) -> str:
        """The choice in one sentence."""
        best = self.best
        assert best is not None
        assert best.accuracy is not None
        percentile = self.limits.percentile
        score = f"mAP {100 * best.accuracy.mean_ap:.1f} % {best.accuracy.interval}".rstrip()
        within = sum(not self.limits.exceeded(candidate) for candidate in self.considered)
        if len(best.accuracy.seeds) > 1:
            score += f" (mean over seeds {', '.join(map(str, best.accuracy.seeds))}; the commands take the first)"
        size = "" if best.size_bytes is None else f", {best.size_bytes / MB:.1f} MB"
        return (
            f"{best}: {score} at {best.timing.ms(percentile):.2f} ms (p{percentile:g}){size}, on {self.key}, "
            f"is the most accurate of the {counted(within, 'candidate')} within the limits, {len(self.considered)} "
            "evaluated."
        )

    @property
    def against_runner_up(self) -> str:
        """Whether the data show the choice to be better than the next one."""
        if self.runner_up is None:
            return "No other network fits the limits, so there is no runner-up."
        second, accuracy = self.runner_up, self.runner_up.accuracy
        assert accuracy is not None
        second_best = f"Runner-up: {second}, mAP {100 * accuracy.mean_ap:.1f} % {accuracy.interval}".rstrip()
        if self.overlap is None:
            return f"{second_best}; without intervals of both nothing shows whether the difference is real."
        if self.overlap:
            overlap = "their intervals overlap: the data do not show that the choice is the more accurate one"
            return f"{second_best}; {overlap}."
        return f"{second_best}; their intervals do not overlap: the data show the choice."

    @property
    def bundle_note(self) -> str:
        """What a bundle takes where the choice was timed in another runtime; empty where it was not."""
        best = self.best
        assert best is not None
        if best.timing.runtime_name == "onnxruntime" or best.precision != EXACT:
            return ""
        same = [c for c in self.considered if c.model == best.model and c.precision == EXACT]
        there = [c for c in same if c.timing.runtime_name == "onnxruntime"]
        if not there:
            return "A bundle runs on onnxruntime, where this network was not measured on this device."
        fastest = min(there, key=lambda c: c.timing.ms(self.limits.percentile))
        over = "; ".join(self.limits.exceeded(fastest))
        time = f"{fastest.timing.ms(self.limits.percentile):.2f} ms"
        cost = f"A bundle runs on onnxruntime, where this network takes {time}"
        return f"{cost}, over the limits: {over}." if over else f"{cost}, within the limits."


def overlapping(one: Accuracy | None, other: Accuracy | None) -> bool | None:
    """Whether two intervals share a point; None where one is missing."""
    if one is None or other is None:
        return None
    return overlap((one.low, one.high), (other.low, other.high))


def key_for(record: LatencyRecord, threads: int | None = None, names: Mapping[str, str] | None = None) -> TimingKey:
    """The key that a record stands for: its machine and mode of measuring, and its threads unless given."""
    key = TimingKey.of(record, names)
    return key if threads is None else replace(key, threads=threads)


def choose(candidates: Sequence[Deployable], key: TimingKey, limits: Limits) -> DeploymentChoice:
    """Take the highest mAP within the limits, of equal ones the faster, among the candidates that were timed there.

    Only candidates whose accuracy is of the same people are compared; of several such groups the largest is.
    """
    timed = [c for c in candidates if c.timing.key.condition == key.condition]
    considered, elsewhere = on_same_people(c for c in timed if c.accuracy is not None)
    scored = [(c, c.accuracy) for c in considered if c.accuracy is not None]
    fitting = [(c, accuracy) for c, accuracy in scored if not limits.exceeded(c)]
    fitting.sort(key=lambda pair: rank(pair[1].mean_ap, pair[0].timing.ms(limits.percentile)))
    best = fitting[0][0] if fitting else None
    others = [c for c, _ in fitting if best is not None and c.network != best.network]
    return DeploymentChoice(
        key=key,
        limits=limits,
        considered=tuple(considered),
        unevaluated=tuple(c for c in timed if c.accuracy is None),
        elsewhere=tuple(elsewhere),
        front=tuple(front(considered, limits.percentile)),
        best=best,
        runner_up=others[0] if others else None,
    )
