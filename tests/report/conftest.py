from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.report.studies import PLAIN, ZHONG, BuildStore, build, build_factorial
from vireid.store import Store


@pytest.fixture
def build_store(tmp_path: Path) -> BuildStore:
    def make(seeds: Sequence[int] = (0,), **changes: object) -> Store:
        return build(tmp_path / "store", seeds, **changes)

    return make


@pytest.fixture(scope="session")
def factorial(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A whole 2⁴ study with placebo and control; read only."""
    return build_factorial(tmp_path_factory.mktemp("factorial") / "store", rerankings=(PLAIN, ZHONG))
