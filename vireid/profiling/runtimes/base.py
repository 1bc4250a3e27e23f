"""The contract of a runtime, and what runtimes share: files, threads, calibration, reasons why one cannot run."""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from vireid.core.config import Component
from vireid.core.errors import Extra, UserError, not_installed
from vireid.core.processor import emulated
from vireid.core.registry import Configured
from vireid.core.types import FloatArray
from vireid.profiling.config import IntegerConfig
from vireid.profiling.export.formats import check_images


class Session(Protocol):
    """A model made ready to run. Returns only when the work is done, also on an accelerator."""

    def __call__(self, images: Tensor) -> Any:
        """Run on one batch (B×3×H×W)."""
        ...


class Runtime(Protocol):
    """Built as ``Class(config)``. ``precision`` names the arithmetic, for records."""

    Config: ClassVar[type[Component]]
    version: ClassVar[str]
    precision: str

    def available(self) -> str | None:
        """None if it can run here, else the reason why not (a missing package, no such device).

        That the processor computes in ``precision`` is asked beside it (``vireid.profiling.runtimes.base``).
        """
        ...

    def prepare(self, module: nn.Module, example: Tensor) -> Session:
        """Make ``module`` ready for batches shaped like ``example``, on its device; ``module`` stays as it is.

        A runtime with threads of its own takes as many as PyTorch has when this is called, and follows it where that
        number has changed by the time the session runs (``vireid.profiling.runtimes.base``).
        """
        ...


def on_cpu(runtime: str, example: Tensor) -> Tensor:
    """``example`` if it lies in main memory.

    Raises:
        UserError: it does not, and ``runtime`` takes images from nowhere else.
    """
    if example.device.type != "cpu":
        raise UserError(
            f"runtime '{runtime}' takes images from main memory, not from {example.device}: set runtime.device=cpu"
        )
    return example


def missing_package(module: str, extra: Extra) -> str | None:
    """None if a module is installed, else how to bring it."""
    return None if find_spec(module) is not None else not_installed(module, extra)


def unavailable(runtime: Runtime, device: str = "cpu", *, emulate: bool = False) -> str | None:
    """None if a runtime can run here in its precision, else the reason why not.

    Args:
        runtime: one of the suite's, or a plug-in.
        device: kind of the device that it would run on: ``cpu``, or an accelerator, of which the runtime knows itself.
        emulate: let the processor compute in a precision that it has no instructions for.
    """
    if device == "cpu" and not emulate and (reason := emulated(runtime.precision)) is not None:
        return f"{reason}: use precision fp32, or runtime.emulate=true to have it emulated"
    return runtime.available()


C = TypeVar("C", bound=Component)
Q = TypeVar("Q", bound=IntegerConfig)


class RuntimeBase(Configured[C]):
    """Base of the suite's runtimes; those whose configuration names no precision compute in float32."""

    def __init__(self, config: C) -> None:
        super().__init__(config)
        self.precision: str = getattr(config, "precision", "fp32")

    def available(self) -> str | None:
        """None: wherever PyTorch runs."""
        return None


class FileRuntime(RuntimeBase[C]):
    """Base of runtimes that write a model's file first and then load it: they implement ``store`` and ``load``."""

    def store(self, module: nn.Module, example: Tensor, folder: Path) -> Path:
        """Write ``module`` for batches shaped like ``example`` into ``folder``: the file, or a folder of files."""
        raise NotImplementedError

    def load(self, file: Path, example: Tensor) -> Session:
        """Make ready what ``store`` wrote, with as many threads as PyTorch has now; PyTorch's module is not needed."""
        raise NotImplementedError

    def prepare(self, module: nn.Module, example: Tensor) -> Session:
        """Store ``module`` in a temporary folder, which lasts as long as the session, and load it."""
        folder = tempfile.mkdtemp(prefix="vireid-runtime-")
        try:
            session = self.load(self.store(module, example, Path(folder)), example)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        weakref.finalize(session, shutil.rmtree, folder, ignore_errors=True)
        return session


class PoolSession:
    """Loads a model with as many threads as PyTorch has, and again where that number has changed since.

    PyTorch's number is what ``vireid.profiling.latency.thread_limit`` sets, so a session is measured with the threads
    that its record names, wherever it was prepared.
    """

    def __init__(self, load: Callable[[int], Session]) -> None:
        self._load = load
        self.threads = torch.get_num_threads()
        self._session = load(self.threads)

    def __call__(self, images: Tensor) -> Any:
        """Embeddings (B×D) of images (B×3×H×W)."""
        if torch.get_num_threads() != self.threads:
            self.threads = torch.get_num_threads()
            self._session = self._load(self.threads)
        return self._session(images)


WITHOUT_IMAGES = 4  # images of noise that stand in for calibration where only the time counts


class Quantising(FileRuntime[Q]):
    """A runtime that quantises while it stores a model.

    ``calibration`` holds the images (batches, as the network is fed) that ranges of activations are taken from. Without
    any it is noise, and the file good for measuring time alone.
    """

    calibration: Sequence[FloatArray] | None = None
    metadata: Mapping[str, str] | None = None  # what a stored file says of itself

    @property
    def quantisation(self) -> Any:
        """How it quantises, by its own configuration; None where the precision is not int8."""
        return getattr(self.config, "quantisation", None)

    def missing_quantiser(self) -> str | None:
        """Why this runtime cannot quantise here, or None."""
        return None if self.quantisation is None else missing_package(self.quantisation.quantiser, "deploy")

    def calibration_images(self, example: Tensor) -> Sequence[FloatArray]:
        """Those given, or noise of the size of ``example``."""
        if self.calibration is not None:
            return self.calibration
        height, width = example.shape[2:]
        return [part.numpy() for part in torch.split(check_images(WITHOUT_IMAGES, height, width), 1)]
