"""Checkpoints: one file, replaced in one step, that holds everything a fit needs to go on as if never stopped."""

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn

from vireid.core.errors import UserError
from vireid.training import WEIGHTS

CHECKPOINT = "checkpoint.pt"
_FORMAT = 1


@dataclass(slots=True)
class Progress:
    """What a fit has measured so far."""

    epoch: int = 0  # finished epochs
    curves: list[dict[str, Any]] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    peak_memory_bytes: int | None = None


class Checkpoint:
    """The last checkpoint of a run directory. ``resume_key`` (a run id) says whose it is."""

    def __init__(self, directory: Path, resume_key: str) -> None:
        """Make ``directory`` and see that it can be written, before any time is spent on training.

        Raises:
            UserError: it cannot.
        """
        self.path = directory / CHECKPOINT
        self._key = resume_key
        try:
            directory.mkdir(parents=True, exist_ok=True)
            probe = directory / f".writable.{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"run directory {directory} cannot be written ({error.strerror or error}); choose another output "
                "directory or change its permissions"
            ) from error

    def save(self, progress: Progress, states: dict[str, Any]) -> None:
        """Replace the checkpoint.

        Args:
            progress: measured so far.
            states: state dicts by name (model, weighting, optimiser, …).

        Raises:
            UserError: the disk is full or read-only; the previous checkpoint stays.
        """
        content = {
            "format": _FORMAT,
            "resume_key": self._key,
            "epoch": progress.epoch,
            "curves": progress.curves,
            "step_seconds": torch.tensor(progress.step_seconds, dtype=torch.float64),
            "seconds": progress.seconds,
            "peak_memory_bytes": progress.peak_memory_bytes,
            "states": states,
        }
        _replace(self.path, lambda file: torch.save(content, file))

    def load(self) -> tuple[Progress, dict[str, Any]] | None:
        """Progress and states (on the CPU) of an earlier call, or None where there is none.

        Raises:
            UserError: the file is damaged, or belongs to another run.
        """
        if not self.path.exists():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            key, version = content["resume_key"], content["format"]
        except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
            raise UserError(f"checkpoint {self.path} cannot be read; delete it to train from the start") from error
        if version != _FORMAT:
            raise UserError(
                f"checkpoint {self.path} has format {version}, this version reads {_FORMAT}; delete it to train anew"
            )
        if key != self._key:
            raise UserError(
                f"checkpoint {self.path} belongs to run {key}, not to {self._key}: use another directory, or delete it "
                "to train from the start"
            )
        progress = Progress(
            epoch=content["epoch"],
            curves=content["curves"],
            step_seconds=content["step_seconds"].tolist(),
            seconds=content["seconds"],
            peak_memory_bytes=content["peak_memory_bytes"],
        )
        return progress, content["states"]


def save_weights(model: nn.Module, directory: Path) -> Path:
    """Write the model's state as ``model.safetensors``, atomically; every tensor contiguous and on its own.

    Raises:
        UserError: the disk is full or read-only.
    """
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    path = directory / WEIGHTS
    _replace(path, lambda file: file.write(safetensors_bytes(state)))
    return path


def discard_checkpoint(directory: Path) -> None:
    """Delete the checkpoint of a run whose record is safely written; its final weights stay."""
    (directory / CHECKPOINT).unlink(missing_ok=True)


def _replace(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write beside ``path`` and rename, so that a reader or a kill at any moment sees the old file or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        for stale in path.parent.glob(f".{path.name}.*.partial"):  # left by a kill
            stale.unlink()
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch wraps a failed write in a RuntimeError
        partial.unlink(missing_ok=True)
        cause = error if isinstance(error, OSError) else error.__context__
        reason = (cause.strerror or str(cause)) if isinstance(cause, OSError) else str(error).splitlines()[0]
        raise UserError(
            f"{path} cannot be written ({reason}); free disk space or check permissions, then run again"
        ) from error
