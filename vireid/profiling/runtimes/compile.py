"""``torch.compile`` with the inductor back end: generated C++ kernels around oneDNN's convolutions."""

import hashlib
import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._inductor.runtime.cache_dir_utils import cache_dir

from vireid.core.processor import cpu_model, kernel_flags
from vireid.profiling.config import CompileConfig
from vireid.profiling.export.formats import fold_batch_norms
from vireid.profiling.runtimes.base import PoolSession, RuntimeBase

_COMPILERS = ("g++", "clang++", "c++", "cl")
_CAPABILITIES = (
    "ATEN_CPU_CAPABILITY",
    "MKL_ENABLE_INSTRUCTIONS",
)  # they too decide which kernels a module is compiled for


class Compile(RuntimeBase[CompileConfig]):
    """The module compiled for the shape of the example and the number of threads."""

    Config = CompileConfig

    def available(self) -> str | None:
        """Whether there is a C++ compiler."""
        wanted = [os.environ["CXX"]] if "CXX" in os.environ else _COMPILERS
        if not any(shutil.which(name) for name in wanted):
            return f"needs a C++ compiler ({', '.join(wanted)}), and none is on the PATH: install g++ or set CXX"
        return None

    def prepare(self, module: nn.Module, example: Tensor) -> PoolSession:
        """Compile ``module``: tens of seconds for a ResNet-50, less where PyTorch's cache on disk has it."""
        _use_cache_of_these_kernels()
        copy = fold_batch_norms(module, *example.shape[2:]).to(example.device)
        return PoolSession(lambda _: CompiledSession(copy, example, self.precision, freezing=self.config.freezing))


class CompiledSession:
    """One compiled module; generated loops have as many threads as PyTorch had when it was compiled."""

    def __init__(self, module: nn.Module, example: Tensor, precision: str, *, freezing: bool) -> None:
        self._device = example.device
        self._cast: AbstractContextManager[Any] = nullcontext()
        if precision == "bf16":
            self._cast = torch.autocast(self._device.type, dtype=torch.bfloat16)

        def forward(images: Tensor) -> Any:
            return module(images)

        # PyTorch counts compilations by the code object they start from, and gives up after a few.
        forward.__code__ = forward.__code__.replace()
        self._compiled = torch.compile(forward, fullgraph=True, dynamic=False, options={"freezing": freezing})
        self(example)

    def __call__(self, images: Tensor) -> Tensor:
        """Embeddings (B×D) of images (B×3×H×W)."""
        with torch.no_grad(), self._cast:  # inductor freezes weights only outside inference mode
            result: Tensor = self._compiled(images)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return result


def _use_cache_of_these_kernels() -> None:
    """Give every set of instructions a compilation cache of its own.

    PyTorch looks compiled modules up by graph and weights alone, but a frozen module holds weights packed for the
    kernels of one instruction set. Read under another (a home directory shared by unlike machines, a limit set for one
    run), they are too short for its kernels, which then write past their end.
    """
    limits = [f"{name}={os.environ.get(name, '')}" for name in _CAPABILITIES]
    kernels = "\n".join([cpu_model(), *sorted(kernel_flags()), *limits])
    name = f"kernels-{hashlib.sha256(kernels.encode()).hexdigest()[:12]}"
    directory = Path(cache_dir())
    if directory.name != name:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(directory / name)
