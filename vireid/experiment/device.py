"""Where a run computes: device, CPU threads, and whether the device computes in the precisions asked for."""

import os

import torch

from vireid.config import ExperimentConfig
from vireid.core.errors import UserError
from vireid.core.processor import emulated


def device_of(config: ExperimentConfig) -> torch.device:
    """The device that a run uses: ``runtime.device``, or an accelerator where there is one."""
    if config.runtime.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.runtime.device)


def threads_of(config: ExperimentConfig) -> int:
    """CPU threads that a run uses."""
    return config.runtime.threads or os.cpu_count() or 1


def check_precisions(config: ExperimentConfig) -> None:
    """Refuse precisions of training and of deployed evaluation that this processor would emulate.

    Emulated bfloat16 takes ten times as long as float32, so it is refused before anything is rendered or trained.
    Runtimes of a profile are not refused: they are skipped, with the reason on record.

    Raises:
        UserError: naming the key, the processor, what it lacks and both remedies; fp16 without an accelerator.
    """
    on_cpu = device_of(config).type == "cpu"
    if on_cpu and config.recipe.precision == "fp16":
        raise UserError(
            "recipe.precision = fp16: its loss scaling is for accelerators, no processor trains in it: set "
            "recipe.precision=fp32"
        )
    if config.runtime.emulate:
        return
    wanted = [
        ("evaluation.deployed", "precision", getattr(part, "precision", "fp32")) for part in config.evaluation.deployed
    ]
    if on_cpu:
        wanted.insert(0, ("recipe.precision", "recipe.precision", config.recipe.precision))
    for key, remedy, precision in wanted:
        if (reason := emulated(precision)) is not None:
            raise UserError(
                f"{key} = {precision}: {reason}: set {remedy}=fp32, or runtime.emulate=true to have it emulated, "
                "slower than fp32"
            )
