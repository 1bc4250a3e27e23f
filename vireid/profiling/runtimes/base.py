"""The contract of a runtime."""

from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from vireid.core.config import Component
from vireid.core.errors import UserError


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

        That the processor computes in ``precision`` is asked beside it (``vireid.profiling.runtimes.reasons``).
        """
        ...

    def prepare(self, module: nn.Module, example: Tensor) -> Session:
        """Make ``module`` ready for batches shaped like ``example``, on its device; ``module`` stays as it is.

        A runtime with threads of its own takes as many as PyTorch has when this is called, and follows it where that
        number has changed by the time the session runs (``vireid.profiling.runtimes.pool``).
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
