"""OpenVINO on the CPU, float32, bfloat16 or quantised to int8."""

import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from vireid.core.errors import optional_module
from vireid.profiling.config import OpenVinoConfig
from vireid.profiling.export.formats import onnx_bytes, onnx_modules, write_ir
from vireid.profiling.quantisation import write_quantised_ir
from vireid.profiling.runtimes.base import PoolSession, Quantising, missing_package, on_cpu
from vireid.profiling.runtimes.layer_times import LayerTimes, Repeat, typical
from vireid.profiling.runtimes.openvino_counters import counted_layers
from vireid.profiling.sampling import timed

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
        if self.config.quantisation is None:
            write_ir(content, folder / NAME, self.metadata)
        else:
            images = self.calibration_images(example)
            write_quantised_ir(content, folder / NAME, images, self.config.quantisation, self.metadata)
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

    def layer_times(self, module: nn.Module, example: Tensor, repeat: Repeat) -> LayerTimes:
        """Time the nodes of the compiled graph by OpenVINO's counters, which give the mean over all forwards."""
        library, threads = optional_module("openvino", "deploy"), torch.get_num_threads()
        with tempfile.TemporaryDirectory(prefix="vireid-layers-") as name:
            file = self.store(module, example, Path(name)) / NAME
            modules = onnx_modules(module, *example.shape[2:])
            model = library.Core().read_model(file)
            model.reshape(list(example.shape))
            session = OpenVinoSession(model, threads, _HINTS[self.precision])
            plain = repeat(lambda: session(example))
            watched = OpenVinoSession(model, threads, _HINTS[self.precision], counters=True)
            every: list[float] = []  # warm-up too, which the counters cannot leave out
            repeat(lambda: every.append(timed(lambda: watched(example))))
            layers = counted_layers(watched.counters(), watched.graph(), modules)
        method = "OpenVINO's counters, in whole microseconds, mean over all forwards with those that warm up"
        return LayerTimes(layers, fmean(every), typical(plain), method)


class OpenVinoSession:
    """A compiled model: images (B×3×H×W, float32, CPU) → embedding (B×D).

    Args:
        model: an OpenVINO model, or the path of one.
        threads: of the inference.
        hint: ``f32``, or ``bf16`` where layers may compute in it.
        counters: time every node.
    """

    def __init__(self, model: Any, threads: int, hint: str = "f32", *, counters: bool = False) -> None:
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": hint,
            "PERF_COUNT": counters,
        }
        self._compiled = optional_module("openvino", "deploy").Core().compile_model(model, "CPU", settings)
        self._request = self._compiled.create_infer_request()

    def property(self, name: str) -> Any:
        """What the plug-in made of a setting."""
        return self._compiled.get_property(name)

    def graph(self) -> Any:
        """What is executed, as an OpenVINO model whose nodes tell what they were made from."""
        return self._compiled.get_runtime_model()

    def counters(self) -> dict[str, float]:
        """Seconds of each executed node by its name, the mean over all forwards so far."""
        told = self._request.get_profiling_info()
        return {node.node_name: node.real_time.total_seconds() for node in told if node.status == node.EXECUTED}

    def __call__(self, images: Tensor) -> Tensor:
        """One forward."""
        self._request.infer([images.numpy()], share_inputs=True)
        return torch.from_numpy(self._request.get_output_tensor(0).data.copy())
