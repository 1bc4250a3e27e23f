"""One measurement in a process of its own, under a limit, so that nothing which ran before it has a part in it.

A limit says which architecture, how many cores and how much memory, and is named by just that ("x86, 1 core, 512 MB"):
never by a device, which it is not. The process is started with its number of threads in the environment, held to its
cores and memory before it imports PyTorch, and killed when its time is over. However it ends, the caller gets an
answer. Run as a module, this file is that process.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vireid.core.child import answer, ask, failure, pin
from vireid.core.errors import UserError

ARCHITECTURES = {"x86": ("x86_64", "amd64", "i686", "i386"), "arm": ("aarch64", "arm64", "armv7l", "armv6l")}
GRAMMAR = "what it is, such as 'x86, 1 core', '2 cores' or 'arm, 4 cores, 512 MB'"
_MB, _GB = 10**6, 10**9


class LimitRefusedError(UserError):
    """A limit that cannot be applied here; nothing may be measured under its name."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a measurement may use. A core is a logical processor of the operating system."""

    cores: int
    memory_bytes: int | None = None
    architecture: str | None = None  # key of ARCHITECTURES; any when None

    @staticmethod
    def parse(text: str) -> Limit:
        """Read a name.

        Raises:
            UserError: not such a name.
        """
        cores: int | None = None
        memory: int | None = None
        architecture: str | None = None
        for part in (piece.strip() for piece in text.split(",")):
            if match := re.fullmatch(r"([1-9]\d*) cores?", part):
                cores = int(match[1])
            elif match := re.fullmatch(r"([1-9]\d*) (MB|GB)", part):
                memory = int(match[1]) * (_GB if match[2] == "GB" else _MB)
            elif part in ARCHITECTURES:
                architecture = part
            else:
                raise UserError(
                    f"limit '{text}': '{part}' is not understood; a limit is named by what it is, {GRAMMAR}"
                )
        if cores is None:
            raise UserError(f"limit '{text}' names no number of cores; a limit is named by {GRAMMAR}")
        return Limit(cores, memory, architecture)

    @property
    def name(self) -> str:
        """The limit in words, which ``parse`` reads."""
        items = [] if self.architecture is None else [self.architecture]
        items.append(f"{self.cores} core" + ("s" if self.cores > 1 else ""))
        if self.memory_bytes is not None:
            whole = self.memory_bytes % _GB == 0
            items.append(f"{self.memory_bytes // (_GB if whole else _MB)} {'GB' if whole else 'MB'}")
        return ", ".join(items)


def here(limit: Limit, machine: str | None = None) -> Limit:
    """The limit with this machine's architecture in its name.

    Raises:
        LimitRefusedError: the limit is for another architecture.
    """
    machine_name = platform.machine() if machine is None else machine
    architecture = next((name for name, machines in ARCHITECTURES.items() if machine_name.lower() in machines), None)
    if limit.architecture not in (None, architecture):
        raise LimitRefusedError(f"limit '{limit.name}' is for {limit.architecture}, and this machine is {machine_name}")
    return Limit(limit.cores, limit.memory_bytes, architecture)


def limit_data(size: int) -> None:
    """Limit the private writable memory of this process (``RLIMIT_DATA``), for where no control group can be made.

    An allocation beyond it fails. It counts what is asked for and not what is resident, and leaves out file mappings
    such as program code: near what a device's memory holds, but not the same, which is why a record says which it was.

    Raises:
        LimitRefusedError: the process already holds more, or the system does not have or not allow it.
    """
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if hard != resource.RLIM_INFINITY and hard < size:
            raise LimitRefusedError(f"{size // _MB} MB: this process may already use no more than {hard // _MB} MB")
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    except (ImportError, AttributeError, OSError, ValueError) as error:
        raise LimitRefusedError(f"{size // _MB} MB of memory cannot be limited here: {error}") from error


class MemoryGroup:
    """A control group (cgroup v2) with a memory limit, for one child process; removed on ``close``.

    It is made below the nearest group above this process that hands memory control down and may be written to.

    Raises:
        LimitRefusedError: there is no such group; the message says what stood in the way.
    """

    def __init__(
        self, size: int, root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
    ) -> None:
        parent = _delegating(root, membership)
        self.path = parent / f"vireid-{os.getpid()}-{os.urandom(4).hex()}"
        try:
            self.path.mkdir()
        except OSError as error:
            raise LimitRefusedError(f"control group {parent}: {error.strerror or error}") from error
        try:
            (self.path / "memory.max").write_text(str(size), encoding="ascii")
            swap = self.path / "memory.swap.max"
            if swap.exists():
                swap.write_text("0", encoding="ascii")
        except OSError as error:
            self.close()
            raise LimitRefusedError(f"control group {self.path}: {error.strerror or error}") from error

    def killed(self) -> int:
        """How many processes the kernel has killed here for want of memory."""
        try:
            lines = (self.path / "memory.events").read_text(encoding="ascii").splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

    def close(self) -> None:
        """Remove the group; the kernel refuses while a process is left in it, and then it stays."""
        try:
            self.path.rmdir()
        except OSError:
            return


def join_group(path: Path) -> None:
    """Move this process into a control group.

    Raises:
        LimitRefusedError: the kernel does not allow it.
    """
    try:
        (path / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    except OSError as error:
        raise LimitRefusedError(f"control group {path}: {error.strerror or error}") from error


def _delegating(root: Path, membership: Path) -> Path:
    try:
        lines = membership.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise LimitRefusedError(f"no control groups here: {membership}: {error.strerror or error}") from error
    path = next((line[3:] for line in lines if line.startswith("0::")), None)
    if path is None or not (root / "cgroup.controllers").exists():
        raise LimitRefusedError(f"control groups of version 2 are not at {root}")
    here = root / path.lstrip("/")
    for folder in (here, *here.parents):
        try:
            handed_down = (folder / "cgroup.subtree_control").read_text(encoding="ascii").split()
        except OSError:
            handed_down = []
        if "memory" in handed_down and os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK):
            return folder
        if folder == root:
            break
    raise LimitRefusedError(f"no control group from {here} upwards hands memory control down to this user")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an isolated task."""

    status: str  # ok, failed, skipped (a limit that cannot be applied here)
    reason: str | None
    result: dict[str, Any]  # what the task returned; empty unless ok
    affinity: list[int] | None  # cores that it was held to
    limit: dict[str, Any] | None  # name and parts of the limit as it was applied
    notes: list[str]


def run_isolated(
    task: str,
    arguments: Mapping[str, Any],
    *,
    threads: int,
    limit: Limit | None = None,
    timeout_seconds: float,
) -> Answer:
    """Call a task in a fresh interpreter on ``threads`` cores, or as many as the limit has, and wait for its answer.

    Args:
        task: ``module:function``; called with ``arguments``, returns a dictionary. Both must fit into JSON.
        arguments: of the task.
        threads: of the native pools; without a limit also the number of cores that the process is pinned to.
        limit: cores and memory; applied for real, or the answer is "skipped" with the reason.
        timeout_seconds: after which the process is killed and the answer is "failed".
    """
    group: MemoryGroup | None = None
    memory_by: str | None = None
    data_bytes: int | None = None
    try:
        local = None if limit is None else here(limit)
    except LimitRefusedError as error:
        return Answer("skipped", str(error), {}, None, None, [])
    if local is not None and local.memory_bytes is not None:
        try:
            group = MemoryGroup(local.memory_bytes)
            memory_by = "memory.max of a control group"
        except LimitRefusedError as error:
            data_bytes = local.memory_bytes
            memory_by = f"RLIMIT_DATA (private writable memory, not what is resident), since: {error}"
    request = {
        "task": task,
        "arguments": dict(arguments),
        "cores": threads if local is None else local.cores,
        "must_pin": local is not None,
        "group": None if group is None else str(group.path),
        "data_bytes": data_bytes,
    }
    try:
        given = ask(__name__, request, threads=threads, timeout_seconds=timeout_seconds)
        if given["status"] != "ok" and local is not None:
            killed = group is not None and group.killed()
            given["reason"] = f"within '{local.name}': {'out of memory, ' if killed else ''}{given['reason']}"
    finally:
        if group is not None:
            group.close()
    process = given.get("process", {})
    applied = None
    if local is not None and given["status"] != "skipped":
        applied = {
            "name": local.name,
            "cores": process.get("affinity"),
            "memory_bytes": local.memory_bytes,
            "memory_by": memory_by,
        }
    return Answer(
        status=given["status"],
        reason=given["reason"],
        result=given.get("result", {}),
        affinity=process.get("affinity"),
        limit=applied,
        notes=process.get("notes", []),
    )


def _carry_out(request: dict[str, Any]) -> dict[str, Any]:
    try:
        process = _confine(request)
    except LimitRefusedError as error:
        return {"status": "skipped", "reason": str(error)}
    try:
        module, _, function = request["task"].partition(":")
        result = getattr(importlib.import_module(module), function)(**request["arguments"])
    except Exception as error:  # whatever fails in here is the answer; the parent records it
        return {"status": "failed", "reason": failure(error), "process": process}
    return {"status": "ok", "reason": None, "process": process, "result": result}


def _confine(request: dict[str, Any]) -> dict[str, Any]:
    """Apply what the request asks of this process; what was applied."""
    started = sorted({"torch", "numpy", "openvino", "onnxruntime"} & sys.modules.keys())
    if started:
        raise RuntimeError(f"{', '.join(started)} was imported before the limits were applied")
    cores, unpinned = pin(request["cores"])
    if unpinned and request["must_pin"]:
        raise LimitRefusedError(unpinned)
    if request.get("group") is not None:
        join_group(Path(request["group"]))
    elif request.get("data_bytes") is not None:
        limit_data(request["data_bytes"])
    if unpinned:
        return {"notes": [f"not pinned to {unpinned}"]}
    return {"affinity": cores}


if __name__ == "__main__":
    answer(_carry_out)
