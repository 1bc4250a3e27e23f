"""TensorRT, as an execution provider of ONNX Runtime."""

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from vireid.core.config import Component
from vireid.core.errors import UserError
from vireid.core.extras import optional_module
from vireid.profiling.export.formats import onnx_bytes
from vireid.profiling.runtimes.base import FileRuntime, PoolSession, missing_package, on_cpu
from vireid.profiling.runtimes.config import TensorRTConfig
from vireid.profiling.runtimes.onnxruntime import PACKAGES, OrtSession

PROVIDER = "TensorrtExecutionProvider"


class TensorRT(FileRuntime):
    """The first CUDA device from main memory; building the engine is part of preparing."""

    Config: ClassVar[type[Component]] = TensorRTConfig
    version: ClassVar[str] = TensorRTConfig.version

    def __init__(self, config: TensorRTConfig) -> None:
        self.config = config
        self.precision: str = config.precision

    def available(self) -> str | None:
        """Whether there is a device, and an ONNX Runtime that was built with TensorRT."""
        missing = next(filter(None, (missing_package(name, "deploy") for name in PACKAGES)), None)
        if missing is not None:
            return missing
        if not torch.cuda.is_available():
            return f"PyTorch {torch.__version__} finds no CUDA device"
        library = optional_module("onnxruntime", "deploy")
        if PROVIDER not in library.get_available_providers():
            return (
                f"onnxruntime {library.__version__} was built without TensorRT: install onnxruntime-gpu in its place, "
                "and TensorRT"
            )
        return None

    def store(self, module: nn.Module, example: Tensor, folder: Path) -> Path:
        """Export ``module`` to ONNX."""
        file = folder / "model.onnx"
        file.write_bytes(onnx_bytes(module, *on_cpu(self.config.name, example).shape[2:]))
        return file

    def load(self, file: Path, example: Tensor) -> PoolSession:
        """Build the engine for the shape of ``example``.

        Raises:
            UserError: ONNX Runtime could not load TensorRT and would compute elsewhere.
        """

        def engine(threads: int) -> OrtSession:
            settings = {"device_id": 0, "trt_fp16_enable": self.precision == "fp16"}
            session = OrtSession(file, threads, providers=[(PROVIDER, settings), "CPUExecutionProvider"])
            if PROVIDER not in session.providers:
                raise UserError(
                    "ONNX Runtime could not load TensorRT: put its libraries (libnvinfer) on the library path"
                )
            session(on_cpu(self.config.name, example))  # engines are built for the first shapes that come
            return session

        return PoolSession(engine)
