"""OpenVINO on the CPU, float32, bfloat16 or quantised to int8."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vireid.core.errors import optional_module
from vireid.profiling.config import OpenVinoConfig
from vireid.profiling.export.formats import onnx_bytes, write_ir
from vireid.profiling.quantisation import write_quantised_ir
from vireid.profiling.runtimes.base import PoolSession, Quantising, missing_package, on_cpu

PACKAGES = ("onnx", "onnxscript", "openvino")
NAME = "model.xml"
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # of what is not quantised


class OpenVino(Quantising[OpenVinoConfig]):
    """The CPU plug-in on the graph that ``vireid export`` writes, tuned for the latency of one stream."""

    Config = OpenVinoConfig

    def available(self) -> str | None:
        """Whether the packages are installed and the plug-in computes in this precision here."""
        missing = next(filter(None, (missing_package(name, "deploy") for name in PACKAGES)), None)
        missing = missing or self.missing_quantiser()
        if missing is not None or self.precision != "bf16":
            return missing
        core = optional_module("openvino", "deploy").Core()
        name, able = (core.get_property("CPU", key) for key in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES"))
        return None if "BF16" in able else f"OpenVINO does not compute in bfloat16 on {name}: use precision fp32"

    def store(self, module: nn.Module, example: Tensor, folder: Path) -> Path:
        """Export ``module`` as a folder with OpenVINO's intermediate representation."""
        content = onnx_bytes(module, *on_cpu(self.config.name, example).shape[2:])
        if self.quantisation is None:
            write_ir(content, folder / NAME, self.metadata)
        else:
            images = self.calibration_images(example)
            write_quantised_ir(content, folder / NAME, images, self.quantisation, self.metadata)
        return folder

    def load(self, file: Path, example: Tensor) -> PoolSession:
        """Compile what ``store`` wrote for the shape of ``example`` and as many threads as PyTorch has now."""
        library = optional_module("openvino", "deploy")
        shape = list(on_cpu(self.config.name, example).shape)

        def compiled(threads: int) -> OpenVinoSession:
            model = library.Core().read_model(file / NAME)
            model.reshape(shape)
            return OpenVinoSession(model, threads, _HINTS[self.precision])

        return PoolSession(compiled)


class OpenVinoSession:
    """A compiled model: images (B×3×H×W, float32, CPU) → embedding (B×D).

    Args:
        model: an OpenVINO model, or the path of one.
        threads: of the inference.
        hint: ``f32``, or ``bf16`` where layers may compute in it.
    """

    def __init__(self, model: Any, threads: int, hint: str = "f32") -> None:
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": hint,
        }
        self._compiled = optional_module("openvino", "deploy").Core().compile_model(model, "CPU", settings)
        self._request = self._compiled.create_infer_request()

    def property(self, name: str) -> Any:
        """What the plug-in made of a setting."""
        return self._compiled.get_property(name)

    def __call__(self, images: Tensor) -> Tensor:
        """One forward."""
        self._request.infer([images.numpy()], share_inputs=True)
        return torch.from_numpy(self._request.get_output_tensor(0).data.copy())
