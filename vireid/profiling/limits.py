"""Named limits: how much of a machine a measurement may use, applied for real or refused.

A limit says which architecture, how many cores and how much memory, and is named by just that ("x86, 1 core, 512 MB"):
never by a device, which it is not. It is applied to a process before it imports anything that starts threads.
Standard library alone.
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass

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
        parts = [] if self.architecture is None else [self.architecture]
        parts.append(f"{self.cores} core" + ("s" if self.cores > 1 else ""))
        if self.memory_bytes is not None:
            whole = self.memory_bytes % _GB == 0
            parts.append(f"{self.memory_bytes // (_GB if whole else _MB)} {'GB' if whole else 'MB'}")
        return ", ".join(parts)


def here(limit: Limit, machine: str | None = None) -> Limit:
    """The limit with this machine's architecture in its name.

    Raises:
        LimitRefusedError: the limit is for another architecture.
    """
    found = platform.machine() if machine is None else machine
    own = next((name for name, machines in ARCHITECTURES.items() if found.lower() in machines), None)
    if limit.architecture not in (None, own):
        raise LimitRefusedError(f"limit '{limit.name}' is for {limit.architecture}, and this machine is {found}")
    return Limit(limit.cores, limit.memory_bytes, own)


def pin(cores: int) -> list[int]:
    """Let this process, and every thread that it starts from now on, run on ``cores`` cores only; which ones.

    The last of those that it may use: the first ones serve more of the system's own work.

    Raises:
        LimitRefusedError: the system has no affinity, or the process may use fewer cores.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise LimitRefusedError(f"{cores} cores: {platform.system()} lets no process choose its cores")
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < cores:
        raise LimitRefusedError(f"{cores} cores: this process may use {len(usable)} only")
    os.sched_setaffinity(0, usable[-cores:])
    return sorted(os.sched_getaffinity(0))


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
