"""Leases in stores behind URLs, whose file systems may have neither locks nor times of change."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import threading
import time
import uuid
from functools import cache
from typing import Any

from vireid.core.errors import UserError
from vireid.core.lease import has_died, this_process
from vireid.remote.copy import RemoteCopy, silent

STALE_SECONDS = 120.0  # without a word of a lease's owner, after which it is given up for dead
_BEATS = 4  # words within that time
_LOOK_SECONDS = 10.0  # between two looks at a lease that another holds: each is a request
_SETTLE_SECONDS = 3.0  # for another that takes the same lease over at the same time
logger = logging.getLogger(__name__)


class RemoteLease:
    """One piece of work in a store behind a URL, which one process at a time holds: as ``vireid.core.lease``.

    Its file is created where there is none; its owner writes it anew every half minute. It is taken over from a process
    of this machine that is gone, and from any that has not written it for ``STALE_SECONDS``. Of two who do so at the
    same moment one gives way later; where even that fails, a fit is computed twice, and its first record stays.
    """

    def __init__(self, copy: RemoteCopy, name: str) -> None:
        self._copy, self._place = copy, f"leases/{name}.lease"
        self._token, self._beat = uuid.uuid4().hex, 0
        self._look_at = -math.inf
        self._away_since: float | None = None
        self._seen: tuple[bytes, float] | None = None
        self._released = threading.Event()

    def take(self) -> bool:
        """Take it if nobody holds it, and bring the copy up to date; returns whether it is ours now.

        Raises:
            UserError: the store could not be read or written for ``STALE_SECONDS``.
        """
        if time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + _LOOK_SECONDS
        try:
            taken = self._take()
        except UserError as error:
            self._away_since = self._away_since or time.monotonic()
            if time.monotonic() - self._away_since >= STALE_SECONDS:
                raise
            _warn_once(str(error))
            return False
        self._away_since = None
        return taken

    def _take(self) -> bool:
        if not self._copy.files.create(self._place, self._content()) and not self._took_over():
            return False
        self._released.clear()
        threading.Thread(target=self._beat_until_released, daemon=True).start()
        try:
            self._copy.pull(silent)
        except BaseException:
            self._give_back()
            raise
        return True

    def owner(self) -> str:
        """Who holds it, for a message."""
        words = {}
        with contextlib.suppress(UserError):
            words = _words(self._copy.files.read(self._place))
        return f"process {words.get('pid', '?')} on {words.get('host', '?')}"

    def release(self) -> None:
        """Send what was made and give it back. What cannot be sent now is sent later."""
        try:
            self._copy.push(silent)
        except UserError as error:
            _warn_once(str(error))
        finally:
            self._give_back()

    def _give_back(self) -> None:
        self._released.set()
        with contextlib.suppress(UserError):  # it grows stale there
            if self._is_ours():
                self._copy.files.remove(self._place)

    def _content(self) -> bytes:
        self._beat += 1
        return json.dumps({"token": self._token, "beat": self._beat, **this_process()}).encode()

    def _is_ours(self) -> bool:
        return bool(_words(self._copy.files.read(self._place)).get("token") == self._token)

    def _took_over(self) -> bool:
        content = self._copy.files.read(self._place)
        if content is not None:  # else it was given back this moment
            if self._seen is None or content != self._seen[0]:  # also where its owner is just writing it
                self._seen = content, time.monotonic()
            if not has_died(_words(content)) and time.monotonic() - self._seen[1] < STALE_SECONDS:
                return False
            self._copy.files.remove(self._place)
        if not self._copy.files.create(self._place, self._content()):
            return False
        time.sleep(_SETTLE_SECONDS)
        return self._is_ours()

    def _beat_until_released(self) -> None:
        while not self._released.wait(STALE_SECONDS / _BEATS):
            with contextlib.suppress(UserError):  # a network that is away for a moment
                if not self._is_ours():
                    return  # we were stopped for so long that another took over
                if not self._released.is_set():
                    self._copy.files.write(self._place, self._content())


def _words(content: bytes | None) -> dict[str, Any]:
    """Of a lease's file; none where it is gone or not whole."""
    try:
        words = json.loads(content or b"")
    except ValueError:
        return {}
    return words if isinstance(words, dict) else {}


@cache
def _warn_once(text: str) -> None:
    logger.warning("%s", text)
