"""The most accurate file within limits of latency, size and memory on one device."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from vireid.bundle.device.choice import overlap, rank
from vireid.core.records import LatencyRecord
from vireid.report.records.candidates import EXACT, Accuracy, Deployable, front
from vireid.report.records.keys import OWN_PROCESS, TimingKey

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
    front: tuple[Deployable, ...]
    best: Deployable | None
    runner_up: Deployable | None  # the next in accuracy that is not the same network at the same precision

    @property
    def shown(self) -> list[Deployable]:
        """The front with the choice and the runner-up, which may lie behind it, by rising latency."""
        chosen = [c for c in (self.best, self.runner_up) if c is not None]
        rows = [*self.front, *(c for c in chosen if c not in self.front)]
        return sorted(rows, key=lambda c: c.timing.ms(self.limits.percentile))

    @property
    def overlap(self) -> bool | None:
        """Whether the intervals of choice and runner-up overlap; None without both."""
        if self.best is None or self.runner_up is None:
            return None
        return overlapping(self.best.accuracy, self.runner_up.accuracy)


def overlapping(one: Accuracy | None, other: Accuracy | None) -> bool | None:
    """Whether two intervals share a point; None where one is missing."""
    if one is None or other is None:
        return None
    return overlap((one.low, one.high), (other.low, other.high))


def key_for(record: LatencyRecord, threads: int | None = None, names: Mapping[str, str] | None = None) -> TimingKey:
    """The key that a record stands for: its machine and mode of measuring, and its threads unless given."""
    own = TimingKey.of(record, names)
    return own if threads is None else replace(own, threads=threads)


def choose(candidates: Sequence[Deployable], key: TimingKey, limits: Limits) -> DeploymentChoice:
    """Take the highest mAP within the limits, of equal ones the faster, among the candidates that were timed there."""
    own = [c for c in candidates if c.timing.key.condition == key.condition]
    considered = [c for c in own if c.accuracy is not None]
    fitting = sorted((c for c in considered if not limits.exceeded(c)), key=lambda c: _rank(c, limits))
    best = fitting[0] if fitting else None
    others = [c for c in fitting if best is not None and _network(c) != _network(best)]
    return DeploymentChoice(
        key=key,
        limits=limits,
        considered=tuple(considered),
        unevaluated=tuple(c for c in own if c.accuracy is None),
        front=tuple(front(considered, limits.percentile)),
        best=best,
        runner_up=others[0] if others else None,
    )


def _rank(candidate: Deployable, limits: Limits) -> tuple[float, float]:
    assert candidate.accuracy is not None
    return rank(candidate.accuracy.mean_ap, candidate.timing.ms(limits.percentile))


def _network(candidate: Deployable) -> tuple[object, ...]:
    """What decides accuracy: other runtimes of one network in float32 differ in latency alone."""
    if candidate.precision == EXACT:
        return (*candidate.fits, EXACT)
    return (*candidate.fits, candidate.precision, candidate.timing.runtime)


def nearest_misses(choice: DeploymentChoice) -> str:
    """One sentence on the candidate that comes nearest to each limit."""
    parts = []
    for name, unit, limit, read in choice.limits.bounds:
        values = [(value, c) for c in choice.considered if (value := read(c)) is not None]
        if not values:
            parts.append(f"{name}: not measured of any candidate")
            continue
        value, candidate = min(values, key=lambda pair: pair[0])
        within = " (within it)" if value <= limit else ""
        parts.append(f"{name}: at least {value:.2f} {unit}, of {candidate}, against {limit:g} {unit}{within}")
    return f"Nothing evaluated fits all limits; {'; '.join(parts)}."


def sentence(choice: DeploymentChoice) -> str:
    """The choice in one sentence."""
    best = choice.best
    assert best is not None
    assert best.accuracy is not None
    percentile = choice.limits.percentile
    score = f"mAP {100 * best.accuracy.mean_ap:.1f} % {best.accuracy.interval}".rstrip()
    within = sum(not choice.limits.exceeded(candidate) for candidate in choice.considered)
    if len(best.accuracy.seeds) > 1:
        score += f" (mean over seeds {', '.join(map(str, best.accuracy.seeds))}; the commands take the first)"
    size = "" if best.size_bytes is None else f", {best.size_bytes / MB:.1f} MB"
    return (
        f"{best}: {score} at {best.timing.ms(percentile):.2f} ms (p{percentile:g}){size}, on {choice.key}, "
        f"is the most accurate of the {within} candidates within the limits, {len(choice.considered)} evaluated."
    )


def against_runner_up(choice: DeploymentChoice) -> str:
    """Whether the data show the choice to be better than the next one."""
    if choice.runner_up is None:
        return "No other network fits the limits, so there is no runner-up."
    second = choice.runner_up
    assert second.accuracy is not None
    second_best = f"Runner-up: {second}, mAP {100 * second.accuracy.mean_ap:.1f} % {second.accuracy.interval}".rstrip()
    if choice.overlap is None:
        return f"{second_best}; without intervals of both nothing shows whether the difference is real."
    if choice.overlap:
        return f"{second_best}; their intervals overlap: the data do not show that the choice is the more accurate one."
    return f"{second_best}; their intervals do not overlap: the data show the choice."


def commands(candidate: Deployable, folder: str = "deployed") -> list[str]:
    """What makes the artefact, ready to paste; the first fit of several."""
    run, name = candidate.fits[0], candidate.timing.runtime_name
    openvino = name.startswith("openvino")
    if candidate.precision == EXACT:
        own = [f"vireid export {run} --to {folder} --format openvino"] if openvino else []
        return [*own, f"vireid bundle {run} --to {folder}-bundle"]
    if candidate.precision == "int8":
        quantise = f"vireid quantise {run} --to {folder}"
        return [
            quantise,
            *([] if openvino else [f"vireid bundle --file {folder}/model-int8.onnx --to {folder}-bundle"]),
        ]
    return [f"vireid export {run} --to {folder}" + (" --format openvino" if openvino else "")]


def bundle_note(choice: DeploymentChoice) -> str:
    """What a bundle takes where the choice was timed in another runtime; empty where it was not."""
    best = choice.best
    assert best is not None
    if best.timing.runtime_name == "onnxruntime" or best.precision != EXACT:
        return ""
    same = [c for c in choice.considered if c.model == best.model and c.precision == EXACT]
    there = [c for c in same if c.timing.runtime_name == "onnxruntime"]
    if not there:
        return "A bundle runs on onnxruntime, where this network was not measured on this device."
    fastest = min(there, key=lambda c: c.timing.ms(choice.limits.percentile))
    over = "; ".join(choice.limits.exceeded(fastest))
    taken = f"{fastest.timing.ms(choice.limits.percentile):.2f} ms"
    cost = f"A bundle runs on onnxruntime, where this network takes {taken}"
    return f"{cost}, over the limits: {over}." if over else f"{cost}, within the limits."


def measuring(key: TimingKey, overrides: Sequence[str]) -> str:
    """The command that measures a configuration in the mode of a key; to be run on that machine."""
    mode, sustained = key.mode.removesuffix(", sustained"), key.mode.endswith(", sustained")
    limit = [] if mode in (OWN_PROCESS, "isolated") else [f'profile.limit="{mode}"']
    profile = ["profile=sustained"] if sustained else ["profile=weak"] if limit else ["profile=isolated"]
    if mode == OWN_PROCESS:
        profile = []
    return shlex.join(["vireid", "profile", *overrides, *profile, *limit, f"profile.threads=[{key.threads}]"])
