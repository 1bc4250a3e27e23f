"""Runtimes whose deployed form is a file of their own."""

import shutil
import tempfile
import weakref
from pathlib import Path

from torch import Tensor, nn

from vireid.profiling.runtimes.base import Session


class FileRuntime:
    """Base of runtimes that write a model's file first and then load it: they implement ``store`` and ``load``."""

    def store(self, module: nn.Module, example: Tensor, folder: Path) -> Path:
        """Write ``module`` for batches shaped like ``example`` into ``folder``: the file, or a folder of files."""
        raise NotImplementedError

    def load(self, file: Path, example: Tensor) -> Session:
        """Make ready what ``store`` wrote, with as many threads as PyTorch has now; PyTorch's module is not needed."""
        raise NotImplementedError

    def prepare(self, module: nn.Module, example: Tensor) -> Session:
        """Store ``module`` in a temporary folder, which lasts as long as the session, and load it."""
        folder = tempfile.mkdtemp(prefix="vireid-runtime-")
        try:
            session = self.load(self.store(module, example, Path(folder)), example)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        weakref.finalize(session, shutil.rmtree, folder, ignore_errors=True)
        return session
