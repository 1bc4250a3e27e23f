"""A Ray cluster of three nodes on this machine, and studies that run on it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.ablation.spread import JOBS, Studies

MIB = 2**20


@pytest.fixture
def studies(tmp_path: Path) -> Iterator[Studies]:
    studies = Studies(tmp_path)
    yield studies
    studies.end()


@dataclass
class Machines:
    """The cluster, and the processes of jobs on its nodes."""

    cluster: Any
    scratch: Path

    @property
    def engine(self) -> list[str]:
        return ["--engine", "ray", "--address", self.cluster.address]

    def add(self, **node: Any) -> Any:
        return _patiently(lambda: self.cluster.add_node(num_cpus=1, object_store_memory=100 * MIB, **node))

    def job(self, known: set[int] = frozenset(), seconds: float = 200) -> psutil.Process:
        """A job's process that is not among the known ones, as soon as there is one."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for process in psutil.process_iter(["pid", "cmdline"]):
                command = process.info["cmdline"] or []
                if process.pid not in known and JOBS in command and any(str(self.scratch) in part for part in command):
                    return process
            time.sleep(0.05)
        raise AssertionError(f"no job within {seconds:g} s")

    def node_of(self, job: psutil.Process) -> Any:
        command = " ".join(job.cmdline())
        return next(node for node in self.cluster.list_all_nodes() if node.node_id in command)

    def left(self) -> list[psutil.Process]:
        """Processes of jobs that still run."""
        ours = []
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if JOBS in command and any(str(self.scratch) in part for part in command):
                ours.append(process)
        return ours


def _patiently(start: Callable[[], Any], attempts: int = 3) -> Any:
    """A node: Ray gives one half a minute to start, which is little where other tests run beside it."""
    for attempt in range(attempts):
        try:
            return start()
        except Exception as error:
            if "timed out" not in str(error) or attempt == attempts - 1:
                raise
    raise AssertionError("unreachable: the last attempt raises")


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    pytest.importorskip("ray", reason="the extra 'cluster' is not installed")
    from ray.cluster_utils import Cluster

    scratch = tmp_path_factory.mktemp("scratch")
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIREID_SCRATCH", str(scratch))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        head = {"num_cpus": 1, "object_store_memory": 100 * MIB, "include_dashboard": False}
        machines = Machines(_patiently(lambda: Cluster(initialize_head=True, head_node_args=head)), scratch)
        machines.add()
        machines.add(resources={"latency": 1})
        yield machines
        started = [process for process in psutil.Process().children(recursive=True) if process.pid not in before]
        machines.cluster.shutdown()
    _, alive = psutil.wait_procs(started, timeout=30)
    for process in alive:
        process.kill()
    assert alive == [], "processes of the cluster outlived it"
    assert machines.left() == [], "a job outlived the cluster"
