"""Trackers: where learning curves go while a fit runs, beside its own record. Each is one file, and a line here."""

from vireid.core.registry import Registry

TRACKERS = Registry(
    "tracker",
    {"tensorboard": "vireid.tracking.tensorboard:TensorBoardTracker"},
    {"tensorboard": "vireid.tracking.config:TensorBoardConfig"},
)
