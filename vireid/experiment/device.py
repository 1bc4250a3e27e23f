"""Where a run computes: device and CPU threads."""

from __future__ import annotations

import os

import torch

from vireid.config import ExperimentConfig


def device_of(config: ExperimentConfig) -> torch.device:
    """The device that a run uses: ``runtime.device``, or an accelerator where there is one."""
    if config.runtime.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.runtime.device)


def threads_of(config: ExperimentConfig) -> int:
    """CPU threads that a run uses."""
    return config.runtime.threads or os.cpu_count() or 1
