from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

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


@pytest.fixture
def pdf() -> None:
    """Asked for by tests of the PDF copies themselves; see ``undrawn_pdf``."""


@pytest.fixture(autouse=True)
def undrawn_pdf(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no PDF copies of figures: cutting fonts takes most of the time of a figure, and the SVG is drawn anyway.

    Whole reports, which a process of their own draws, have both.
    """
    if "pdf" in request.fixturenames:
        return
    draw = Figure.savefig

    def save(self: Figure, target: Any, **how: Any) -> None:
        if how.get("format") == "pdf":
            target.write(b"%PDF of a test")
        else:
            draw(self, target, **how)

    monkeypatch.setattr(Figure, "savefig", save)
