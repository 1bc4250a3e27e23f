"""A runtime with a file of its own: what it loads is the file, not the module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vireid.core.config import Component


class StoredConfig(Component):
    name: str = "tests.profiling.stored_runtime:Stored"


class Stored:
    Config = StoredConfig
    version = "1"
    precision = "fp32"

    def __init__(self, config: StoredConfig) -> None:
        self.config = config

    def available(self) -> str | None:
        return None

    def prepare(self, module: nn.Module, example: Tensor) -> Any:
        raise AssertionError("an isolated session comes from the file")

    def store(self, module: nn.Module, example: Tensor, folder: Path) -> Path:
        file = folder / "factor.txt"
        file.write_text("3" * 1000)
        return file

    def load(self, file: Path, example: Tensor) -> Any:
        factor = float(file.read_text()[0])
        return lambda images: images.mean(dim=(2, 3)) * factor
