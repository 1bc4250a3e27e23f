"""A runtime that takes as much memory as its file says, beside a library of its own that takes 150 MiB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from tests.profiling.stored_runtime import Stored
from vireid.core.config import Component

MEBIBYTE = 2**20
LIBRARY: list[Any] = []


class GreedyConfig(Component):
    name: str = "tests.profiling.memory_runtime:Greedy"


class Greedy(Stored):
    Config = GreedyConfig

    def store(self, module: nn.Module, example: Tensor, folder: Path) -> Path:
        file = folder / "size.txt"
        file.write_text(str(getattr(module, "mebibytes", 0)))
        return file

    def load(self, file: Path, example: Tensor) -> Any:
        if not LIBRARY:
            LIBRARY.append(np.ones(150 * MEBIBYTE, dtype=np.uint8))
        held = np.ones(int(file.read_text()) * MEBIBYTE, dtype=np.uint8)
        return lambda images: images.mean(dim=(2, 3)) * int(held[:1].sum() if len(held) else 1)
