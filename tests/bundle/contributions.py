"""Made-up files of boards, as a bundle's device program writes them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np

from vireid.bundle.device import machine
from vireid.bundle.device.record import FORMAT, VERSION, digest_of, latency_record, run_id, specification

GRAPH = "aaaaaaaaaaaa"
MACS = 400e6
RUNTIME = {"name": "onnxruntime", "optimisation": "all", "version": "1"}
BUDGET = {"warmup_seconds": 3.0, "min_seconds": 3.0, "min_repeats": 10, "max_seconds": 9.0, "max_repeats": 1000}
DESCRIPTION: dict[str, Any] = {
    "cpu": "Example Pi 5 Model B Rev 1.0",
    "cpu_family_model_stepping": [None, None, None],
    "architecture": "aarch64",
    "isa": ["asimd", "asimddp"],
    "logical_cores": 4,
    "physical_cores": 4,
    "accelerators": [],
    "affinity": [0, 1, 2, 3],
    "memory_bytes": 8_000_000_000,
    "os": "Linux 6.6.31",
    "governor": "ondemand",
    "frequency_mhz": {"min": 1500.0, "max": 2400.0, "current": 2400.0},
}
CARD: dict[str, Any] = {
    **{name: DESCRIPTION[name] for name in machine.CARD},
    "virtual": None,
    "temperature_before": {"cpu-thermal": 41.0},
    "temperature_after": {"cpu-thermal": 63.5},
    "python": "3.11.2",
    "packages": {"numpy": "2.1.0", "onnxruntime": "1.20.0"},
}
TEMPERATURE = {"value": {"cpu-thermal": 41.0}, "unit": "°C", "source": "sys/class/thermal"}
SENSORS: dict[str, Any] = {
    "before": {"governor": {"value": "ondemand", "source": "cpufreq"}, "temperature": TEMPERATURE},
    "after": {"temperature": TEMPERATURE},
    "energy_by": "no RAPL package",
}


def model(precision: str = "fp32", **changes: Any) -> dict[str, Any]:
    """A model of a bundle, as far as its records say of it."""
    fields = {"graph": GRAPH, "runtime": RUNTIME, "precision": precision, "data_kind": "synthetic", "bytes": 90_000_000}
    return {**fields, "resolution": [96, 48], **changes}


def samples(count: int = 30, middle: float = 0.1, seed: int = 0) -> list[float]:
    """Seconds with a little spread."""
    spread = np.random.default_rng(seed).normal(0, 0.01 * middle, count)
    return [float(value) for value in middle + spread]


def entry(
    seconds: list[float] | None = None, *, threads: int = 4, batch: int = 1, description: dict[str, Any] = DESCRIPTION,
    of: dict[str, Any] | None = None, **measured: Any,
) -> dict[str, Any]:  # fmt: skip
    """A sealed entry of the file."""
    described = of or model()
    specified = specification(
        described, threads=threads, batch=batch, budget=BUDGET, sustained_seconds=None,
        device=machine.identity(description),
    )  # fmt: skip
    environment = {
        "python": CARD["python"], "platform": "Linux-6.6.31-aarch64", "packages": CARD["packages"],
        "git_commit": None, "git_dirty": None, "accelerator": "cpu", "threads": threads,
        "device": {**description, "threads": threads},
    }  # fmt: skip
    seconds = samples(seed=threads) if seconds is None else seconds
    elapsed = round(sum(seconds)) + 0.1
    result = {
        "warmup": 6, "seconds": seconds, "windows": [], "notes": [],
        "load_seconds": 0.4, "rss_bytes": 250_000_000, "joules_per_image": None,
        "sensors": {**copy.deepcopy(SENSORS), "clock": {"wall": elapsed, "monotonic": elapsed}}, **measured,
    }  # fmt: skip
    answer = {"status": "ok", "reason": None, "affinity": list(range(threads)), "notes": [], "result": result}
    made = latency_record(described, specified, answer, environment, started="", made_by="measured on the device")
    made.update(started="2026-03-01T10:00:00+00:00", ended="2026-03-01T10:00:10+00:00")
    return sealed({"specification": specified, "digest": "", "record": made})


def sealed(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry whose id and digest are those of its content again, as a forger would make them."""
    entry["record"]["id"] = run_id(entry["specification"])
    return {**entry, "digest": digest_of(entry["record"])}


def contribution(*entries: dict[str, Any], by: str | None = "Ada", **changes: Any) -> dict[str, Any]:
    """A whole file; by default of two measurements of one model."""
    check = {"model": "idkl", "graph": GRAPH, "precision": "fp32", "passed": True, "reason": None}
    return {
        "format": FORMAT,
        "version": VERSION,
        "bundle": "b" * 64,
        "vireid": "0.1.0",
        "by": by,
        "device": copy.deepcopy(CARD),
        "checks": [{**check, "images": 4, "cosine": 0.9999999}],
        "records": list(entries) or [entry(threads=4), entry(samples(30, 0.3, seed=9), threads=1)],
        **changes,
    }


def write(path: Path, content: dict[str, Any] | str | bytes) -> Path:
    """The file, or bytes as they are."""
    if isinstance(content, dict):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
