"""A Ray cluster of three nodes on this machine, and studies that run on it."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
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
    _nodes: int = 0

    @property
    def engine(self) -> list[str]:
        return ["--engine", "ray", "--address", self.cluster.address]

    def add(self, **node: Any) -> Any:
        """A node with a folder for code of its own, as a machine has it.

        Ray's helpers fetch code anew wherever they start, over what lies there: the jobs of other nodes that share the
        folder lose theirs for a second.
        """
        self._nodes += 1
        own = f"runtime_resources_{self._nodes}"
        return self.cluster.add_node(num_cpus=1, object_store_memory=100 * MIB, runtime_env_dir_name=own, **node)

    def job(self, known: set[int] = frozenset(), seconds: float = 400) -> psutil.Process:
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


# Times that Ray gives the parts of a node to start, too short where other tests run beside it.
PATIENCE = {
    "RAY_agent_register_timeout_ms": "200000",
    "RAY_worker_register_timeout_seconds": "240",
    "RAY_health_check_failure_threshold": "40",
    "RAY_worker_niceness": "0",  # by default jobs give way to all else on their machine
}


def _start_raylet_at_once(node: Any, *arguments: Any) -> None:
    """Say at once on what ports a node's helpers listen, as they do when they are up: it ends after 15 s without."""
    import ray._raylet as ports

    with socket.socket() as free:
        free.bind(("", 0))
        node._ray_params.runtime_env_agent_port = free.getsockname()[1]
    listening = {
        ports.RUNTIME_ENV_AGENT_PORT_NAME: node._ray_params.runtime_env_agent_port,
        ports.METRICS_AGENT_PORT_NAME: -1,  # without the extra ``default``, Ray has none
        ports.METRICS_EXPORT_PORT_NAME: -1,
        ports.DASHBOARD_AGENT_LISTEN_PORT_NAME: -1,
    }
    for name, port in listening.items():
        ports.persist_port(node._session_dir, node.node_id, name, port)
    node.start_raylet_as_ever(*arguments)


def _of_session(session: str) -> list[psutil.Process]:
    """Processes that write logs of a cluster; Ray gives them titles that say nothing of it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and any(file.path.startswith(session) for file in process.open_files()):
                found.append(process)
    return found


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    pytest.importorskip("ray", reason="the extra 'cluster' is not installed")
    from ray._private.node import Node
    from ray.cluster_utils import Cluster

    scratch = tmp_path_factory.mktemp("scratch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIREID_SCRATCH", str(scratch))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        for name, value in PATIENCE.items():
            patch.setenv(name, value)
        patch.setattr(Node, "start_raylet_as_ever", Node.start_raylet, raising=False)
        patch.setattr(Node, "start_raylet", _start_raylet_at_once)
        head = {"num_cpus": 1, "object_store_memory": 100 * MIB, "include_dashboard": False}
        machines = Machines(Cluster(initialize_head=True, head_node_args=head), scratch)
        machines.add()
        machines.add(resources={"latency": 1})
        yield machines
        session = machines.cluster.head_node.get_session_dir_path()
        machines.cluster.shutdown()
    for process in _of_session(session):  # a helper that was still starting when its node was killed misses its end
        process.kill()
        process.wait(30)
    assert machines.left() == [], "a job outlived the cluster"
