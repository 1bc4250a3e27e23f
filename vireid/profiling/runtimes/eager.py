"""PyTorch eager mode: the reference that every other runtime is compared with."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vireid.core.config import Component
from vireid.profiling.runtimes.config import EagerConfig


class Eager:
    """Plain module calls in inference mode, float32 or bfloat16 autocast."""

    Config: ClassVar[type[Component]] = EagerConfig
    version: ClassVar[str] = EagerConfig.version

    def __init__(self, config: EagerConfig) -> None:
        self.config = config
        self.precision: str = config.precision

    def available(self) -> str | None:
        """Eager mode runs wherever PyTorch does."""
        return None

    def prepare(self, module: nn.Module, example: Tensor) -> EagerSession:
        """Copy ``module`` to the device of ``example`` in evaluation mode."""
        return EagerSession(
            module, example.device, bf16=self.config.precision == "bf16", last=self.config.channels_last
        )


class EagerSession:
    """A private copy of the module; the layout change of the input is part of what is timed."""

    def __init__(self, module: nn.Module, device: torch.device, *, bf16: bool, last: bool) -> None:
        self._layout = torch.channels_last if last else torch.contiguous_format
        self._module = deepcopy(module).eval().to(device)
        if last:
            self._module.to(memory_format=torch.channels_last)
        self._device = device
        self._bf16 = bf16

    def __call__(self, images: Tensor) -> Any:
        """Embeddings (B×D) of images (B×3×H×W)."""
        cast: AbstractContextManager[Any] = nullcontext()
        if self._bf16:
            cast = torch.autocast(self._device.type, dtype=torch.bfloat16)
        with torch.inference_mode(), cast:
            result = self._module(images.contiguous(memory_format=self._layout))
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return result
