"""Batch norms of a fit by several processes: statistics over the batch of all, through torch's SyncBatchNorm."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vireid.core.errors import UserError
from vireid.training.config import BatchNorm
from vireid.training.stages import Stages


class SharedNorms:
    """The batch norms of a model, each turned into a SyncBatchNorm until ``release``.

    Their class is changed and they stay where they are: names in the state dict, and parameters that an optimiser
    holds, remain. Nothing is changed for a single process, or where each is to normalise its own share.
    """

    def __init__(
        self, model: nn.Module, stages: Stages, count: int, processes: int, mode: BatchNorm, device: torch.device
    ) -> None:
        """Args: the model; its stages and their number; processes; what norms are to see; the device.

        Raises:
            UserError: norms are to be synchronised that learn, on a device where torch cannot.
        """
        self._norms: list[tuple[nn.Module, type[nn.Module]]] = []
        if processes == 1 or mode == "per_process":
            return
        learning = _learning(model, stages, count)
        if learning and device.type != "cuda":
            more = f" and {len(learning) - 1} more" if len(learning) > 1 else ""
            raise UserError(
                f"runtime.processes={processes}: PyTorch synchronises batch norms on CUDA devices alone, and on the "
                f"{device.type.upper()} {learning[0]}{more} would each see its own process's 1/{processes} of a batch: "
                "set runtime.processes=1, or runtime.batch_norm=per_process, which is another method with an id of its "
                "own"
            )
        self._norms = [(part, type(part)) for part in model.modules() if isinstance(part, _BatchNorm)]
        self._synchronise()

    def release(self) -> None:
        """Make the norms what they were."""
        for norm, kind in self._norms:
            norm.__class__ = kind

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Norms by themselves for a while, in which every process sees the same batches."""
        self.release()
        try:
            yield
        finally:
            self._synchronise()

    def _synchronise(self) -> None:
        for norm, _ in self._norms:
            norm.__class__ = nn.SyncBatchNorm
            norm.process_group = None  # type: ignore[assignment]  # all processes


def _learning(model: nn.Module, stages: Stages, count: int) -> list[str]:
    """Names of the batch norms that take statistics of batches in some stage."""
    names: dict[str, None] = {}
    for position in range(count):
        stages.train_mode(position)
        for name, part in model.named_modules():
            if isinstance(part, _BatchNorm) and part.training:
                names[name] = None
    return list(names)
