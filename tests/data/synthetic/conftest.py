from pathlib import Path

import pytest

from vireid.data.synthetic.dataset import write_dataset

from .helpers import tiny


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One tiny dataset of each layout, written once."""
    base = tmp_path_factory.mktemp("synthetic")
    return {layout: write_dataset(base / layout, tiny(layout)) for layout in ("sysu", "regdb", "llcm")}
