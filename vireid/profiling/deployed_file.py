"""What is deployed, as a file that another process loads: a runtime's own, or the pickled PyTorch module."""

from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from vireid.core.errors import UserError
from vireid.profiling.runtimes.base import Session


@runtime_checkable
class StoresFiles(Protocol):
    """A runtime whose deployed form is a file of its own; of the others it is the pickled PyTorch module."""

    def store(self, module: nn.Module, example: Tensor, folder: Path) -> Path:
        """Write ``module`` for batches shaped like ``example`` into ``folder``: the file, or a folder of files."""
        ...

    def load(self, file: Path, example: Tensor) -> Session:
        """Make ready what ``store`` wrote; nothing of PyTorch's module is needed."""
        ...


def save_module(module: nn.Module, file: Path) -> None:
    """Write a module with its weights.

    Raises:
        UserError: it cannot be pickled.
    """
    try:
        torch.save(module, file)
    except Exception as error:  # pickling runs the module's own code, which may raise anything
        raise UserError(
            f"{type(module).__name__} cannot be handed to another process ({type(error).__name__}: {error}); "
            "define it and what it holds at the top of a module, or set profile.isolate=false"
        ) from error


def load_module(file: Path, device: torch.device | str) -> nn.Module:
    """Read what ``save_module`` wrote: a whole pickled module, which only this suite's own process may have made."""
    module: nn.Module = torch.load(file, map_location=device, weights_only=False)
    return module


def bytes_on_disk(path: Path) -> int:
    """Size of a file, or of the files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
