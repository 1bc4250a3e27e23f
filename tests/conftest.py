"""What all tests share: threads and memory of a test process, and a tiny rendered set made once in it."""

import gc
import os
import shutil
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: as many workers as cores, a thread for each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.tiny import tiny


def pytest_collection_finish() -> None:
    """Take what the imports left out of the collector's sight.

    Libraries call ``gc.collect`` (statsmodels at every correction of p-values), and a walk through all that torch and
    matplotlib keep for good takes a third of a second.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of the tiny rendered set; not to be changed."""
    from vireid.experiment.context import RunContext
    from vireid.store import Store

    return RunContext(tiny(), Store(tmp_path_factory.mktemp("rendered"))).data.train.root


@pytest.fixture
def rendered_copy(rendered: Path, tmp_path: Path) -> Path:
    """A copy of the tiny rendered set that a test may damage."""
    return Path(shutil.copytree(rendered, tmp_path / "people"))
