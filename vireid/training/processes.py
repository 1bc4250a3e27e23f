"""Several processes that train one fit, each on its own identities of every batch.

Every loss sees the global batch: what the model gives for a process's rows is gathered from all, and each process
computes the same terms over all rows. Hardest negatives, graphs of distances and softmaxes over a batch are then those
of one process with that batch. A gradient flows back into a process's own rows alone, times the number of processes, so
that the mean of all processes' gradients is the gradient of the loss: through the network as well as of parameters that
a loss or a weighting uses directly.

Gradients are averaged here rather than by DistributedDataParallel, which cannot follow a fit: stages freeze parameters
and leave terms out, so that outputs of the forward pass go unused, and a weighting may differentiate terms one by one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vireid.core.distributed import mean_over_processes
from vireid.core.types import Batch, ModelOutput


class Processes:
    """All processes of a fit, seen from one of them. Each must call the same methods in the same order.

    Args:
        accelerator: of this process.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.count = accelerator.num_processes
        self.index = accelerator.process_index
        self.is_main = accelerator.is_main_process
        self._device = accelerator.device

    def everything(self, output: ModelOutput, batch: Batch) -> tuple[ModelOutput, Batch]:
        """Output and batch of all processes, rows in the order of the sampler, views one after the other.

        Maps stay behind, for no term of the suite reads them and they are the largest of all; so do the images.

        Raises:
            ValueError: an output whose rows are not those of the batch.
        """
        if self.count == 1:
            return output, batch
        named = {**output.features, **{f"logits {name}": value for name, value in output.logits.items()}}
        for name, value in named.items():
            if len(value) != len(batch):
                raise ValueError(
                    f"output '{name}' has {len(value)} rows for a batch of {len(batch)}: over several processes a "
                    "model must give one row for each of the batch, in its order"
                )
        counts = self._counts(len(batch))
        known, order = self._batch(batch, counts)

        def gathered(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: self._gather(value, counts).index_select(0, order) for name, value in tensors.items()}

        images = torch.empty((sum(counts), *batch.images.shape[1:]), device="meta")  # to be counted, not read
        return ModelOutput(gathered(output.features), gathered(output.logits)), replace(known, images=images)

    def whole(self, batch: Batch) -> Batch:
        """The batch of all processes with its images, for a model that learns from an epoch."""
        if self.count == 1:
            return batch
        counts = self._counts(len(batch))
        known, order = self._batch(batch, counts)
        return replace(known, images=self._gather(batch.images, counts).index_select(0, order))

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give each parameter the mean of its gradients; one without any gradient, in any process, keeps none."""
        if self.count == 1:
            return
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learning]
        present = torch.tensor([float(p.grad is not None) for p in learning], device=self._device)
        *means, somewhere = mean_over_processes([*gradients, present])
        for parameter, mean, share in zip(learning, means, somewhere.tolist(), strict=True):
            if parameter.grad is not None:
                parameter.grad.copy_(mean)
            elif share:
                parameter.grad = mean.clone()

    @torch.no_grad()
    def average_buffers(self, *modules: nn.Module) -> None:
        """Give each floating-point buffer its mean over the processes.

        Running statistics of norms that see a process's own rows move linearly with what they see, so that their mean
        is what all rows would have moved them to.
        """
        if self.count == 1:
            return
        buffers = [buffer for module in modules for buffer in module.buffers() if buffer.is_floating_point()]
        for buffer, mean in zip(buffers, mean_over_processes(buffers), strict=True):
            buffer.copy_(mean)

    def total(self, value: int) -> int:
        """Sum over the processes."""
        return value if self.count == 1 else sum(self._counts(value))

    def largest(self, value: int | None) -> int | None:
        """Largest over the processes; None where none has one."""
        if self.count == 1:
            return value
        highest = max(self._counts(-1 if value is None else value))
        return None if highest < 0 else highest

    def _counts(self, value: int) -> list[int]:
        mine = torch.tensor([value], dtype=torch.int64, device=self._device)
        every = [torch.empty_like(mine) for _ in range(self.count)]
        torch.distributed.all_gather(every, mine)
        return [int(other) for other in torch.cat(every).tolist()]

    def _batch(self, batch: Batch, counts: Sequence[int]) -> tuple[Batch, Tensor]:
        """What is known of all rows, without images, and the order in which they are to be taken."""
        columns = ("labels", "modality", "camera", "view")
        known = self._gather(torch.stack([getattr(batch, name) for name in columns], dim=1), counts)
        order = torch.argsort(known[:, columns.index("view")], stable=True)
        values: dict[str, Any] = dict(zip(columns, known.index_select(0, order).unbind(dim=1), strict=True))
        return replace(batch, **values, captions=None), order

    def _gather(self, own: Tensor, counts: Sequence[int]) -> Tensor:
        rows: Tensor = _Gather.apply(own, tuple(counts), self.index)
        return rows


class _Gather(torch.autograd.Function):
    """Rows of all processes one after the other; the gradient is that of one's own rows, times the processes."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, counts: tuple[int, ...], index: int) -> Tensor:
        """n×…, of ``counts[index]`` rows → Σ counts×…."""
        ctx.counts, ctx.index = counts, index
        padded = own.new_zeros((max(counts), *own.shape[1:]))  # all must be of one shape
        padded[: len(own)] = own
        every = [torch.empty_like(padded) for _ in counts]
        torch.distributed.all_gather(every, padded)
        return torch.cat([rows[:count] for rows, count in zip(every, counts, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Of every loss the same in all processes."""
        return torch.split(grad, ctx.counts)[ctx.index] * len(ctx.counts), None, None
