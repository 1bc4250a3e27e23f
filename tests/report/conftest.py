from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.report.studies import BuildStore, build
from vireid.store import Store


@pytest.fixture
def build_store(tmp_path: Path) -> BuildStore:
    def make(seeds: Sequence[int] = (0,), **changes: object) -> Store:
        return build(tmp_path / "store", seeds, **changes)

    return make
