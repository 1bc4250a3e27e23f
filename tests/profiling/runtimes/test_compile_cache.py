"""Modules compiled under one set of instructions are not taken from the cache under another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.test_without_avx512 import ROOT, VARIABLES

PROGRAM = """
import torch
from tests.profiling.runtimes.graphs import HEIGHT, WIDTH, graph
from vireid.profiling.export.formats import check_images, difference
from vireid.profiling.runtimes.compile import Compile
module, images = graph("plain"), check_images(1, HEIGHT, WIDTH)
with torch.inference_mode():
    expected = module(images)
print(difference(Compile(Compile.Config(name="compile")).prepare(module, images)(images), expected))
"""


@pytest.mark.check
def test_a_cache_written_under_other_instructions_is_not_read(tmp_path: Path) -> None:
    """PyTorch would free frozen weights of AVX2's layout twice where kernels of AVX-512 read them, or crash."""
    for limits in (VARIABLES, {}, VARIABLES):
        environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        environment |= {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path), **limits}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert float(done.stdout.splitlines()[-1]) <= 1e-4
    assert len(list(tmp_path.glob("kernels-*"))) == 2
