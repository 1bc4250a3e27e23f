"""Peak memory of an artefact: what it adds to an empty runtime, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vireid.core.config import parse
from vireid.core.records import LatencyRecord, read_record
from vireid.profiling.artefact_memory import METHOD
from vireid.profiling.config import ProfileConfig
from vireid.profiling.latency import latency

MEBIBYTE = 2**20
BUDGET = {"warmup_seconds": 0, "min_seconds": 0, "min_repeats": 1, "max_seconds": 0.01}
HISTORIC = Path(__file__).parent.parent / "historic_records"


class Sized(nn.Module):
    """Holds 200 MiB of weights, of which its file in ``Greedy`` says that it is 60."""

    def __init__(self) -> None:
        super().__init__()
        self.mebibytes = 60
        self.weight = nn.Parameter(torch.ones(50 * MEBIBYTE))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)) * self.weight[0]


class Matrix(nn.Module):
    """48 MiB of float32 weights in one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 32 * 32, 4096)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.linear(images.flatten(1)))


def measured(module: nn.Module, runtime: dict[str, Any], **changes: Any) -> dict[str, Any]:
    given = {"budget": BUDGET, "batches": [1], "threads": [1], "isolate": True, "runtimes": [runtime], **changes}
    (result,) = latency(module, 32, 32, parse(ProfileConfig, given, "profile"), artefact="0" * 12)
    assert result["status"] == "ok", result["reason"]
    return result


@pytest.mark.check
def test_it_is_the_files_own_and_neither_the_modules_nor_the_librarys() -> None:
    result = measured(Sized(), {"name": "tests.profiling.memory_runtime:Greedy"})
    assert result["peak_memory_bytes"] == pytest.approx(60 * MEBIBYTE, abs=8 * MEBIBYTE)
    assert result["memory_by"].startswith(METHOD)


@pytest.mark.check
def test_an_int8_file_takes_less_than_the_float_modules_weights() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    floating = measured(Matrix(), {"name": "onnxruntime"})["peak_memory_bytes"]
    integer = measured(Matrix(), {"name": "onnxruntime", "precision": "int8"})["peak_memory_bytes"]
    assert floating > 48 * MEBIBYTE > integer > 8 * MEBIBYTE


def test_it_is_left_out_where_nobody_asks() -> None:
    result = measured(Sized(), {"name": "eager"}, memory=False)
    assert (result["peak_memory_bytes"], result["memory_by"]) == (None, None)


def test_older_figures_are_withdrawn_with_the_reason() -> None:
    record = read_record((HISTORIC / "v1-latency-isolated.json").read_bytes(), "fixture")
    assert isinstance(record, LatencyRecord)
    assert record.peak_memory_bytes == 1233032
    assert record.artefact_memory is None
    assert record.memory_withdrawn.startswith(
        "peak memory 1.2 MB is withdrawn: it counts the network's float32 weights"
    )
    mended = record.model_copy(update={"peak_memory_bytes": 7, "memory_by": METHOD})
    assert (mended.artefact_memory, mended.memory_withdrawn) == (7, "")
