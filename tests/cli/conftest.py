"""Runs the command as a user would: in this process, or, where a process of its own is the point, as installed."""

import fcntl
import logging
import os
import pty
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from vireid.cli import main

ROOT = Path(__file__).parents[2]
COMMAND = str(Path(sys.executable).with_name("vireid"))
WIDTH = 200


@dataclass
class Done:
    """What ``subprocess.run`` would say."""

    returncode: int
    stdout: str
    stderr: str


class Shell:
    """A working folder with a store of its own.

    ``run`` calls the entry point in this process, with its handling of faults and exit codes: torch takes seconds to
    import, too long for a process per question. An exception that the command does not handle reaches the test.
    ``spawn`` and ``start`` run the installed command.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[str]) -> None:
        self.folder, self.columns = folder, WIDTH
        self.store = folder / "store"
        self.environment = {**os.environ, "COLUMNS": str(WIDTH), "VIREID_STORE": str(self.store)}
        self._patch, self._captured = patch, captured

    def run(self, *arguments: str) -> Done:
        self._captured.readouterr()
        threads, code = torch.get_num_threads(), 0
        with self._patch.context() as patch:
            patch.chdir(self.folder)
            patch.setenv("VIREID_STORE", str(self.store))
            patch.setenv("COLUMNS", str(self.columns))
            patch.setenv("PYTHONSAFEPATH", "")  # restored, should the command set it
            patch.setattr(sys, "argv", ["vireid", *arguments])
            patch.setattr(sys, "path", sys.path.copy())
            patch.setattr(logging.getLogger(), "handlers", [])  # warnings go to stderr, not to pytest
            patch.setattr("vireid.cli.show.console._width", self.columns)  # made with the width of the first import
            try:
                main()
            except SystemExit as leaving:
                code = leaving.code or 0
            finally:
                torch.set_num_threads(threads)
        return Done(code, *self._captured.readouterr())

    def beside(self, folder: Path) -> "Shell":
        """Another shell, in another folder."""
        return Shell(folder, self._patch, self._captured)

    def spawn(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *arguments], cwd=self.folder, capture_output=True, text=True, env=self.environment, timeout=400
        )

    def on_terminal(self, *arguments: str, columns: int = 80) -> str:
        """What the installed command shows on a terminal of that width, without colours."""
        environment = {key: value for key, value in self.environment.items() if key not in ("COLUMNS", "FORCE_COLOR")}
        reader, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.folder,
            env={**environment, "TERM": "dumb"},
            stdout=terminal,
            stderr=subprocess.DEVNULL,
        )
        os.close(terminal)
        shown = b""
        try:
            while part := os.read(reader, 65536):
                shown += part
        except OSError:  # the other end is closed
            pass
        os.close(reader)
        process.wait(timeout=60)
        return shown.decode().replace("\r\n", "\n")

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            [COMMAND, *arguments], cwd=self.folder, stdout=quiet, stderr=quiet, env=self.environment
        )


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path, monkeypatch, capsys)
