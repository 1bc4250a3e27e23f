"""The configuration of a few small rendered people, which tests share."""

from vireid.config import ExperimentConfig, compose

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
