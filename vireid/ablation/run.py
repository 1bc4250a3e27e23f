"""Plan → records: every fit as a job of an engine, then costs and latencies with the machine to themselves.

Several drivers may work on one study in one store: a fit is done by whoever takes its lease, the others wait for it.
"""

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from vireid.ablation.clock import StudyClock
from vireid.ablation.engines.base import Engine, Outcome
from vireid.ablation.engines.local import LocalEngine
from vireid.ablation.live import Row, study_display
from vireid.ablation.plan import check_earlier_fits, in_waves
from vireid.ablation.study import Study
from vireid.config import ExperimentConfig
from vireid.core.config import canonical_json
from vireid.core.errors import UserError
from vireid.core.messages import printer
from vireid.core.plan import Plan, PlannedRun
from vireid.core.records import EvaluationRecord, FitRecord, read_record
from vireid.experiment.context import RunContext
from vireid.experiment.cost.profile import is_profiled
from vireid.experiment.data import check_same_evaluation_images, check_same_images
from vireid.experiment.deploy.evaluate import is_deployed
from vireid.experiment.identity import data_specification
from vireid.experiment.processes import check_processes
from vireid.experiment.progress import Display, Job, ProgressCallback, as_text
from vireid.experiment.records import check_precisions, failed_fit
from vireid.experiment.tracking import check_tracker
from vireid.store import Store, unwritable

if TYPE_CHECKING:
    from vireid.experiment.images import PreparedData

_POLL_SECONDS = 1.0  # between two looks at a lease that another process holds


def run_study(
    study: Study,
    plan: Plan,
    configs: Mapping[str, ExperimentConfig],
    store: Store,
    jobs: int | None = None,
    engine: Engine | None = None,
) -> dict[str, str]:
    """Run what is missing of a plan; finished records are reused, a broken fit takes up where it stopped.

    A failing run leaves its own record and does not stop the others. Latency is measured after all training, so that
    nothing runs beside it. Started again while it runs, also on another machine that sees the store, it takes over a
    part of the work; a fit is run once.

    Args:
        study: the study as read.
        plan: its plan.
        configs: the configuration of every fit by its id.
        store: where records go.
        jobs: processes that train at the same time, as many fits where each is of one; by default what the engine
            makes of the study's own number. On a CPU they share the cores evenly unless ``runtime.threads`` says
            otherwise: two fits of one thread each finish sooner than one after the other on two, for models too small
            to fill them.
        engine: what carries out the jobs; processes of this machine by default.

    Returns:
        What failed: "fit of cell, seed" -> reason.

    Raises:
        UserError: a teacher or start that some fit needs is neither in the store nor planned, this processor would
            emulate a precision, the engine lacks a machine, or another process runs the study with another plan.
    """
    engine = engine or LocalEngine()
    check_earlier_fits(configs, store)
    if (most := most_processes(configs.values())) > 1 and not engine.at_home:
        raise UserError(
            f"runtime.processes={most}: a job of this engine is one process on one device; run the study with "
            "--engine local on the machine that has several, or set runtime.processes=1"
        )
    for tracker in {
        config.runtime.tracker and config.runtime.tracker.name: config for config in configs.values()
    }.values():
        check_tracker(tracker)
    if engine.at_home:
        for fit, config in configs.items():
            if store.get(fit) is None:
                check_precisions(config)
                check_processes(config)
    text = plan.model_dump_json(indent=1) + "\n"
    with store.agreed(f"study-{plan.name}", store.study(plan.name) / "plan.json", text), engine:
        engine.check(["fit", *(["latency"] if study.measure.latency else [])])
        slots = jobs or engine.default_jobs(study.jobs)
        driver = _Driver(study, plan, configs, store, max(1, slots // most), engine)
        with study_display(printer(stderr=True), driver.rows()) as shown:
            driver.run(shown)
    return driver.failures


def most_processes(configs: Iterable[ExperimentConfig]) -> int:
    """Processes of the fit that has most: so many of the slots for jobs one fit takes."""
    return max((config.runtime.processes for config in configs), default=1)


def is_finished(run: RunContext, *, images_here: bool = True) -> bool:
    """Whether the fit and all its evaluations are there.

    Args:
        run: the configuration and its store.
        images_here: whether its images are on this machine, to be compared with those of the records.

    Raises:
        UserError: they are, but of other images than those on disk.
    """
    fit = run.store.get(run.ids.fit)
    if not isinstance(fit, FitRecord):
        return False
    evaluations = [run.store.get(run.ids.evaluation(protocol)) for protocol in run.config.evaluation.protocols]
    if images_here:
        check_same_images(fit, run.data)
    for record in evaluations:
        if not isinstance(record, EvaluationRecord):
            return False
        if images_here:
            check_same_evaluation_images(record, run.data)
    return True


class _Driver:
    """Carries out the jobs of a study, shows how far it is, and keeps what failed."""

    def __init__(
        self,
        study: Study,
        plan: Plan,
        configs: Mapping[str, ExperimentConfig],
        store: Store,
        jobs: int,
        engine: Engine,
    ) -> None:
        self._study, self._plan, self._store, self._jobs, self._engine = study, plan, store, jobs, engine
        self._images: dict[str, PreparedData] = {}
        self._runs = {fit: RunContext(config, store, images=self._images) for fit, config in configs.items()}
        self._waves = in_waves(configs)
        self._leases = {run.fit: store.lease(f"fit-{run.fit}") for run in plan.runs}
        self._waiting: dict[str, int] = {}  # fits that another process is at -> failed attempts before
        self._clock = self._count_missing()
        self._done = 0
        self.failures: dict[str, str] = {}

    def rows(self) -> list[Row]:
        """What a table has a row for."""
        numbered = enumerate(self._plan.runs, 1)
        return [Row(self._title(run), f"{number} {run.cell}", str(run.seed)) for number, run in numbered]

    def run(self, shown: Display) -> None:
        """Work through the plan."""
        self._shown = shown
        self._show_whole()
        try:
            if self._jobs > 1 and self._engine.at_home:
                self._prepare_images()
            for wave in self._waves:
                left = [run for run in self._plan.runs if run.fit in wave]
                while held := _in_parallel(self._fit, left, self._jobs, self._engine):
                    if len(held) == len(left):
                        time.sleep(_POLL_SECONDS)
                    left = held
            for planned in self._plan.runs:
                self._profile(planned)
        except BaseException:
            self._engine.stop()
            raise

    def _prepare_images(self) -> None:
        """Render and decode what unfinished fits need, each set of images once: parallel jobs would do it each."""
        first: dict[str, PlannedRun] = {}
        for planned in self._plan.runs:
            if self._store.get(planned.fit) is None:
                config = self._runs[planned.fit].config
                images = {**data_specification(config), "shuffle_identities": None}  # a matter of labels
                first.setdefault(canonical_json(images), planned)
        for planned in first.values():
            run = self._runs[planned.fit]
            self._carry_out(
                f"images of seed {planned.seed}", "", partial(self._run, run, ["data"], name="images"), advance=0
            )

    def _fit(self, planned: PlannedRun) -> bool:
        """Train, evaluate and explain a planned run where it is not finished; False where another process is at it."""
        lease, title = self._leases[planned.fit], self._title(planned)
        with _writing(self._store):
            if not lease.take():
                if planned.fit not in self._waiting:
                    self._waiting[planned.fit] = _failures(self._runs[planned.fit])
                    self._shown.say(f"{title}: {lease.owner()} is at it")
                return False
        try:
            self._carry_out(f"fit of {planned.cell}, seed {planned.seed}", title, partial(self._train, planned))
        finally:
            lease.release()
        return True

    def _train(self, planned: PlannedRun, progress: Job) -> str | None:
        explained = self._study.measure.explain and planned.seed == self._plan.seeds[0]
        steps = ["fit", "evaluate", *(["explain"] if explained else [])]
        config = self._engine.fitted(self._runs[planned.fit].config, self._jobs)
        if config.runtime.tracker is not None and config.runtime.title is None:
            title = f"{self._plan.name}/{planned.cell.replace('/', '-')}/seed {planned.seed}"
            config = config.model_copy(update={"runtime": config.runtime.model_copy(update={"title": title})})
        run = RunContext(config, self._store, images=self._images)
        if planned.fit in self._waiting and (reason := _failed_since(run, self._waiting[planned.fit])) is not None:
            return reason
        self._clock.begin_fit(planned.fit)
        try:
            return _train(run, steps, _timed(progress, self._clock, planned.fit), self._engine)
        finally:
            self._clock.end_fit(planned.fit)

    def _profile(self, planned: PlannedRun) -> None:
        """Count, time and evaluate as deployed what is not on record."""
        run, measure = self._runs[planned.fit], self._study.measure

        def work(progress: Job) -> str | None:
            self._clock.begin_profile()
            try:
                steps = (["cost"] if measure.cost else []) + (["latency"] if measure.latency else [])
                # Ids of latencies are of the machine that measures: whether it has done so, only it can tell.
                known_here = self._engine.at_home or not measure.latency
                if steps and known_here and is_profiled(run, latency=measure.latency):
                    steps = []
                if self._store.get(planned.fit) is not None and not is_deployed(run):
                    steps.append("deployed")
                return self._run(run, steps, progress, name="profile") if steps else None
            finally:
                self._clock.end_profile()

        with self._alone(f"profile-{socket.gethostname()}"):
            self._carry_out(f"profile of {planned.cell}, seed {planned.seed}", self._title(planned), work)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Hold the lease of that name; whoever holds it now is waited for."""
        lease = self._store.lease(name)
        with _writing(self._store):
            while not lease.take():
                time.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            lease.release()

    def _run(self, run: RunContext, steps: Sequence[str], progress: ProgressCallback, name: str) -> str | None:
        outcome = self._engine.run_job(run, steps, progress, name)
        return None if outcome.reason is None else _with_log(outcome)

    def _carry_out(self, what: str, title: str, work: Callable[[Job], str | None], advance: int = 1) -> None:
        """Run one job, note its failure, and leave a line behind."""
        job, start = self._shown.job(title), time.monotonic()
        reason = work(job)
        job.close(failed=reason is not None)
        if reason is not None:
            self.failures[what] = reason
        took = time.monotonic() - start
        end = "failed" if reason is not None else f"done in {as_text(took)}" if took >= 1 else "on record"
        self._done += advance
        self._show_whole()
        self._shown.say(f"{what}: {end}")

    def _show_whole(self) -> None:
        self._shown.overall(self._plan.name, self._done, 2 * len(self._plan.runs), self._clock.left)

    def _title(self, planned: PlannedRun) -> str:
        """What lines call a run: its number among all, and its cell."""
        number, runs = self._plan.runs.index(planned) + 1, self._plan.runs
        return f"cell {number} of {len(runs)} ({planned.cell}, seed {planned.seed})"

    def _count_missing(self) -> StudyClock:
        """Counts what is not on record yet; what is takes no time."""
        runs, measure = self._plan.runs, self._study.measure
        fits = dict.fromkeys(run.fit for run in runs if self._store.get(run.fit) is None)
        graphs = {run.cost for run in runs if not is_profiled(self._runs[run.fit], latency=measure.latency)}
        return StudyClock(list(fits), len(graphs) if measure.cost or measure.latency else 0, self._jobs)


def _timed(progress: Job, clock: StudyClock, fit: str) -> ProgressCallback:
    """Progress that tells the clock too how much of a fit is trained."""

    def report(phase: str, done: int, total: int, note: str = "") -> None:
        if phase == "train" and total:
            clock.train(fit, done / total)
        progress(phase, done, total, note)

    return report


def _in_parallel(
    work: Callable[[PlannedRun], bool], runs: Sequence[PlannedRun], jobs: int, engine: Engine
) -> list[PlannedRun]:
    """Work through the runs in order, ``jobs`` at a time; whatever interrupts starts no further one.

    Returns:
        Those for which ``work`` said that it had not been done.
    """
    if jobs == 1:
        return [run for run in runs if not work(run)]
    with ThreadPoolExecutor(jobs) as pool:  # threads: each only waits for a process of its own
        futures = [pool.submit(work, run) for run in runs]
        try:
            return [run for run, future in zip(runs, futures, strict=True) if not future.result()]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            engine.stop()
            raise


@contextmanager
def _writing(store: Store) -> Iterator[None]:
    """Say what can be done where leases cannot be written."""
    try:
        yield
    except OSError as error:
        raise unwritable(store.root / "leases", error) from error


def _train(run: RunContext, steps: list[str], progress: ProgressCallback, engine: Engine) -> str | None:
    """Bring a planned run to its records; None, or why it failed."""
    try:
        explained = "explain" not in steps or (run.directory / "explain" / "retrieval.json").is_file()
        if explained and is_finished(run, images_here=engine.at_home):
            return None
    except UserError as error:
        return str(error)
    before = _failures(run)
    outcome = engine.run_job(run, steps, progress)
    if outcome.reason is None:
        return None
    if run.store.get(run.ids.fit) is None and _failures(run) == before:
        run.store.put(failed_fit(run, outcome.reason))  # killed before it could speak for itself
    return _with_log(outcome)


def _failures(run: RunContext) -> int:
    return len(list(run.store.runs.glob(f"{run.ids.fit}.failed-*.json")))


def _failed_since(run: RunContext, before: int) -> str | None:
    """Why the fit failed in another process, if it did after ``before`` attempts."""
    if run.store.get(run.ids.fit) is not None or _failures(run) <= before:
        return None
    path = run.store.runs / f"{run.ids.fit}.failed-{_failures(run)}.json"
    return read_record(path.read_bytes(), str(path)).reason


def _with_log(outcome: Outcome) -> str:
    assert outcome.reason is not None
    return outcome.reason if str(outcome.log) in outcome.reason else f"{outcome.reason} (log: {outcome.log})"
