"""Peak training memory, as fits record it, holds weights, gradients and optimiser state."""

from __future__ import annotations

import psutil
import torch
from torch import nn

from tests.training.parts import TinyLoader, TinyModel, recipe, uncertainty
from vireid.profiling.memory import PeakMemory
from vireid.training.loop import fit

MEGABYTE = 2**20


class Heavy(TinyModel):
    """64 MiB of weights that every batch trains."""

    def __init__(self) -> None:
        super().__init__()
        self.ballast = nn.Parameter(torch.zeros(16 * MEGABYTE))

    def forward(self, batch):
        output = super().forward(batch)
        output.features["shared"] = output.features["shared"] + 0.0 * self.ballast.sum()
        return output


def test_gradients_and_optimiser_state_count(tmp_path):
    before = psutil.Process().memory_info().rss
    result = fit(
        Heavy(),
        TinyLoader(steps=2),
        recipe(epochs=1, schedule={"name": "constant"}),
        uncertainty(),
        seed=0,
        directory=tmp_path,
        resume_key="k",
        peak_memory=PeakMemory,
    )
    assert result.peak_memory_bytes is not None
    grown = result.peak_memory_bytes - before
    weights = 64 * MEGABYTE
    assert grown >= 3.9 * weights  # weights, gradient, two moments
    assert grown < 7 * weights
