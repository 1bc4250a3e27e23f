"""ONNX Runtime: on the CPU, float32 or quantised to int8, and with TensorRT as its execution provider."""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vireid.core.errors import UserError, optional_module
from vireid.profiling.config import OnnxRuntimeConfig, Optimisation, TensorRTConfig
from vireid.profiling.export.formats import INPUT, onnx_bytes, onnx_modules
from vireid.profiling.quantisation import quantise_onnx
from vireid.profiling.runtimes.base import FileRuntime, PoolSession, Quantising, missing_package, on_cpu
from vireid.profiling.runtimes.layer_times import LayerTimes, Repeat, typical
from vireid.profiling.runtimes.onnxruntime_events import node_times

_LEVELS = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class OnnxRuntime(Quantising[OnnxRuntimeConfig]):
    """The CPU execution provider on the graph that ``vireid export`` writes."""

    Config = OnnxRuntimeConfig

    def available(self) -> str | None:
        """Whether the packages are installed."""
        missing = (missing_package(name, "deploy") for name in PACKAGES)
        return next(filter(None, missing), None) or self.missing_quantiser()

    def store(self, module: nn.Module, example: Tensor, folder: Path) -> Path:
        """Export ``module``, quantised where the precision asks for it; the file takes any number of images."""
        file = folder / "model.onnx"
        height, width = on_cpu(self.config.name, example).shape[2:]
        content = onnx_bytes(module, height, width, self.metadata)
        if self.config.quantisation is not None:
            content = quantise_onnx(content, self.calibration_images(example), self.config.quantisation)
        file.write_bytes(content)
        return file

    def load(self, file: Path, example: Tensor) -> PoolSession:  # noqa: ARG002 - any number of images
        """Load an exported file with as many threads as PyTorch has now."""
        return PoolSession(lambda threads: OrtSession(file, threads, self.config.optimisation))

    def layer_times(self, module: nn.Module, example: Tensor, repeat: Repeat) -> LayerTimes:
        """Time the nodes of the optimised graph by ONNX Runtime's own profile."""
        threads = torch.get_num_threads()
        with tempfile.TemporaryDirectory(prefix="vireid-layers-") as name:
            file = self.store(module, example, Path(name))
            modules = onnx_modules(module, *example.shape[2:])
            session = OrtSession(file, threads, self.config.optimisation)
            plain = repeat(lambda: session(example))
            watched = OrtSession(file, threads, self.config.optimisation, profile=Path(name) / "events")
            profiled = repeat(lambda: watched(example))
            layers = node_times(watched.events(), file, modules, profiled)
        return LayerTimes(layers, typical(profiled), typical(plain), "ONNX Runtime's profile")


class OrtSession:
    """A loaded ONNX file: images (B×3×H×W, float32, CPU) → embedding (B×D).

    Args:
        model: the file.
        threads: of the operators; they run one after the other.
        optimisation: of the graph, at load.
        providers: execution providers, best first, with their options.
        profile: where to write the events of every run, a prefix of a file's name; None: nowhere.
    """

    def __init__(
        self,
        model: Path,
        threads: int,
        optimisation: Optimisation = "all",
        providers: list[Any] | None = None,
        profile: Path | None = None,
    ) -> None:
        library = optional_module("onnxruntime", "deploy")
        options = library.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = library.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = getattr(library.GraphOptimizationLevel, _LEVELS[optimisation])
        options.log_severity_level = 3
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        self._session = library.InferenceSession(str(model), options, providers=providers or ["CPUExecutionProvider"])

    @property
    def providers(self) -> list[str]:
        """Those in use: ONNX Runtime leaves out, with no more than a warning, what it cannot load."""
        names: list[str] = self._session.get_providers()
        return names

    def events(self) -> list[dict[str, Any]]:
        """End the profile that was asked for: its events, in order."""
        content: list[dict[str, Any]] = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))
        return content

    def __call__(self, images: Tensor) -> Tensor:
        """One forward."""
        (embedding,) = self._session.run(None, {INPUT: images.numpy()})
        return torch.from_numpy(embedding)


PROVIDER = "TensorrtExecutionProvider"


class TensorRT(FileRuntime[TensorRTConfig]):
    """The first CUDA device from main memory; building the engine is part of preparing."""

    Config = TensorRTConfig

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
