"""PyTorch without a compiler, as fast as it goes: folded batch norms, channels-last memory, weights in their type."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vireid.core.config import Component
from vireid.profiling.export.fold import fold_batch_norms
from vireid.profiling.runtimes.config import ChannelsLastConfig

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class ChannelsLast:
    """Module calls in inference mode. In bfloat16 the weights of products are kept so, not cast at every call."""

    Config: ClassVar[type[Component]] = ChannelsLastConfig
    version: ClassVar[str] = ChannelsLastConfig.version

    def __init__(self, config: ChannelsLastConfig) -> None:
        self.config = config
        self.precision: str = config.precision

    def available(self) -> str | None:
        """Wherever PyTorch runs."""
        return None

    def prepare(self, module: nn.Module, example: Tensor) -> TorchSession:
        """Copy ``module``, folded, to the device of ``example``."""
        return TorchSession(module, example, example.device, DTYPES[self.precision], fold=self.config.fold)


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
