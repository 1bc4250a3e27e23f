"""Peak memory of a stretch of work: of the process on a CPU, of the allocator on an accelerator."""

from __future__ import annotations

import ctypes
import gc
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import psutil
import torch
from torch import Tensor, nn

from vireid.profiling.complexity import size_bytes
from vireid.profiling.runtimes.base import Session

SAMPLING_SECONDS = 0.01
_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class PeakMemory:
    """Context manager that gives the highest memory use inside it.

    On CUDA this is ``torch.cuda.max_memory_allocated``. On a CPU it is resident memory of the process: on Linux the
    kernel's own high-water mark (``VmHWM``, reset through ``/proc/self/clear_refs``), which no allocation escapes;
    where that file cannot be written, a thread reads the resident size every 10 ms. On MPS, whose allocator keeps no
    peak, a thread reads what is allocated. ``method`` says which.
    Nested and overlapping uses see each other's peaks.
    """

    _active: ClassVar[list[PeakMemory]] = []
    _lock: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.method = ""
        self.baseline_bytes = 0  # in use on entry
        self.peak_bytes = 0  # highest inside, baseline included

    @property
    def working_bytes(self) -> int:
        """Peak above what was in use on entry."""
        return max(self.peak_bytes - self.baseline_bytes, 0)

    def __enter__(self) -> Self:
        if self._device.type == "cuda":
            self.method = "torch.cuda.max_memory_allocated"
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            self.baseline_bytes = torch.cuda.memory_allocated(self._device)
            return self
        with self._lock:
            for other in self._active:
                other._note_high_water()
            self.baseline_bytes = self.peak_bytes = self._in_use()
            if self._device.type == "cpu" and _reset_high_water():
                self.method = "resident memory, kernel high-water mark"
                self._active.append(self)
                return self
        what = "resident memory" if self._device.type == "cpu" else "torch.mps.current_allocated_memory"
        self.method = f"{what}, sampled every {SAMPLING_SECONDS * 1000:.0f} ms"
        self._thread = threading.Thread(target=self._sample, name="peak-memory", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            self.peak_bytes = torch.cuda.max_memory_allocated(self._device)
        elif self._thread is not None:
            self._stop.set()
            self._thread.join()
        else:
            with self._lock:
                self._note_high_water()
                self._active.remove(self)

    def _note_high_water(self) -> None:
        self.peak_bytes = max(self.peak_bytes, _high_water())

    def _in_use(self) -> int:
        if self._device.type == "mps":
            return torch.mps.current_allocated_memory()
        return int(psutil.Process().memory_info().rss)

    def _sample(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, self._in_use())
            if self._stop.wait(SAMPLING_SECONDS):
                return


def inference_memory(session: Session, module: nn.Module, images: Tensor) -> dict[str, Any]:
    """Memory that one forward on ``images`` (B×3×H×W) needs: weights and buffers plus what the forward adds.

    For accelerators, whose allocator holds the module's own weights. In main memory a runtime's file is no module, and
    ``artefact_memory`` measures what loading and running it takes.

    The interpreter, the libraries and whatever else the process holds are left out, so that the figure does not
    depend on where it was taken. The session runs once before, so that one-off set-up does not count; memory that
    earlier work has freed is first given back to the system, since reusing it would not show.

    Returns:
        ``peak_bytes`` = ``weights_bytes`` + ``working_bytes``, and ``method``.
    """
    session(images)
    gc.collect()
    give_back_freed_memory()
    with PeakMemory(images.device) as memory:
        session(images)
    weights = size_bytes(module)
    return {
        "peak_bytes": weights + memory.working_bytes,
        "weights_bytes": weights,
        "working_bytes": memory.working_bytes,
        "method": memory.method,
    }


def peak_resident_bytes() -> int | None:
    """Highest resident memory of this process since it started, libraries included; None where unreadable.

    Not ``ru_maxrss`` on Linux, which a process inherits from the one that started it.
    """
    try:
        return _high_water()
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if psutil.MACOS else peak * 1024


def _high_water() -> int:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no VmHWM line")


def _reset_high_water() -> bool:
    """Set the high-water mark to the present size; False where the system has none or does not allow it."""
    try:
        _CLEAR_REFS.write_text("5", encoding="ascii")
        return _high_water() > 0
    except OSError:
        return False


def give_back_freed_memory() -> None:
    """``malloc_trim`` where the C library has it (glibc)."""
    if psutil.LINUX:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
