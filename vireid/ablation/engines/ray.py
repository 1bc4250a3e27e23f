"""The Ray engine: jobs as retried tasks on the machines of a cluster; Ray Core alone, no disk need be shared.

A task lays out what its job needs in a scratch folder of its machine, has the local engine run it there, and returns
records and artefacts, which the driver puts into its own store. Whatever is lost on the way (a machine, a worker, the
driver) costs the job that was under way and no record. The suite's code travels with the driver; packages do not.
"""

import contextlib
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from vireid.ablation.engines.base import EngineConfig, Outcome, StoppedError, seldom
from vireid.ablation.engines.local import LocalEngine, with_threads
from vireid.ablation.engines.modules import copy_suite
from vireid.ablation.engines.packages import finder, needed_packages
from vireid.ablation.engines.parcel import Parcel, accept, pack, results, unpack
from vireid.config import ExperimentConfig
from vireid.core.environment import COMMIT_VARIABLE, commit_variable
from vireid.core.errors import UserError, optional_module
from vireid.experiment.context import RunContext
from vireid.experiment.progress import ProgressCallback

LATENCY = "latency"  # custom resource of machines that measure it
SCRATCH_VARIABLE = "VIREID_SCRATCH"
_RETRIES = 3  # of a job whose machine or process was lost
_POLL_SECONDS = 0.3
_LOST_SECONDS = 60.0  # without any machine that could do a job, before it is given up
_KNOCK_SECONDS = 10.0  # before the head of a cluster counts as absent
_PROBE_SECONDS = 120.0


class RayConfig(EngineConfig):
    """Which cluster, and what fits ask of its machines."""

    name: Literal["ray"] = "ray"
    address: str = "auto"
    """Host and port of its head; by default the cluster that this machine is in."""
    request: dict[str, float] = {}
    """``memory_gib``, ``gpus``, and custom tags, per fit."""


class RayEngine:
    """Jobs on a cluster that is running already."""

    Config: ClassVar[type[EngineConfig]] = RayConfig
    version: ClassVar[str] = "1"
    at_home = False

    def __init__(self, config: RayConfig) -> None:
        self.config = config
        self._ray = optional_module("ray", "cluster")
        self._affinity = optional_module("ray.util.scheduling_strategies", "cluster").NodeAffinitySchedulingStrategy
        self._stopped = threading.Event()
        # Ray says there that a machine was lost; standard output is for what the command was asked for.
        self._aside = contextlib.redirect_stdout(sys.stderr)
        self._sent: dict[tuple[Path, int], Any] = {}  # file and its time of change -> where Ray has it
        self._sending = threading.Lock()

    def __enter__(self) -> Self:
        """Connect, bring the code, and see that every machine has the packages.

        Raises:
            UserError: no cluster there, or a machine lacks a package.
        """
        ray = self._ray
        with tempfile.TemporaryDirectory(prefix="vireid-code-") as folder:
            copy_suite(Path(folder))
            self._knock()
            variables = {COMMIT_VARIABLE: commit} if (commit := commit_variable()) else {}
            try:
                ray.init(
                    address=self.config.address,
                    runtime_env={"working_dir": folder, "env_vars": variables},
                    log_to_driver=False,
                    logging_level="ERROR",
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise self._absent(error) from error
        try:
            self._check_packages()
            here = self._affinity(ray.get_runtime_context().get_node_id(), soft=True)
            reporter = ray.remote(num_cpus=0, scheduling_strategy=here)(_Reporter)
            self._reporter = reporter.remote()
            self._job = ray.remote(max_retries=_RETRIES, retry_exceptions=[KilledError])(_carry_out)
            self._discard = ray.remote(num_cpus=0, max_retries=0)(_discard)
        except BaseException:
            ray.shutdown()
            raise
        self._aside.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the cluster, which ends whatever still runs there for this driver."""
        self._ray.shutdown()
        self._aside.__exit__(None, None, None)

    def _knock(self) -> None:
        """See that somebody listens there: Ray itself tries for minutes.

        Raises:
            UserError: nobody does.
        """
        host, _, port = self.config.address.rpartition(":")
        if host and port.isdigit() and "/" not in host:
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()
            except (OSError, OverflowError) as error:
                raise self._absent(error) from error

    def _absent(self, error: Exception) -> UserError:
        where = "on this machine" if self.config.address == "auto" else f"at {self.config.address}"
        return UserError(
            f"--engine ray: no Ray cluster {where} ({_first_line(error)}); start one with `ray start --head` "
            "and join other machines with `ray start --address=HOST:6379`"
        )

    def default_jobs(self, wanted: int) -> int:
        """As many as wanted on every machine."""
        return wanted * len(self._machines())

    def check(self, steps: Collection[str]) -> None:
        """See that some machine meets the requests, and that one is tagged for latency where that is measured.

        Raises:
            UserError: none does or is, or no machine has any processor to give.
        """
        if not self._machines():
            raise UserError("--engine ray: no machine of the cluster has processors to give; see `ray status`")
        if not self._is_possible({"num_cpus": 1, **self._requested()}):
            text = " ".join(f"--request {name}={value:g}" for name, value in self.config.request.items())
            raise UserError(f"--engine ray: no machine of the cluster meets {text}; `ray status` shows what is there")
        if LATENCY in steps and not self._machines(LATENCY):
            raise UserError(
                f"--engine ray: no machine of the cluster is tagged for latency: start one with `ray start … "
                f"--resources='{{\"{LATENCY}\": 1}}'`, or set `measure: {{latency: false}}` in the study"
            )

    def fitted(self, config: ExperimentConfig, jobs: int) -> ExperimentConfig:
        """With its share of the smallest machine's processors as threads."""
        machines = self._machines()
        side_by_side = -(-jobs // max(1, len(machines)))
        return with_threads(config, max(1, self._processors(machines) // side_by_side))

    def stop(self) -> None:
        """Wait for no job any longer."""
        self._stopped.set()

    def run_job(self, run: RunContext, steps: Sequence[str], progress: ProgressCallback, name: str = "job") -> Outcome:
        """Run the steps on a machine that has what they ask for; records and artefacts land in ``run.store``.

        Raises:
            StoppedError: the engine was stopped meanwhile.
            UserError: the store cannot be read or written.
        """
        log = run.directory / f"{name}.log"
        parcel, files = pack(run, steps, name)
        needs = self._needs(run.config, steps)
        options = {key: value for key, value in needs.items() if value}
        key = f"{parcel.fit}-{name}"
        contents = [self._send(file, keep=not file.is_relative_to(run.store.root)) for file in files]
        task = self._job.options(**options).remote(parcel, key, self._reporter, *contents)
        try:
            done = self._wait(task, key, needs, progress)
        except _GivenUpError as error:
            self._ray.cancel(task, force=True)
            return Outcome(str(error), log)
        except self._ray.exceptions.RayError as error:
            return Outcome(_explain(error), log, killed=True)
        accept(run, name, done.made)
        there = self._affinity(done.node, soft=True)
        self._discard.options(scheduling_strategy=there).remote(parcel)
        return Outcome(None if done.reason is None else done.reason.replace(done.log, str(log)), log)

    def _wait(self, task: Any, key: str, needs: Mapping[str, Any], progress: ProgressCallback) -> "_Done":
        """Pass on progress until the task has ended."""
        possible = time.monotonic()
        while True:
            ready, _ = self._ray.wait([task], timeout=_POLL_SECONDS)
            for event in self._told(key):
                progress(*event)
            if ready:
                done: _Done = self._ray.get(task)
                return done
            if self._stopped.is_set():
                raise StoppedError
            if self._is_possible(needs):
                possible = time.monotonic()
            elif time.monotonic() - possible > _LOST_SECONDS:
                asked = {**{key: value for key, value in needs.items() if key != "resources"}, **needs["resources"]}
                text = ", ".join(f"{key} {value:g}" for key, value in asked.items() if value)
                raise _GivenUpError(
                    f"no machine of the cluster has what the job asks for ({text}); `ray status` shows what is there: "
                    "join one that has, and run the same command again"
                )

    def _told(self, key: str) -> list[tuple[str, int, int, str]]:
        """What a job has said of its progress; nothing once the machine is lost that words were gathered on."""
        try:
            events: list[tuple[str, int, int, str]] = self._ray.get(self._reporter.take.remote(key))
        except self._ray.exceptions.RayActorError:
            return []
        return events

    def _needs(self, config: ExperimentConfig, steps: Sequence[str]) -> dict[str, Any]:
        """What a job asks of a machine; a latency, all of one."""
        if LATENCY in steps:
            machines = self._machines(LATENCY)
            cpus = max((machine["CPU"] for machine in machines), default=1)
            return {"num_cpus": cpus, "num_gpus": self._gpus(config), "memory": 0, "resources": {LATENCY: 1}}
        cpus = config.runtime.threads or self._processors(self._machines())
        needs = {"num_cpus": cpus, **self._requested()}
        return needs if "gpus" in self.config.request else {**needs, "num_gpus": self._gpus(config)}

    def _requested(self) -> dict[str, Any]:
        tags = dict(self.config.request)
        memory, gpus = tags.pop("memory_gib", 0.0), tags.pop("gpus", 0.0)
        return {"num_gpus": gpus, "memory": int(memory * 2**30), "resources": tags}

    def _gpus(self, config: ExperimentConfig) -> float:
        """One where the run would take one and the cluster has any."""
        return 0 if config.runtime.device == "cpu" else min(1, max(m.get("GPU", 0) for m in self._machines() or [{}]))

    def _is_possible(self, needs: Mapping[str, Any]) -> bool:
        asked = {"CPU": needs["num_cpus"], "GPU": needs["num_gpus"], "memory": needs["memory"], **needs["resources"]}
        return any(all(machine.get(key, 0) >= value for key, value in asked.items()) for machine in self._machines())

    def _lives(self, node: str) -> bool:
        return any(other["Alive"] and other["NodeID"] == node for other in self._ray.nodes())

    def _machines(self, tag: str = "CPU") -> list[dict[str, float]]:
        """Resources of the living machines that have processors, and ``tag``."""
        living = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return [resources for resources in living if resources.get("CPU") and resources.get(tag)]

    @staticmethod
    def _processors(machines: Sequence[Mapping[str, float]]) -> int:
        return int(min((machine["CPU"] for machine in machines), default=1))

    def _send(self, file: Path, *, keep: bool) -> Any:
        """A file's content, in Ray; with ``keep`` once for all jobs that need it."""
        if not keep:
            return self._ray.put(file.read_bytes())
        key = (file, file.stat().st_mtime_ns)
        with self._sending:
            if key not in self._sent:
                self._sent[key] = self._ray.put(file.read_bytes())
            return self._sent[key]

    def _check_packages(self) -> None:
        """Ask every machine for the packages that the suite needs.

        Raises:
            UserError: one lacks some, or gives no answer.
        """
        asked = []
        probe = self._ray.remote(num_cpus=0, max_retries=0)(finder())
        for node in self._ray.nodes():
            if node["Alive"]:
                there = self._affinity(node["NodeID"], soft=False)
                answer = probe.options(scheduling_strategy=there).remote(needed_packages())
                asked.append((node, answer))
        for node, answer in asked:
            host, address = node["NodeManagerHostname"], node["NodeManagerAddress"]
            try:
                lacking = self._ray.get(answer, timeout=_PROBE_SECONDS)
            except self._ray.exceptions.RayError as error:
                if not self._lives(node["NodeID"]):
                    continue  # it left while it was asked
                raise UserError(
                    f"--engine ray: machine {host} ({address}) gives no answer: {_first_line(error)}; see "
                    "`ray status`, and stop Ray there to go on without it"
                ) from error
            if lacking:
                raise UserError(
                    f"--engine ray: machine {host} ({address}) lacks the package {', '.join(lacking)}: install the "
                    f"suite in the Python that runs Ray there (pip install {' '.join(lacking)}), or stop Ray there"
                )


class _GivenUpError(Exception):
    """Nobody waits for the job any longer."""


class KilledError(Exception):
    """The process of a job was ended from outside; Ray tries it again."""


@dataclass(frozen=True, slots=True)
class _Done:
    """How a job ended on its machine."""

    node: str
    reason: str | None
    log: str
    made: dict[str, bytes]


class _Reporter:
    """Actor beside the driver: the last word of every job on each of its phases, until the driver asks."""

    def __init__(self) -> None:
        self._events: dict[str, dict[str, tuple[str, int, int, str]]] = {}

    def report(self, key: str, phase: str, done: int, total: int, note: str) -> None:
        """Take a word of a job."""
        self._events.setdefault(key, {})[phase] = (phase, done, total, note)

    def take(self, key: str) -> list[tuple[str, int, int, str]]:
        """What a job has said since."""
        return list(self._events.pop(key, {}).values())


def _carry_out(parcel: Parcel, key: str, reporter: Any, *contents: bytes) -> _Done:
    """The task, on its machine."""
    root, node = _root(parcel), _node()
    try:
        run = unpack(parcel, contents, root, root.parents[1])
        outcome = LocalEngine().run_job(run, parcel.steps, seldom(partial(reporter.report.remote, key)), parcel.name)
        if outcome.killed:
            raise KilledError(f"{outcome.reason} on {os.uname().nodename}")
        return _Done(node, outcome.reason, str(outcome.log), results(parcel, root))
    except UserError as error:
        return _Done(node, f"{os.uname().nodename}: {error}", str(root), {})


def _discard(parcel: Parcel) -> None:
    """Remove what a job left on its machine; rendered images stay for the next."""
    shutil.rmtree(_root(parcel), ignore_errors=True)


def _root(parcel: Parcel) -> Path:
    """Folder of a job, under one of its machine's scratch space; several Ray nodes may share a machine."""
    base = Path(os.environ.get(SCRATCH_VARIABLE) or Path(tempfile.gettempdir()) / f"vireid-{os.getuid()}")
    return base / _node() / f"{parcel.fit}-{parcel.name}"


def _node() -> str:
    node: str = optional_module("ray", "cluster").get_runtime_context().get_node_id()
    return node


def _explain(error: Exception) -> str:
    """One line for what Ray says of a job that it could not bring to its end."""
    text = str(error)
    if "No module named" in text:
        module = text.partition("No module named")[2].split("\n")[0].strip(" '\"")
        return (
            f"a machine of the cluster lacks the module '{module}': install the suite in the Python that runs Ray there"
        )
    cause = getattr(error, "cause", None)
    if isinstance(cause, KilledError):
        return f"{cause}, {_RETRIES + 1} times"
    return f"{type(error).__name__}: {_first_line(cause or error)}"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
