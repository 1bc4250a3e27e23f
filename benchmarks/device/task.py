"""What a part of ``accelerator.py`` is told, and what it answers: rows with a status, printed as lines of JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Row = dict[str, Any]  # name, status (ok, skipped, failed), reason where not ok, and what was measured


@dataclass(frozen=True)
class Task:
    """What every part is told."""

    device: str
    dry: bool  # toy sizes
    deadline: float  # ``time.time()`` by which the part should have ended
    to: str  # folder of the records
    released: str | None = None  # checkout of the released code
    overrides: tuple[str, ...] = ()  # of the fit's configuration

    @property
    def target(self) -> torch.device:
        return torch.device(self.device)

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.time()

    @property
    def on_gpu(self) -> bool:
        return self.target.type == "cuda"

    @property
    def folder(self) -> Path:
        return Path(self.to)

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.on_gpu:
            torch.cuda.synchronize(self.target)

    def release_memory(self) -> None:
        """Give back what PyTorch's allocator keeps, so that the next peak is its own."""
        if self.on_gpu:
            torch.cuda.empty_cache()


def ok(name: str, **measured: Any) -> Row:
    return {"name": name, "status": "ok", **measured}


def skipped(name: str, reason: str) -> Row:
    return {"name": name, "status": "skipped", "reason": reason}


def failed(name: str, error: BaseException | str) -> Row:
    reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return {"name": name, "status": "failed", "reason": reason[:2000]}


def out_of_time(name: str, needed: float, left: float) -> Row:
    return skipped(name, f"needs about {needed:.0f} s, {max(left, 0):.0f} s of its share are left")


@contextmanager
def float32_as(precision: str) -> Iterator[None]:
    """Products and convolutions of float32 in TF32 where ``precision`` is ``tf32``, in float32 otherwise."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
