"""A rendered set of a few people, and a store on it, shared by the tests of a process."""

from pathlib import Path

import pytest

from vireid.config import ExperimentConfig, compose
from vireid.store import Store

TINY = (
    "data=sysu_quick",
    "data.synthetic.train_ids=6",
    "data.synthetic.val_ids=5",
    "data.synthetic.test_ids=4",
    "data.synthetic.visible_per_camera=2",
    "data.synthetic.infrared_per_camera=3",
    "data.synthetic.height=64",
    "data.synthetic.width=32",
    "data.height=64",
    "data.width=32",
    "model=idkl_small",
    "model.width=0.125",
    "recipe=smoke",
    "profile.batches=[1]",
    "runtime.threads=1",
    "runtime.workers=1",
)


def tiny(*overrides: str) -> ExperimentConfig:
    return compose([*TINY, *overrides], "test")


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of the tiny rendered set, made once."""
    from vireid.experiment.data import prepare

    store = Store(tmp_path_factory.mktemp("rendered"))
    return prepare(tiny(), store).train.root
