"""Peak memory and the description of the machine."""

from __future__ import annotations

import json
import mmap
import threading
import time

import pytest
import torch
from torch import nn

from vireid.profiling import memory as memory_module
from vireid.profiling.complexity import example_images
from vireid.profiling.config import EagerConfig
from vireid.profiling.device import available_cores, describe_device, device_identity
from vireid.profiling.memory import PeakMemory, inference_memory
from vireid.profiling.runtimes.eager import Eager

MEGABYTE = 2**20
SLACK = 12 * MEGABYTE


def fill(megabytes: int, seconds: float = 0.0) -> None:
    """Touch every page of a mapping of its own: an allocator may keep what is freed, or reuse what it kept."""
    with mmap.mmap(-1, megabytes * MEGABYTE) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        time.sleep(seconds)


def test_peak_sees_memory_that_is_freed_again() -> None:
    fill(1)
    with PeakMemory() as peak:
        fill(200)
    assert peak.working_bytes == pytest.approx(200 * MEGABYTE, abs=SLACK)
    assert peak.method


def test_sampling_where_the_kernel_does_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "_reset_high_water", lambda: False)
    with PeakMemory() as peak:
        fill(200, seconds=0.2)
    assert peak.working_bytes == pytest.approx(200 * MEGABYTE, abs=SLACK)
    assert "sampled" in peak.method
    assert not any(thread.name == "peak-memory" for thread in threading.enumerate())


def test_mps_is_sampled_from_its_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    allocated = [10, 70, 20]
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: allocated.pop(0) if allocated else 5)
    with PeakMemory("mps") as peak:
        time.sleep(0.1)
    assert (peak.baseline_bytes, peak.peak_bytes) == (10, 70)
    assert peak.method.startswith("torch.mps.current_allocated_memory, sampled")


def test_nested_uses_keep_their_own_peaks() -> None:
    with PeakMemory() as outer:
        fill(150)
        with PeakMemory() as inner:
            fill(40)
    assert inner.working_bytes == pytest.approx(40 * MEGABYTE, abs=SLACK)
    assert outer.working_bytes == pytest.approx(150 * MEGABYTE, abs=SLACK)


def test_an_earlier_peak_does_not_count() -> None:
    fill(200)
    with PeakMemory() as peak:
        fill(20)
    assert peak.working_bytes < 60 * MEGABYTE


class Wide(nn.Module):
    """Holds 40 MiB of weights and needs 64 MiB of working memory per image of 64×64."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(10 * MEGABYTE))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :1].repeat(1, 4096, 1, 1).mean(dim=(1, 2, 3))


def test_inference_memory_is_weights_plus_working_memory() -> None:
    module, images = Wide(), example_images(2, 64, 64)
    session = Eager(EagerConfig()).prepare(module, images)
    result = inference_memory(session, module, images)
    assert result["weights_bytes"] == 40 * MEGABYTE
    assert result["working_bytes"] == pytest.approx(2 * 64 * MEGABYTE, abs=SLACK)
    assert result["peak_bytes"] == result["weights_bytes"] + result["working_bytes"]


def test_description_is_json_and_names_what_matters() -> None:
    description = describe_device()
    assert json.loads(json.dumps(description, allow_nan=False)) == description
    assert description["cpu"]
    assert description["memory_bytes"] > 0
    assert description["logical_cores"] >= available_cores() >= 1
    assert description["threads"] == torch.get_num_threads()


def test_identity_ignores_settings_of_the_process() -> None:
    description = describe_device()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        assert device_identity(describe_device()) == device_identity(description)
    finally:
        torch.set_num_threads(before)
    assert device_identity({**description, "cpu": "another"}) != device_identity(description)
