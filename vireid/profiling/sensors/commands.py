"""Running a board's own tools (``vcgencmd`` of the Raspberry Pi, ``tegrastats`` of the Jetson)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence

SECONDS = 2.0  # a tool that has not answered by then is taken for absent

Run = Callable[[Sequence[str]], "str | None"]  # quoted: this line is evaluated, and Python 3.9 has no such union


def run_command(command: Sequence[str]) -> str | None:
    """First lines that a command prints within two seconds; None where it is absent, fails or stays silent.

    A command that never ends (``tegrastats``) is stopped then, and what it has printed so far counts.
    """
    path = shutil.which(command[0])
    if path is None:
        return None
    try:
        result = subprocess.run(
            [path, *command[1:]], capture_output=True, text=True, timeout=SECONDS, check=True, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        printed = error.stdout
        text = printed.decode(errors="replace") if isinstance(printed, bytes) else printed
        return text or None
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout or None
