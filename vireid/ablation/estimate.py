"""What a study would take before it starts, from what records of this machine say of steps like its own."""

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from vireid.ablation.study import Study
from vireid.config import ExperimentConfig
from vireid.core.config import canonical_json
from vireid.core.environment import Environment
from vireid.core.messages import counted
from vireid.core.plan import Plan
from vireid.core.record_row import RecordRow
from vireid.core.records import EvaluationRecord, FitRecord, Record, RecordBase
from vireid.experiment.context import RunContext
from vireid.store import Store

_OF_A_STEP = ("batch_size", "identities", "accumulation", "precision", "channels_last", "activation_checkpointing")


@dataclass(frozen=True)
class FitEstimate:
    """One fit that is not on record; None where no record tells."""

    run: str
    steps: int | None  # of the optimiser; None where the recipe leaves the length of an epoch to the data
    step_seconds: float | None
    exact: bool  # whether the step is of the same model, weighting and batch, or of another at the same size and batch
    overhead: float  # seconds of rendering, decoding, dev evaluations and start beside the steps
    evaluation: float  # seconds of all protocols
    size: int  # bytes that its weights and tables take

    @property
    def seconds(self) -> float | None:
        """All of it."""
        if self.steps is None or self.step_seconds is None:
            return None
        return self.steps * self.step_seconds + self.overhead + self.evaluation


@dataclass(frozen=True)
class StudyEstimate:
    """A study's fits that are still to come; profiles, which take seconds each, are not counted."""

    fits: tuple[FitEstimate, ...]
    finished: int
    jobs: int

    @property
    def hours(self) -> float | None:
        """On this machine, ``jobs`` fits side by side; None where a fit's time is unknown."""
        seconds = [fit.seconds for fit in self.fits]
        known = [value for value in seconds if value is not None]
        return sum(known) / 3600 / self.jobs if len(known) == len(seconds) else None

    @property
    def bytes(self) -> int:
        """What the fits leave behind, images aside."""
        return sum(fit.size for fit in self.fits)


def estimate(
    plan: Plan,
    configs: Mapping[str, ExperimentConfig],
    store: Store,
    others: Iterable[Record],
    here: Environment,
    jobs: int,
) -> StudyEstimate:
    """Estimate the fits of a plan that are not in ``store``.

    Args:
        plan: the study's plan.
        configs: configuration of every fit by its id.
        store: where its records go; its own records tell first.
        others: further records that may tell, such as the committed ones.
        here: this process and machine: records of other machines, kernels or numbers of threads tell nothing.
        jobs: fits side by side. Records of fits that ran side by side hold what that costs them.
    """
    records = [record for record in (*store.records(telling(here)), *others) if _same_machine(record, here)]
    fits = [record for record in records if isinstance(record, FitRecord) and record.step_seconds]
    evaluations: dict[str, list[float]] = {}
    for record in records:
        if isinstance(record, EvaluationRecord):
            evaluations.setdefault(record.fit, []).append(_wall(record))
    planned = [
        _estimate(run.fit, RunContext(configs[run.fit], store), fits, evaluations)
        for run in plan.runs
        if store.get(run.fit) is None
    ]
    return StudyEstimate(tuple(planned), len(plan.runs) - len(planned), jobs)


def lines(study: Study, estimated: StudyEstimate) -> list[str]:
    """The estimate as it is printed."""
    fits, unknown = estimated.fits, [fit for fit in estimated.fits if fit.seconds is None]
    if not fits:
        return [f"{study.name}: every fit is on record ({estimated.finished})"]
    to_come = counted(len(fits), "fit")
    head = f"{study.name}: {to_come} to come, {estimated.finished} on record, {estimated.jobs} side by side"
    if unknown:
        why = (
            "the recipe leaves the steps of an epoch to the data (set recipe.steps_per_epoch)"
            if any(fit.steps is None for fit in unknown)
            else "no record of this machine, at these threads and instructions, has a step of their size"
        )
        remedy = "run one of its cells first (`--only factor=level --seeds N`): its record tells"
        return [head, f"{len(unknown)} of them unknown: {why}; {remedy}"]
    hours = estimated.hours or 0.0
    mean = statistics.fmean(fit.seconds or 0.0 for fit in fits)
    alike = sum(1 for fit in fits if not fit.exact)
    return [
        head,
        f"about {hours:.1f} h ({mean / 60:.1f} min a fit), profiles aside; {estimated.bytes / 1e6:.0f} MB of weights "
        "and tables",
        *([f"{alike} of them by steps of other models of the same size and batch"] if alike else []),
    ]


def _estimate(
    run: str, context: RunContext, fits: list[FitRecord], evaluations: Mapping[str, list[float]]
) -> FitEstimate:
    recipe, specification = context.config.recipe, context.ids.fit_specification()
    alike = [fit for fit in fits if _size_key(fit.config) == _size_key(specification)]
    same = [fit for fit in alike if _step_key(fit.config) == _step_key(specification)]
    told = same or alike
    steps = None
    if recipe.steps_per_epoch is not None:
        steps = recipe.total_epochs * -(-recipe.steps_per_epoch // recipe.accumulation)
    beside = [max(0.0, _wall(fit) - (fit.seconds or 0.0)) for fit in told]
    evaluated = [sum(evaluations[fit.id]) for fit in told if fit.id in evaluations]
    return FitEstimate(
        run=run,
        steps=steps,
        step_seconds=max((fit.step_time for fit in told if fit.step_time is not None), default=None),
        exact=bool(same),
        overhead=statistics.median(beside) if beside else 0.0,
        evaluation=statistics.median(evaluated) if evaluated else 0.0,
        size=max((_artefacts(context.store, fit.id) for fit in told), default=0),
    )


def _size_key(config: Mapping[str, object]) -> str:
    """What two steps must have in common to tell of each other: image size, batch, backbone, width, processes."""
    data, recipe, model = (dict(config.get(part) or {}) for part in ("data", "recipe", "model"))  # type: ignore[call-overload]
    network = [model.get(key) for key in ("backbone", "width", "last_stride")]
    size = [data.get("height"), data.get("width"), network, [recipe.get(key) for key in _OF_A_STEP]]
    return canonical_json([*size, config.get("processes")])


def _step_key(config: Mapping[str, object]) -> str:
    """What two steps must have in common to be of the same kind; what a model begins with decides nothing here."""
    model = {**dict(config.get("model") or {}), "pretrained": None}  # type: ignore[call-overload]
    return canonical_json([model, config.get("weighting"), _size_key(config)])


def telling(here: Environment) -> Callable[[RecordRow], bool]:
    """Which records may tell of fits of this process; whether of its kind of machine, the whole record says."""
    kernels = (here.device.get("kernel_isa"), here.accelerator, here.threads)

    def tells(row: RecordRow) -> bool:
        there = row.part("environment")
        told = ((there.get("device") or {}).get("kernel_isa"), there.get("accelerator"), there.get("threads"))
        return row.kind in ("fit", "evaluation") and told == kernels

    return tells


def _same_machine(record: RecordBase, here: Environment) -> bool:
    """Whether it was made by this machine's kind, with the same kernels, threads and accelerator."""
    there = record.environment
    kernels = (there.device.get("kernel_isa"), there.accelerator, there.threads)
    return there.machine == here.machine and kernels == (here.device.get("kernel_isa"), here.accelerator, here.threads)


def _wall(record: RecordBase) -> float:
    return (datetime.fromisoformat(record.ended) - datetime.fromisoformat(record.started)).total_seconds()


def _artefacts(store: Store, run: str) -> int:
    folder = store.directory(run)
    return sum(file.stat().st_size for file in folder.glob("*") if file.is_file()) if folder.is_dir() else 0
