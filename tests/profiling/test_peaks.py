"""Measured roofs: counted by hand, plausible, and restored threads."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.profiling.models import Pooled
from vireid.core.config import parse
from vireid.profiling import latency as timing
from vireid.profiling.config import ProfileConfig
from vireid.profiling.device import last_level_cache, peak_bandwidth, peak_gflops
from vireid.profiling.latency import latency


def test_arithmetic_counts_two_operations_per_product() -> None:
    before = torch.get_num_threads()
    peak = peak_gflops(1, size=256, seconds=0.02)
    assert torch.get_num_threads() == before
    assert len(peak.seconds) >= 3
    assert peak.value == pytest.approx(2 * 256**3 / min(peak.seconds) / 1e9)
    assert peak.unit == "GFLOP/s"
    assert "256×256, float32" in peak.method
    assert 0.1 < peak.value < 1e5


def test_bandwidth_counts_three_arrays() -> None:
    peak = peak_bandwidth(1, array_bytes=4_000_000, seconds=0.02)
    assert peak.value == pytest.approx(3 * 4_000_000 / min(peak.seconds) / 1e9)
    assert "4 MB" in peak.method
    assert 0.01 < peak.value < 1e4


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_roofs_are_recorded_where_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, precision: str, dtype: str
) -> None:
    monkeypatch.setattr(timing, "peak_gflops", partial(peak_gflops, size=64, seconds=0.001))
    monkeypatch.setattr(timing, "peak_bandwidth", partial(peak_bandwidth, array_bytes=4000, seconds=0.001))
    given = {
        "budget": {"warmup_seconds": 0, "min_seconds": 0, "min_repeats": 3, "max_seconds": 0.5},
        "runtimes": [{"name": "eager", "precision": precision}],
        "batches": [1],
        "threads": [1],
    }
    for peaks in (True, False):
        config = parse(ProfileConfig, {**given, "peaks": peaks}, "profile")
        (found,) = latency(Pooled(nn.ReLU()), 8, 6, config, artefact="0" * 12, emulate=True)
        assert found["status"] == "ok", found["reason"]
        assert set(found["peaks"]) == ({"gflops", "bandwidth"} if peaks else set())
        if peaks:
            assert found["peaks"]["gflops"]["method"].endswith(dtype)
            assert found["peaks"]["bandwidth"]["threads"] == 1


def test_last_level_cache_is_the_largest(tmp_path: Path) -> None:
    assert last_level_cache(tmp_path) is None
    for index, size in enumerate(["32K", "1024K", "32M"]):
        file = tmp_path / f"sys/devices/system/cpu/cpu0/cache/index{index}/size"
        file.parent.mkdir(parents=True)
        file.write_text(size + "\n")
    assert last_level_cache(tmp_path) == 32 * 2**20
