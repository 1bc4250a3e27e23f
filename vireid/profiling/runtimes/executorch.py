"""ExecuTorch with XNNPACK, PyTorch's runtime for phones and boards, on the CPU in float32."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vireid.core.errors import UserError, optional_module
from vireid.profiling.config import ExecuTorchConfig
from vireid.profiling.export.formats import check_equal, fold_batch_norms
from vireid.profiling.runtimes.base import FileRuntime, PoolSession, missing_package, on_cpu


class ExecuTorch(FileRuntime[ExecuTorchConfig]):
    """What XNNPACK knows of the graph runs there, the rest in ExecuTorch's portable kernels."""

    Config = ExecuTorchConfig

    def available(self) -> str | None:
        """Whether the package is installed."""
        return missing_package("executorch", "edge")

    def store(self, module: nn.Module, example: Tensor, folder: Path) -> Path:
        """Lower ``module`` for the shape of ``example``.

        Raises:
            UserError: ExecuTorch cannot lower the network, or the program computes another function.
        """
        count, _, height, width = on_cpu(self.config.name, example).shape
        exir = _module("executorch.exir")
        partitioner = _module("executorch.backends.xnnpack.partition.xnnpack_partitioner").XnnpackPartitioner
        with torch.no_grad():
            program = torch.export.export(fold_batch_norms(module, height, width), (example,))
        try:
            lowered = exir.to_edge_transform_and_lower(program, partitioner=[partitioner()]).to_executorch()
        except Exception as error:  # its passes raise bare exceptions of many kinds for graphs that they do not know
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
            raise UserError(f"executorch: cannot lower this network ({reason.strip()}); use another runtime") from error
        file = folder / "model.pte"
        file.write_bytes(lowered.buffer)
        remedy = "a kernel of ExecuTorch or XNNPACK is at fault: use another runtime"
        session = ExecuTorchSession(file, torch.get_num_threads())
        check_equal(session, module, height, width, "executorch", remedy=remedy, batches=[count])
        return file

    def load(self, file: Path, example: Tensor) -> PoolSession:  # noqa: ARG002 - made for one shape
        """Load a lowered program with as many threads as PyTorch has now."""
        return PoolSession(lambda threads: ExecuTorchSession(file, threads))


class ExecuTorchSession:
    """A loaded program: images of the shape it was made for (CPU) → embedding (B×D). Threads are the process's."""

    def __init__(self, file: Path, threads: int) -> None:
        _module("executorch.extension.pybindings.portable_lib")._unsafe_reset_threadpool(threads)
        self._program = _module("executorch.runtime").Runtime.get().load_program(file)
        self._method = self._program.load_method("forward")

    def __call__(self, images: Tensor) -> Tensor:
        """One forward."""
        (embedding,) = self._method.execute([images])
        result: Tensor = embedding
        return result


def _module(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says on import that its interface may change
        return optional_module(name, "edge")
