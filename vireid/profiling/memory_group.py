"""Control groups (cgroup v2) that hold a child process to a limit of memory. Standard library alone."""

from __future__ import annotations

import os
from pathlib import Path

from vireid.profiling.limits import LimitRefusedError


class MemoryGroup:
    """A control group (cgroup v2) with a memory limit, for one child process; removed on ``close``.

    It is made below the nearest group above this process that hands memory control down and may be written to.

    Raises:
        LimitRefusedError: there is no such group; the message says what stood in the way.
    """

    def __init__(self, size: int, root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> None:
        parent = _delegating(root, own)
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


def _delegating(root: Path, own: Path) -> Path:
    try:
        lines = own.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise LimitRefusedError(f"no control groups here: {own}: {error.strerror or error}") from error
    place = next((line[3:] for line in lines if line.startswith("0::")), None)
    if place is None or not (root / "cgroup.controllers").exists():
        raise LimitRefusedError(f"control groups of version 2 are not at {root}")
    here = root / place.lstrip("/")
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
