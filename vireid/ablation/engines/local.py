"""The local engine: jobs on this machine, each in a process of its own with its own log."""

import contextlib
import json
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, ClassVar, Literal, Self

from vireid.ablation.engines.base import EngineConfig, Outcome, StoppedError
from vireid.config import ExperimentConfig
from vireid.core import child
from vireid.experiment.context import RunContext
from vireid.experiment.progress import ProgressCallback
from vireid.store import unwritable, write_atomically

_CUDA_VARIABLE = "CUDA_VISIBLE_DEVICES"


class LocalConfig(EngineConfig):
    """Nothing to set."""

    name: Literal["local"] = "local"


class LocalEngine:
    """Jobs in child processes; several share the cores evenly, and CUDA devices in turn."""

    Config: ClassVar[type[EngineConfig]] = LocalConfig
    version: ClassVar[str] = "1"
    at_home = True

    def __init__(self, config: LocalConfig | None = None) -> None:
        self.config = config or LocalConfig()
        self._processes: set[subprocess.Popen[str]] = set()
        self._stopped = False
        self._dealing = threading.Lock()
        self._jobs_on: Counter[str] = Counter()  # by CUDA device

    def __enter__(self) -> Self:
        """Nothing is needed."""
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is left."""

    def default_jobs(self, wanted: int) -> int:
        """As many as wanted, and no more than there are cores."""
        return min(wanted, os.cpu_count() or 1)

    def check(self, steps: Collection[str]) -> None:
        """Every step can be done here."""

    def fitted(self, config: ExperimentConfig, jobs: int) -> ExperimentConfig:
        """With its share of the cores as threads."""
        return share_cores(config, jobs)

    def stop(self) -> None:
        """Close what the children listen to, upon which they end."""
        self._stopped = True
        for process in tuple(self._processes):
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()

    def run_job(self, run: RunContext, steps: Sequence[str], progress: ProgressCallback, name: str = "job") -> Outcome:
        """Run the steps for a configuration in a new process; its files lie in the run's folder of artefacts.

        The child's output is appended to ``<name>.log``. A child that dies without a word (killed, out of memory) gives
        a reason too.

        Raises:
            StoppedError: the engine was stopped meanwhile.
            UserError: the run's folder cannot be written.
        """
        job, log = run.directory / f"{name}.json", run.directory / f"{name}.log"
        payload = {"config": run.config.model_dump(mode="json"), "steps": list(steps)}
        write_atomically(job, json.dumps(payload, indent=1))
        try:
            errors = log.open("a", encoding="utf-8")
        except OSError as error:
            raise unwritable(log, error) from error
        with (
            errors,
            self._devices(run.config) as devices,
            subprocess.Popen(
                child.command("vireid.ablation.engines.worker", str(run.store.root), str(job)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=child.environment() | devices,  # plug-ins beside the study are found there too
            ) as process,
        ):
            self._processes.add(process)
            try:
                reason = _listen(process, errors, progress)
                code = process.wait()
            finally:
                self._processes.discard(process)
        if code != 0 and self._stopped:
            raise StoppedError
        if code != 0 and reason is None:
            reason = f"the process {'was ' if code < 0 else ''}{child.how_it_ended(code)}; its log: {log}"
        return Outcome(reason, log, killed=code < 0)

    @contextlib.contextmanager
    def _devices(self, config: ExperimentConfig) -> Iterator[dict[str, str]]:
        """What a job's environment says of CUDA devices: as many as it has processes, those that fewest others are on.

        A configuration that names one device keeps it.
        """
        kind, _, named = config.runtime.device.partition(":")
        there = cuda_devices() if kind in ("auto", "cuda") else []
        with self._dealing:
            least = sorted(there, key=lambda device: self._jobs_on[device])  # of equals the first
            dealt = there[int(named) :][:1] if named else least[: config.runtime.processes]
            self._jobs_on.update(dealt)
        try:
            yield {_CUDA_VARIABLE: ",".join(dealt)} if len(there) > 1 and not named else {}
        finally:
            with self._dealing:
                self._jobs_on.subtract(dealt)


def cuda_devices() -> list[str]:
    """The CUDA devices that this process may use, as the variable names them."""
    if (named := os.environ.get(_CUDA_VARIABLE)) == "":
        return []
    import torch  # starts no CUDA here: a driver takes no memory of a device

    count = torch.cuda.device_count()
    return (
        [str(index) for index in range(count)] if named is None else [name.strip() for name in named.split(",")][:count]
    )


def _listen(process: subprocess.Popen[str], log: Any, progress: ProgressCallback) -> str | None:
    """Pass on a child's progress until it ends; returns why it failed, if it said so."""
    reason: str | None = None
    assert process.stdout is not None
    for line in process.stdout:
        try:
            event = json.loads(line)
            kind = event["event"]
        except (ValueError, TypeError, KeyError):
            log.write(line)  # a library printed something
            log.flush()
            continue
        if kind == "progress":
            progress(event["phase"], event["done"], event["total"], event["note"])
        elif kind == "error":
            reason = event["message"]
    return reason


def share_cores(config: ExperimentConfig, jobs: int) -> ExperimentConfig:
    """A configuration whose fit takes its share of the cores beside ``jobs`` others, unless it names its threads."""
    if jobs == 1:
        return config
    return with_threads(config, max(1, (os.cpu_count() or 1) // (jobs * config.runtime.processes)))


def with_threads(config: ExperimentConfig, threads: int) -> ExperimentConfig:
    """A configuration that computes in ``threads`` threads, unless it names their number."""
    if config.runtime.threads is not None:
        return config
    return config.model_copy(update={"runtime": config.runtime.model_copy(update={"threads": threads})})
