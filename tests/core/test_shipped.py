"""Where studies, notebooks, records and trunks lie, in a checkout and in a wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.core import shipped as module
from vireid.core.shipped import shipped


def test_a_checkout_has_them_beside_the_package() -> None:
    assert (shipped("ablations") / "quick.yaml").is_file()
    assert shipped("results/trunks") == Path(__file__).parents[2] / "results" / "trunks"


@pytest.mark.parametrize("checkout", [True, False])
def test_the_checkout_comes_first(tmp_path: Path, checkout: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "vireid")
    if checkout:
        (tmp_path / "pyproject.toml").write_text("")
    expected = tmp_path / "ablations" if checkout else tmp_path / "vireid" / "shipped" / "ablations"
    assert shipped("ablations") == expected
