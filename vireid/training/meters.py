"""Sums of an epoch kept on the device, and the check that every number stays finite."""

from dataclasses import dataclass

import torch
from torch import Tensor

CHECK_EVERY = 20  # optimiser steps between looks at an accelerator's numbers; each look waits for its queue


@dataclass(frozen=True, slots=True)
class Fault:
    """The first number of an epoch that was not finite."""

    name: str  # a loss term, or "gradient norm"
    value: float
    step: int  # batch, from 0


class EpochMeter:
    """Collects terms, totals, weights and gradient norms of an epoch without waiting for the device.

    On the CPU a fault is found in the batch in which it happens. On an accelerator it is found within
    ``CHECK_EVERY`` optimiser steps, and the right batch is still named; ``fault`` at the end of the epoch is exact
    everywhere, so that no checkpoint holds a broken model.
    """

    def __init__(self, device: torch.device, overflow_allowed: bool) -> None:
        """Args: where the numbers live; whether gradients may overflow, as under fp16 loss scaling."""
        self._eager = device.type == "cpu"
        self._overflow_allowed = overflow_allowed
        self._terms: list[str] = []
        self._weights: list[str] = []
        self._losses: list[Tensor] = []  # one row per batch: terms, total, weights
        self._norms: list[Tensor] = []
        self._norm_steps: list[int] = []
        self._checked = (0, 0)
        self.recent_loss = float("nan")  # weighted total of the last batch looked at

    def add(self, terms: dict[str, Tensor], total: Tensor, weights: dict[str, Tensor]) -> Fault | None:
        """Take in a batch's loss; on the CPU return its fault, if any.

        Raises:
            ValueError: the model gives other terms than in the batch before, so that there is no mean over the epoch.
        """
        if self._losses and list(terms) != self._terms:
            raise ValueError(f"loss terms changed within an epoch: {self._terms} became {list(terms)}")
        self._terms, self._weights = list(terms), list(weights)
        row = torch.stack([value.detach().float() for value in (*terms.values(), total, *weights.values())])
        self._losses.append(row)
        return self.fault() if self._eager else None

    def add_norm(self, norm: Tensor, step: int) -> Fault | None:
        """Take in an optimiser step's gradient norm; return a fault where this is a step to look."""
        self._norms.append(norm.detach().float())
        self._norm_steps.append(step)
        return self.fault() if self._eager or len(self._norms) % CHECK_EVERY == 1 else None

    def fault(self) -> Fault | None:
        """Look at everything not yet looked at."""
        first_loss, first_norm = self._checked
        self._checked = (len(self._losses), len(self._norms))
        first = None
        if len(self._losses) > first_loss:
            self.recent_loss = float(self._losses[-1][len(self._terms)])
        if (row := _first_bad(self._losses[first_loss:])) is not None:
            values = self._losses[first_loss + row].tolist()
            names = [*self._terms, "weighted total", *(f"weight of {name}" for name in self._weights)]
            column = next(i for i, value in enumerate(values) if not _finite(value))
            first = Fault(names[column], values[column], first_loss + row)
        if self._overflow_allowed or (row := _first_bad(self._norms[first_norm:])) is None:
            return first
        step = self._norm_steps[first_norm + row]
        if first is not None and first.step <= step:
            return first
        return Fault("gradient norm", float(self._norms[first_norm + row]), step)

    def means(self) -> tuple[dict[str, float], float, dict[str, float], float | None]:
        """Epoch means: unweighted terms, weighted total, weights, and gradient norm over steps where it was finite."""
        mean = torch.stack(self._losses).double().mean(dim=0).tolist()
        count = len(self._terms)
        norms = torch.stack(self._norms).double()
        norms = norms[norms.isfinite()]
        return (
            dict(zip(self._terms, mean[:count], strict=True)),
            mean[count],
            dict(zip(self._weights, mean[count + 1 :], strict=True)),
            float(norms.mean()) if len(norms) else None,
        )


def _first_bad(rows: list[Tensor]) -> int | None:
    if not rows:
        return None
    bad = ~torch.stack(rows).reshape(len(rows), -1).isfinite().all(dim=1)
    return int(bad.nonzero()[0]) if bool(bad.any()) else None


def _finite(value: float) -> bool:
    return value - value == 0
