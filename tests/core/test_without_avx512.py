"""The core of the suite as processors without AVX-512 compute it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VARIABLES = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
TESTS = ("tests/core", "tests/losses", "tests/evaluation/test_metrics.py", "tests/training/test_loop.py")


@pytest.mark.check
def test_core_passes_with_avx2_alone():
    """In a process of its own: libraries read these variables when they are loaded."""
    command = [sys.executable, "-m", "pytest", "-m", "not check", "-p", "no:xdist", *TESTS]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **VARIABLES}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
