"""Plan → records: every fit in a process of its own, then costs and latencies with the machine to themselves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from vireid.ablation.check import is_finished
from vireid.ablation.clock import StudyClock
from vireid.ablation.engines.local import Outcome, run_job
from vireid.ablation.order import check_earlier_fits, in_waves
from vireid.ablation.study import Study
from vireid.config import ExperimentConfig
from vireid.core.config import canonical_json
from vireid.core.errors import UserError
from vireid.core.messages import printer
from vireid.core.plan import Plan, PlannedRun
from vireid.experiment.cost.profile import is_profiled
from vireid.experiment.deploy.evaluate import is_deployed
from vireid.experiment.device import check_precisions
from vireid.experiment.identity import data_specification, fit_id
from vireid.experiment.progress import Job, ProgressCallback, display, in_words
from vireid.experiment.records import failed_fit
from vireid.store import Store, write_atomically


def run_study(
    study: Study, plan: Plan, configs: Mapping[str, ExperimentConfig], store: Store, jobs: int = 1
) -> dict[str, str]:
    """Run what is missing of a plan; finished records are reused, a broken fit takes up where it stopped.

    A failing run leaves its own record and does not stop the others. Latency is measured after all training, so that
    nothing runs beside it.

    Args:
        study: the study as read.
        plan: its plan.
        configs: the configuration of every fit by its id.
        store: where records go.
        jobs: fits at the same time. On a CPU they share the cores evenly unless ``runtime.threads`` says otherwise: two
            fits of one thread each finish sooner than one after the other on two, for models too small to fill them.

    Returns:
        What failed: "fit of cell, seed" -> reason.

    Raises:
        UserError: a teacher or start that some fit needs is neither in the store nor planned, or this processor would
            emulate a precision.
    """
    check_earlier_fits(configs, store)
    for config in configs.values():
        if store.get(fit_id(config)) is None:
            check_precisions(config)
    failures: dict[str, str] = {}
    clock = _clock(study, plan, configs, store, jobs)
    with store.lock(f"study-{plan.name}"):
        write_atomically(store.study(plan.name) / "plan.json", plan.model_dump_json(indent=1) + "\n")
        with display(printer(stderr=True)) as shown:
            done, total, names = 0, 2 * len(plan.runs), _names(plan)
            shown.overall(plan.name, done, total, clock.left)

            def carry_out(what: str, title: str, job: Callable[[Job], str | None], advance: int = 1) -> None:
                """Run one job, note its failure, and leave a line behind."""
                nonlocal done
                detail, start = shown.job(title), time.monotonic()
                reason = job(detail)
                detail.close()
                if reason is not None:
                    failures[what] = reason
                took = time.monotonic() - start
                end = "failed" if reason is not None else f"done in {in_words(took)}" if took >= 1 else "on record"
                done += advance
                shown.overall(plan.name, done, total, clock.left)
                shown.say(f"{what}: {end}")

            def fit(run: PlannedRun) -> None:
                steps = ["fit", "evaluate", *(["explain"] if _is_explained(study, plan, run) else [])]
                config = _share_cores(configs[run.fit], jobs)

                def train(progress: Job) -> str | None:
                    clock.begin_fit(run.fit)
                    try:
                        return _train(config, steps, store, run, _timed(progress, clock, run.fit))
                    finally:
                        clock.end_fit(run.fit)

                carry_out(f"fit of {run.cell}, seed {run.seed}", names[run.cell, run.seed], train)

            def profile(run: PlannedRun) -> None:
                def measure(progress: Job) -> str | None:
                    clock.begin_profile()
                    try:
                        return _measure(configs[run.fit], study, store, run, progress)
                    finally:
                        clock.end_profile()

                carry_out(f"profile of {run.cell}, seed {run.seed}", names[run.cell, run.seed], measure)

            if jobs > 1:
                for run in _first_of_each_data(plan, configs, store):
                    bring = partial(_bring_images, configs[run.fit], store, run)
                    carry_out(f"images of seed {run.seed}", "", bring, advance=0)
            for wave in in_waves(configs):
                _in_parallel(fit, [run for run in plan.runs if run.fit in wave], jobs)
            for run in plan.runs:
                profile(run)
    return failures


def _clock(study: Study, plan: Plan, configs: Mapping[str, ExperimentConfig], store: Store, jobs: int) -> StudyClock:
    """Counts what is not on record yet; what is takes no time."""
    fits = dict.fromkeys(run.fit for run in plan.runs if store.get(run.fit) is None)
    graphs = {run.cost for run in plan.runs if not is_profiled(configs[run.fit], store, latency=study.measure.latency)}
    return StudyClock(list(fits), len(graphs) if study.measure.cost or study.measure.latency else 0, jobs)


def _names(plan: Plan) -> dict[tuple[str, int], str]:
    """What lines call a run: its number among all, and its cell."""
    return {
        (run.cell, run.seed): f"cell {number} of {len(plan.runs)} ({run.cell}, seed {run.seed})"
        for number, run in enumerate(plan.runs, start=1)
    }


def _timed(progress: Job, clock: StudyClock, fit: str) -> ProgressCallback:
    """Progress that tells the clock too how much of a fit is trained."""

    def report(phase: str, done: int, total: int, note: str = "") -> None:
        if phase == "train" and total:
            clock.train(fit, done / total)
        progress(phase, done, total, note)

    return report


def _in_parallel(work: Callable[[PlannedRun], None], runs: Sequence[PlannedRun], jobs: int) -> None:
    """Work through the runs in order, ``jobs`` at a time; whatever interrupts starts no further one."""
    if jobs == 1:
        for run in runs:
            work(run)
        return
    with ThreadPoolExecutor(jobs) as pool:  # threads: each only waits for a process of its own
        futures = [pool.submit(work, run) for run in runs]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _share_cores(config: ExperimentConfig, jobs: int) -> ExperimentConfig:
    if jobs == 1 or config.runtime.threads is not None:
        return config
    threads = max(1, (os.cpu_count() or 1) // jobs)
    return config.model_copy(update={"runtime": config.runtime.model_copy(update={"threads": threads})})


def _first_of_each_data(plan: Plan, configs: Mapping[str, ExperimentConfig], store: Store) -> list[PlannedRun]:
    """One unfinished run per set of images: jobs that start together would each render the same."""
    found: dict[str, PlannedRun] = {}
    for run in plan.runs:
        if store.get(run.fit) is None:
            images = {**data_specification(configs[run.fit]), "shuffle_identities": None}  # a matter of labels
            found.setdefault(canonical_json(images), run)
    return list(found.values())


def _bring_images(config: ExperimentConfig, store: Store, run: PlannedRun, progress: ProgressCallback) -> str | None:
    outcome = run_job(config, ["data"], store, run.fit, progress, name="images")
    return None if outcome.reason is None else _with_log(outcome)


def _is_explained(study: Study, plan: Plan, run: PlannedRun) -> bool:
    return study.measure.explain and run.seed == plan.seeds[0]


def _train(
    config: ExperimentConfig, steps: list[str], store: Store, run: PlannedRun, progress: ProgressCallback
) -> str | None:
    """Bring a planned run to its records; None, or why it failed."""
    try:
        explained = "explain" not in steps or (store.directory(run.fit) / "explain" / "retrieval.json").is_file()
        if explained and is_finished(config, store):
            return None
    except UserError as error:
        return str(error)
    before = _failures(store, run)
    outcome = run_job(config, steps, store, run.fit, progress)
    if outcome.reason is None:
        return None
    if store.get(run.fit) is None and _failures(store, run) == before:
        store.put(failed_fit(config, outcome.reason))  # killed before it could speak for itself
    return _with_log(outcome)


def _failures(store: Store, run: PlannedRun) -> int:
    return len(list(store.runs.glob(f"{run.fit}.failed-*.json")))


def _measure(
    config: ExperimentConfig, study: Study, store: Store, run: PlannedRun, progress: ProgressCallback
) -> str | None:
    steps = (["cost"] if study.measure.cost else []) + (["latency"] if study.measure.latency else [])
    if steps and is_profiled(config, store, latency=study.measure.latency):
        steps = []
    if store.get(run.fit) is not None and not is_deployed(config, store):
        steps.append("deployed")
    if not steps:
        return None
    outcome = run_job(config, steps, store, run.fit, progress, name="profile")
    return None if outcome.reason is None else _with_log(outcome)


def _with_log(outcome: Outcome) -> str:
    assert outcome.reason is not None
    return outcome.reason if str(outcome.log) in outcome.reason else f"{outcome.reason} (log: {outcome.log})"
