"""Leases: a file says which process is at a piece of work, and its time of change that the process is alive.

A lease is made by exclusive creation, so that one of several processes gets it, also on a shared file system. Its owner
touches it every few seconds. It is stale, and whoever comes next takes it over, once its owner is known to be dead
(same machine) or it has not been touched for ``STALE_SECONDS`` by the clock of the one who looks: clocks of several
machines need not agree.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

STALE_SECONDS = 60.0
_TOUCHES = 6  # within that time: a machine that is busy may miss a few


class Lease:
    """One piece of work, which one process at a time holds.

    Args:
        path: of its file; the folder is made when the lease is taken.
        stale_seconds: without a touch after which it is given up for dead.
    """

    def __init__(self, path: Path, stale_seconds: float = STALE_SECONDS) -> None:
        self._path, self._stale_seconds = path, stale_seconds
        self._token = uuid.uuid4().hex
        self._seen: tuple[str, int] | None = None  # token and time of change of another's lease
        self._seen_at = 0.0
        self._released = threading.Event()

    def take(self) -> bool:
        """Take it if nobody holds it; returns whether it is ours now.

        Raises:
            OSError: the folder cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._changing():  # never between another's look and its deed
            if not self._create() and not (self._is_stale() and self._replace()):
                return False
        self._released.clear()
        threading.Thread(target=self._touch_until_released, daemon=True).start()
        return True

    def owner(self) -> str:
        """Who holds it, for a message."""
        content = self._read()
        return f"process {content.get('pid', '?')} on {content.get('host', '?')}"

    def release(self) -> None:
        """Give it back; nothing happens where another has taken it over."""
        self._released.set()
        with contextlib.suppress(OSError), self._changing():
            if self._is_ours():
                self._path.unlink()

    def _create(self) -> bool:
        try:
            handle = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._content())
        except OSError:
            self._path.unlink(missing_ok=True)
            raise
        return True

    def _replace(self) -> bool:
        partial = self._path.with_name(f".{self._path.name}.{self._token}")
        try:
            partial.write_bytes(self._content())
            partial.replace(self._path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        return True

    def _content(self) -> bytes:
        return json.dumps({"token": self._token, **this_process()}).encode()

    def _is_stale(self) -> bool:
        """Whether its owner has died here, or has not touched it since we began to look, long enough ago."""
        content = self._read()
        if has_died(content):
            return True
        try:
            seen = (str(content.get("token")), self._path.stat().st_mtime_ns)
        except FileNotFoundError:
            return False
        if seen != self._seen:
            self._seen, self._seen_at = seen, time.monotonic()
        return time.monotonic() - self._seen_at >= self._stale_seconds

    def _is_ours(self) -> bool:
        return bool(self._read().get("token") == self._token)

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_bytes())
        except (OSError, ValueError):  # gone, or its owner died before it could write: then only time tells
            return {}
        return content if isinstance(content, dict) else {}

    def _touch_until_released(self) -> None:
        while not self._released.wait(self._stale_seconds / _TOUCHES):
            with contextlib.suppress(OSError), self._changing():  # a share that is away for a moment
                if not self._is_ours():
                    return  # we were stopped for so long that another took over
                if not self._released.is_set():
                    os.utime(self._path)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with self._path.with_name(".changing").open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield


def this_process() -> dict[str, Any]:
    """What tells this process from any other, for the file of a lease."""
    own = psutil.Process()
    return {"pid": own.pid, "began": own.create_time(), **_machine()}


def has_died(words: Mapping[str, Any]) -> bool:
    """Whether that process is known to be gone: it was one of this machine. Its number may be another's since."""
    if not words.items() >= _machine().items():
        return False
    try:
        process = psutil.Process(words["pid"])
        return abs(process.create_time() - words["began"]) >= 1 or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _machine() -> dict[str, str]:
    """What must agree before a process number says anything: containers count their processes each for itself."""
    try:
        numbers = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        numbers = ""
    return {"host": socket.gethostname(), "processes": numbers}
