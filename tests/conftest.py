"""A tiny rendered set, made once per test process."""

import shutil
from pathlib import Path

import pytest

from tests.tiny import tiny


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of the tiny rendered set; not to be changed."""
    from vireid.experiment.data import prepare
    from vireid.store import Store

    return prepare(tiny(), Store(tmp_path_factory.mktemp("rendered"))).train.root


@pytest.fixture
def rendered_copy(rendered: Path, tmp_path: Path) -> Path:
    """A copy of the tiny rendered set that a test may damage."""
    return Path(shutil.copytree(rendered, tmp_path / "people"))
