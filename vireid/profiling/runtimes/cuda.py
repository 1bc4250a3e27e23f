"""A CUDA device from main memory: images go there and embeddings come back within the time that is measured."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vireid.core.config import Component
from vireid.profiling.runtimes.channels_last import DTYPES, TorchSession
from vireid.profiling.runtimes.config import CudaConfig


class Cuda:
    """PyTorch on the first CUDA device; ``eager`` with ``runtime.device=cuda`` leaves the transfers out."""

    Config: ClassVar[type[Component]] = CudaConfig
    version: ClassVar[str] = CudaConfig.version

    def __init__(self, config: CudaConfig) -> None:
        self.config = config
        self.precision: str = config.precision

    def available(self) -> str | None:
        """Whether PyTorch finds a device, and it computes in bfloat16 where asked for."""
        if not torch.cuda.is_available():
            return f"PyTorch {torch.__version__} finds no CUDA device"
        if self.precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            return f"{torch.cuda.get_device_name()} has no bfloat16 instructions: use precision fp16"
        return None

    def prepare(self, module: nn.Module, example: Tensor) -> CudaSession:
        """Copy ``module``, folded, to the device."""
        return CudaSession(module, example, self.precision, fold=self.config.fold)


class CudaSession:
    """A private copy of the module on the device; float32 is float32, not TF32, unless asked for."""

    def __init__(self, module: nn.Module, example: Tensor, precision: str, *, fold: bool) -> None:
        dtype = DTYPES.get(precision, torch.float32)
        self._session = TorchSession(module, example, torch.device("cuda"), dtype, fold=fold)
        self._tf32 = precision == "tf32"

    def __call__(self, images: Tensor) -> Tensor:
        """Embeddings (B×D) of images (B×3×H×W), where the images lie."""
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=self._tf32):
            return self._session(images)
