"""ncnn, a runtime for phones and boards, on the CPU in float32; models are converted by its own tool, pnnx."""

import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vireid.core.errors import UserError, optional_module
from vireid.profiling.complexity import example_images
from vireid.profiling.config import NcnnConfig
from vireid.profiling.export.formats import check_equal, fold_batch_norms
from vireid.profiling.runtimes.base import FileRuntime, PoolSession, missing_package, on_cpu

GRAPH, WEIGHTS = "model.param", "model.bin"
_INPUT, _OUTPUT = "in0", "out0"  # as pnnx names them
_REMEDY = "pnnx has no right form of this graph, or ncnn not its layers: use another runtime"
_HALF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")


class Ncnn(FileRuntime[NcnnConfig]):
    """ncnn knows single images: those of a batch run one after the other."""

    Config = NcnnConfig

    def available(self) -> str | None:
        """Whether the packages are installed."""
        return next(filter(None, (missing_package(name, "edge") for name in ("ncnn", "pnnx"))), None)

    def store(self, module: nn.Module, example: Tensor, folder: Path) -> Path:
        """Convert ``module`` for one image of the size of ``example``: a folder with graph and weights.

        Raises:
            UserError: pnnx failed, or made another function of the graph, as it does of non-local blocks.
        """
        height, width = on_cpu(self.config.name, example).shape[2:]
        image = example_images(1, height, width)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing is on its way out; pnnx reads nothing else
            torch.jit.trace(fold_batch_norms(module, height, width), image).save(folder / "traced.pt")  # type: ignore[no-untyped-call]
        tool = optional_module("pnnx", "edge").EXEC_PATH
        shape = f"inputshape=[1,3,{height},{width}]"
        targets = [f"ncnnparam={folder / GRAPH}", f"ncnnbin={folder / WEIGHTS}"]
        done = subprocess.run(
            [tool, "traced.pt", shape, "fp16=0", *targets], cwd=folder, capture_output=True, text=True, check=False
        )
        for file in folder.iterdir():
            if file.name not in (GRAPH, WEIGHTS):
                file.unlink()
        if done.returncode != 0 or not (folder / WEIGHTS).is_file():
            output = (done.stderr or done.stdout).strip()[-300:]
            raise UserError(f"pnnx could not convert {type(module).__name__} (exit status {done.returncode}): {output}")
        check_equal(NcnnSession(folder, 1), module, height, width, "ncnn", remedy=_REMEDY, batches=[2])
        return folder

    def load(self, file: Path, example: Tensor) -> PoolSession:  # noqa: ARG002 - made for one size
        """Load what ``store`` wrote with as many threads as PyTorch has now."""
        return PoolSession(lambda threads: NcnnSession(file, threads))


class NcnnSession:
    """A loaded network: images (B×3×H×W, float32, CPU) → embedding (B×D)."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._library = optional_module("ncnn", "edge")
        self._net = self._library.Net()
        self._net.opt.num_threads = threads
        for name in _HALF:
            setattr(self._net.opt, name, False)
        for load, file in ((self._net.load_param, folder / GRAPH), (self._net.load_model, folder / WEIGHTS)):
            if (status := load(str(file))) != 0:
                raise UserError(f"ncnn could not read {file} (status {status}): {_REMEDY}")

    def __call__(self, images: Tensor) -> Tensor:
        """One forward per image."""
        return torch.from_numpy(np.stack([self._embed(image) for image in images.contiguous().numpy()]))

    def _embed(self, image: Any) -> Any:
        with self._net.create_extractor() as extractor:
            extractor.input(_INPUT, self._library.Mat(image))
            status, embedding = extractor.extract(_OUTPUT)
            if status != 0:
                raise UserError(f"ncnn could not compute '{_OUTPUT}' (status {status}): {_REMEDY}")
            return np.array(embedding)  # a copy: the extractor's memory goes with it
