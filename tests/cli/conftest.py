"""Runs the installed command as a user would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = str(Path(sys.executable).with_name("vireid"))


class Shell:
    """A working folder with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.environment = {**os.environ, "COLUMNS": "200", "VIREID_STORE": str(self.store)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *arguments], cwd=self.folder, capture_output=True, text=True, env=self.environment, timeout=400
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            [COMMAND, *arguments], cwd=self.folder, stdout=quiet, stderr=quiet, env=self.environment
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)
