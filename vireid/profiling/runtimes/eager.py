"""PyTorch without a compiler: eager mode, the folded channels-last form, and a CUDA device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from vireid.profiling.config import ChannelsLastConfig, CudaConfig, EagerConfig
from vireid.profiling.export.formats import fold_batch_norms
from vireid.profiling.runtimes.base import RuntimeBase
from vireid.profiling.runtimes.layer_times import LayerTimes, Repeat
from vireid.profiling.runtimes.module_times import module_times


class Eager(RuntimeBase[EagerConfig]):
    """Plain module calls in inference mode, float32 or bfloat16 autocast."""

    Config = EagerConfig

    def prepare(self, module: nn.Module, example: Tensor) -> EagerSession:
        """Copy ``module`` to the device of ``example`` in evaluation mode."""
        return EagerSession(
            module, example.device, bf16=self.config.precision == "bf16", last=self.config.channels_last
        )

    def layer_times(self, module: nn.Module, example: Tensor, repeat: Repeat) -> LayerTimes:
        """Time every module by hooks."""
        session = self.prepare(module, example)
        return module_times(session.module, session, example, repeat)


class EagerSession:
    """A private copy of the module; the layout change of the input is part of what is timed."""

    def __init__(self, module: nn.Module, device: torch.device, *, bf16: bool, last: bool) -> None:
        self._layout = torch.channels_last if last else torch.contiguous_format
        self.module = deepcopy(module).eval().to(device)
        if last:
            self.module.to(memory_format=torch.channels_last)
        self._device = device
        self._bf16 = bf16

    def __call__(self, images: Tensor) -> Any:
        """Embeddings (B×D) of images (B×3×H×W)."""
        cast: AbstractContextManager[Any] = nullcontext()
        if self._bf16:
            cast = torch.autocast(self._device.type, dtype=torch.bfloat16)
        with torch.inference_mode(), cast:
            result = self.module(images.contiguous(memory_format=self._layout))
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return result


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class ChannelsLast(RuntimeBase[ChannelsLastConfig]):
    """Module calls in inference mode. In bfloat16 the weights of products are kept so, not cast at every call."""

    Config = ChannelsLastConfig

    def prepare(self, module: nn.Module, example: Tensor) -> TorchSession:
        """Copy ``module``, folded, to the device of ``example``."""
        return TorchSession(module, example, example.device, DTYPES[self.precision], fold=self.config.fold)

    def layer_times(self, module: nn.Module, example: Tensor, repeat: Repeat) -> LayerTimes:
        """Time every module by hooks."""
        session = self.prepare(module, example)
        return module_times(session.module, session, example, repeat)


class TorchSession:
    """A private copy of the module, in evaluation mode and channels-last memory.

    The layout change of the input is part of what is timed; so is the way to ``device`` and back where the images lie
    elsewhere. Convolutions and linear layers compute in ``dtype``, all else as autocast has it; embeddings are float32.

    Args:
        module: B×3×H×W → B×D.
        example: images of the size that will come.
        device: where to compute.
        dtype: of the products.
        fold: fold batch norms into convolutions.
    """

    def __init__(
        self, module: nn.Module, example: Tensor, device: torch.device, dtype: torch.dtype, *, fold: bool
    ) -> None:
        copy = fold_batch_norms(module, *example.shape[2:]) if fold else deepcopy(module).eval()
        self.module = copy.to(device)
        self.module.to(memory_format=torch.channels_last)
        self._cast: AbstractContextManager[Any] = nullcontext()
        if dtype != torch.float32:
            self._cast = torch.autocast(device.type, dtype=dtype)
            for part in self.module.modules():
                if isinstance(part, nn.Conv2d | nn.Linear):
                    part.to(dtype)
        self._device = device

    def __call__(self, images: Tensor) -> Tensor:
        """Embeddings (B×D) of images (B×3×H×W), where the images lie."""
        with torch.inference_mode(), self._cast:
            batch = images.to(self._device).contiguous(memory_format=torch.channels_last)
            result: Tensor = self.module(batch).float().to(images.device)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return result


class Cuda(RuntimeBase[CudaConfig]):
    """PyTorch on the first CUDA device; ``eager`` with ``runtime.device=cuda`` leaves the transfers out."""

    Config = CudaConfig

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
