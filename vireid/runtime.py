"""How a run is carried out: device, threads, processes, tracker. Imports no torch."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from vireid.core.config import Strict, component
from vireid.tracking import TRACKERS
from vireid.training.config import BatchNorm


def _by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class RuntimeConfig(Strict):
    """How a run is carried out. Decides no result, and is no part of a run's identity, but for several processes."""

    device: str = "auto"
    """``auto``, cpu, cuda, cuda:1 …."""
    threads: int | None = Field(default=None, ge=1, description="CPU threads of a process; all cores when null")
    workers: int | None = Field(default=None, ge=1, description="processes that render and threads that decode")
    processes: int = Field(default=1, ge=1, description="that train one fit together, each with a device of its own")
    """Above 1 it is part of the identity, with ``batch_norm``: each process draws its own augmentation and dropout."""
    batch_norm: BatchNorm = "synchronised"
    """What a batch norm in training sees of several processes: the batch of all, or its own process's share."""
    emulate: bool = Field(
        default=False,
        description="compute in bf16 or fp16 on a processor without instructions for it: slower than fp32",
    )
    tracker: Annotated[component(TRACKERS) | None, BeforeValidator(_by_name)] = None  # type: ignore[valid-type]
    """Where learning curves go while a fit runs, beside its record: ``tensorboard``, or {name: …} with its settings."""
    title: str | None = None
    """What a tracker calls the fit, a path; a study names study, cell and seed."""

    def check_shares(self, identities: int, *, reads_text: bool) -> None:
        """See that batches of so many identities can be shared out among the processes.

        Raises:
            ValueError: they cannot, with what could be set instead.
        """
        count = self.processes
        if count == 1:
            return
        if reads_text:
            raise ValueError(
                f"runtime.processes={count}: what is learned with text is not gathered from several processes: set "
                "runtime.processes=1, or data.captions=null"
            )
        if identities % count:
            near = [n for n in (identities // count * count, -(-identities // count) * count) if n]
            raise ValueError(
                f"runtime.processes={count} shares out the {identities} identities of a batch, whole ones each: set "
                f"recipe.identities={' or '.join(map(str, near))} with a batch_size that fits, or another number of "
                "processes"
            )
