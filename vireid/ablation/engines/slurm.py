"""The Slurm engine: each job is a batch job of a cluster whose nodes see the store, submitted through submitit.

On its node a batch job has the local engine run the steps, in the store itself. submitit writes the script, keeps what
became of the job, and puts one that reaches its time limit back into the queue. Those that the cluster puts back
(preempted, lost with their node) run again likewise: a fit takes up from its checkpoint.
"""

import json
import math
import os
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from vireid.ablation.engines.base import EngineConfig, Outcome, StoppedError, seldom
from vireid.ablation.engines.local import LocalEngine, with_threads
from vireid.config import ExperimentConfig
from vireid.core import child
from vireid.core.config import Strict, parse
from vireid.core.errors import UserError, optional_module
from vireid.experiment.context import RunContext
from vireid.experiment.progress import ProgressCallback, to_pipe
from vireid.store import Store, unwritable

_COMMANDS = ("sbatch", "srun", "squeue", "sacct", "scancel")
_ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
    *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"),
}
_CPUS = 4  # of a job that nothing names a number for
_POLL_SECONDS = 1.0  # between two looks at a job's files
_LOOK_SECONDS = 15.0  # between two questions to Slurm, each about all jobs
_SETTLED_SECONDS = 90.0  # from an end without a result to believing in it: shared files may be seen a minute late
_CALL_SECONDS = 60.0
_QUEUE = "wait in the queue"


class SlurmRequest(Strict):
    """What each job asks for; what is None is left to the cluster."""

    hours: float = Field(default=4.0, gt=0)
    """Time limit, after which a job goes back into the queue, three times."""
    cpus: int | None = Field(default=None, ge=1)
    gpus: int = Field(default=0, ge=0)
    memory_gib: float | None = Field(default=None, gt=0)
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    gres: str | None = None
    nodelist: str | None = None
    exclude: str | None = None


class SlurmConfig(EngineConfig):
    """What jobs ask of the cluster that this machine belongs to."""

    name: Literal["slurm"] = "slurm"
    request: SlurmRequest = SlurmRequest()


class SlurmEngine:
    """Jobs in the queue of a cluster, from a machine that may submit to it."""

    Config: ClassVar[type[EngineConfig]] = SlurmConfig
    version: ClassVar[str] = "1"
    at_home = False

    def __init__(self, config: SlurmConfig) -> None:
        self.config = config
        self._submitit = optional_module("submitit", "slurm")
        self._stopped = threading.Event()
        self._looking = threading.Lock()
        self._under_way: set[str] = set()
        self._states: dict[str, str] = {}
        self._looked = -math.inf

    def __enter__(self) -> Self:
        """See that Slurm's commands are here and that it keeps account of its jobs.

        Raises:
            UserError: one is not, or it does not.
        """
        if absent := [command for command in _COMMANDS if shutil.which(command) is None]:
            raise UserError(
                f"--engine slurm: {', '.join(absent)} not found on this machine: start the study on a login node of "
                "the cluster, with Slurm's commands on PATH (often `module load slurm`)"
            )
        if (asked := _call("sacct", "--jobs=1")).returncode != 0:
            raise UserError(
                f"--engine slurm: `sacct` cannot say how jobs end ({_first_line(asked.stderr)}): this engine needs "
                "Slurm's accounting; without it start the same study in several jobs with --store in a shared folder"
            )
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is left: a job that nobody waits for any longer is cancelled at once."""

    def default_jobs(self, wanted: int) -> int:
        """As many in the queue as the study says."""
        return wanted

    def check(self, steps: Collection[str]) -> None:
        """Whether a node meets the requests, Slurm says when it is asked."""

    def fitted(self, config: ExperimentConfig, jobs: int) -> ExperimentConfig:  # noqa: ARG002
        """With the processors of its job as threads, however many jobs there are."""
        return with_threads(config, self.config.request.cpus or _CPUS)

    def stop(self) -> None:
        """Have every job cancelled by whoever waits for it."""
        self._stopped.set()

    def run_job(self, run: RunContext, steps: Sequence[str], progress: ProgressCallback, name: str = "job") -> Outcome:
        """Run the steps on a node, one with nothing else on it where a latency is measured.

        Raises:
            StoppedError: the engine was stopped meanwhile.
            UserError: Slurm refuses the job, or the store cannot be written.
        """
        alone = "latency" in steps
        config = run.config if alone else self.fitted(run.config, 1)
        work = _Work(run.store.root.absolute(), config.model_dump(mode="json"), tuple(steps), name)
        folder = run.directory.absolute() / f"{name}-slurm"
        if "fit" in steps:  # whoever is at a fit has its lease: what is left there is of a driver that was killed
            _cancel(_unfinished(folder))
        job = self._submit(work, folder, f"vireid-{run.ids.fit}-{name}", config.runtime.threads, alone=alone)
        with self._looking:
            self._under_way.add(job.job_id)
        try:
            return self._wait(job, progress)
        except BaseException:
            _cancel([job.job_id])
            raise
        finally:
            with self._looking:
                self._under_way.discard(job.job_id)

    def _submit(self, work: "_Work", folder: Path, name: str, threads: int | None, *, alone: bool) -> Any:
        asked = self.config.request
        given = asked.model_dump(exclude={"hours", "cpus", "gpus", "memory_gib"}, exclude_none=True)
        executor = self._submitit.AutoExecutor(folder=folder, cluster="slurm")
        executor.update_parameters(
            name=name,
            timeout_min=math.ceil(asked.hours * 60),
            cpus_per_task=None if alone else asked.cpus or threads,
            gpus_per_node=asked.gpus or None,
            mem_gb=asked.memory_gib,
            slurm_exclusive=alone or None,
            slurm_use_srun=not alone,  # which may bind what it starts to a part of the node
            # Plug-ins beside the study are found there too.
            slurm_setup=[f"export PYTHONPATH={shlex.quote(child.environment()['PYTHONPATH'])}"],
            slurm_additional_parameters={"requeue": True, **given},
        )
        try:
            return executor.submit(work)
        except OSError as error:
            raise unwritable(folder, error) from error
        except RuntimeError as error:  # of submitit, with what sbatch said
            raise UserError(
                f"--engine slurm: sbatch refused a job: {_first_line(str(error))}; see --request, and --jobs for how "
                "many are submitted at once"
            ) from error

    def _wait(self, job: Any, progress: ProgressCallback) -> Outcome:
        """Pass on progress until the job has ended.

        submitit's own wait takes a suspended job for ended, one that was preempted for good for alive, and asks as
        seldom as every ten minutes.
        """
        progress(_QUEUE, 0, 1, f"Slurm job {job.job_id}")
        seen, ended = 0, math.inf
        while not job.paths.result_pickle.exists():
            if self._stopped.wait(_POLL_SECONDS):
                raise StoppedError
            if seen == 0 and job.paths.stdout.exists():
                progress(_QUEUE, 1, 1)
            seen = _pass_on(job.paths.stdout, seen, progress)
            state, now = self._state(job.job_id), time.monotonic()
            ended = min(ended, now) if state in _ENDED else math.inf
            if now - ended > _SETTLED_SECONDS and not _is_queued(job.job_id):
                return Outcome(f"Slurm job {job.job_id} ended as {state}", job.paths.stderr, killed=True)
        if job.exception() is not None:
            return Outcome(f"Slurm job {job.job_id} failed before its work began", job.paths.stderr)
        outcome: Outcome = job.result()
        return outcome

    def _state(self, job: str) -> str:
        """What Slurm last said of a job, in one word; nothing while it does not know it."""
        with self._looking:
            if time.monotonic() - self._looked >= _LOOK_SECONDS:
                jobs = ",".join(sorted(self._under_way))
                told = _call("sacct", "--noheader", "--allocations", "--parsable2", "--format=JobID,State", f"-j{jobs}")
                for line in told.stdout.splitlines() if told.returncode == 0 else []:
                    number, _, state = line.partition("|")
                    self._states[number] = state.partition(" ")[0]  # "CANCELLED by 1000"
                self._looked = time.monotonic()
            return self._states.get(job, "")


@dataclass(frozen=True)
class _Work:
    """What a batch job does on its node."""

    root: Path
    config: dict[str, Any]
    steps: tuple[str, ...]
    name: str

    def __call__(self) -> Outcome:
        config = parse(ExperimentConfig, self.config, "job")
        run = RunContext(config, Store(self.root))
        try:
            outcome = LocalEngine().run_job(run, self.steps, seldom(to_pipe), self.name)
        except Exception as error:  # submitit ends here a job that reached its time limit once too often
            return Outcome(f"{os.uname().nodename}: {error}", run.directory / f"{self.name}.log")
        if outcome.killed:  # Slurm knows why, and whether the job will run again: nothing is said in its place
            raise SystemExit(f"{outcome.reason}; {outcome.log}")
        return outcome

    def checkpoint(self) -> Any:
        """What submitit puts into the queue at the time limit: the same again, as the fit has its own checkpoint."""
        return optional_module("submitit.helpers", "slurm").DelayedSubmission(self)


def _pass_on(path: Path, seen: int, progress: ProgressCallback) -> int:
    """Pass on what a job has said beyond ``seen`` bytes; returns how far that is now."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(seen)
        whole, newline, _ = file.read().rpartition(b"\n")
        for line in whole.splitlines():
            with suppress(ValueError, TypeError, KeyError):  # submitit writes there too
                event = json.loads(line)
                progress(event["phase"], event["done"], event["total"], event["note"])
        seen += len(whole) + len(newline)
    return seen


def _is_queued(job: str) -> bool:
    """Whether a job is to run: accounts tell the last end of one that was put back until it can start."""
    queue = _call("squeue", "--noheader", "--me", "--format=%i")
    return queue.returncode != 0 or job in queue.stdout.split()


def _unfinished(folder: Path) -> list[str]:
    """Jobs of submitit's folder that left no result."""
    jobs = [file.name.partition("_")[0] for file in folder.glob("*_submitted.pkl")]
    return [job for job in jobs if not (folder / f"{job}_0_result.pkl").exists()]


def _cancel(jobs: Sequence[str]) -> None:
    if jobs:
        _call("scancel", "--quiet", *jobs)  # those that are gone already are no matter


def _call(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_CALL_SECONDS)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {_CALL_SECONDS:g} s")


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "it does not say why")
