"""The configuration of a few small rendered people, which tests share."""

from vireid.config import ExperimentConfig
from vireid.overrides import compose

WIDTH = "model.width=0.125"
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
    WIDTH,
    "recipe=smoke",
    "profile.batches=[1]",
    "runtime.threads=1",
    "runtime.workers=1",
)


def tiny(*overrides: str, scaled: bool = True) -> ExperimentConfig:
    """The configuration with ``overrides``; ``scaled=False`` for a model whose channels no width scales."""
    return compose([text for text in (*TINY, *overrides) if scaled or text != WIDTH], "test")
