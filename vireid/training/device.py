"""The device of a fit, and accelerate set up for it."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState

from vireid.core.errors import UserError


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps`` into a device that this machine has.

    Raises:
        UserError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device '{name}' is not known; use auto, cpu, cuda, cuda:N or mps") from error
    if device.type == "cpu":
        return device
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) < count:
            return device
        raise UserError(f"device '{name}': this machine has {count or 'no'} CUDA devices; use device=cpu or auto")
    if device.type == "mps" and torch.backends.mps.is_available():
        return device
    raise UserError(f"device '{name}' is not available on this machine; use device=cpu or auto")


def device_kind(device: torch.device) -> str:
    """``"cpu"`` or the accelerator's name; fits of unlike kinds are never pooled."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def make_accelerator(device: torch.device, precision: str) -> Accelerator:
    """Accelerate for one fit on ``device``, in the distributed setting that the process was launched in, if any.

    Raises:
        UserError: the device cannot train in ``precision``.
    """
    if precision == "fp16" and device.type == "cpu":
        raise UserError("recipe.precision = 'fp16' needs an accelerator; on the CPU use bf16 or fp32")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UserError(f"recipe.precision = 'bf16' is not supported by {device_kind(device)}; use fp16 or fp32")
    if PartialState._shared_state and not PartialState().use_distributed:
        # accelerate keeps device and precision per process, but one process may train several configurations in turn
        AcceleratorState._reset_state(reset_partial_state=True)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="no" if precision == "fp32" else precision,
        step_scheduler_with_optimizer=False,
    )
