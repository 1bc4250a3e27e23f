"""Description of the machine: part of every record, and what tells unlike machines apart."""

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch
from threadpoolctl import threadpool_limits

from vireid.core.environment import MACHINE_IDENTITY
from vireid.core.processor import ISA_FLAGS, cpu_fields, cpu_flags, cpu_model, kernel_flags
from vireid.profiling.sensors.clock import frequency, governor


def describe_device() -> dict[str, Any]:
    """Describe processor, memory, operating system, PyTorch build and accelerators; None where unreadable.

    ``threads`` and ``affinity`` are those of the calling process; everything else is the machine's.
    """
    info, flags, usable = cpu_fields(), cpu_flags(), kernel_flags()
    return {
        "cpu": cpu_model(),
        "cpu_family_model_stepping": [info.get(k) for k in ("cpu family", "model", "stepping")],
        "architecture": platform.machine(),
        "isa": [flag for flag in ISA_FLAGS if flag in flags],
        "kernel_isa": [flag for flag in ISA_FLAGS if flag in usable],  # less what the environment forbids kernels
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "logical_cores": psutil.cpu_count(logical=True),
        "physical_cores": psutil.cpu_count(logical=False),
        "affinity": affinity(),
        "memory_bytes": psutil.virtual_memory().total,
        "os": f"{platform.system()} {platform.release()}",
        "governor": governor().value,
        "frequency_mhz": frequency().value or _frequency(),
        "torch": torch.__version__,
        "torch_build": _build_settings(),
        "threads": torch.get_num_threads(),
        "accelerators": _accelerators(),
    }


def device_identity(description: dict[str, Any]) -> dict[str, Any]:
    """The part of a description that must agree before two latencies may be put side by side."""
    return {key: description[key] for key in MACHINE_IDENTITY}


def affinity() -> list[int] | None:
    """Cores that this process may run on; None where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def available_cores() -> int:
    """Number of cores that this process may run on."""
    return len(affinity() or []) or os.cpu_count() or 1


def _frequency() -> dict[str, float] | None:
    """Where there is no ``/sys``."""
    try:
        found = psutil.cpu_freq()
    except (OSError, NotImplementedError, AttributeError):
        return None
    return None if found is None else {"min": found.min, "max": found.max, "current": found.current}


def _build_settings() -> dict[str, str]:
    """BLAS, oneDNN and parallel back end of the PyTorch build."""
    text = torch.__config__.show()
    wanted = ("BLAS_INFO", "USE_MKLDNN", "USE_OPENMP", "USE_CUDA", "LAPACK_INFO")
    settings = {key: m[1] for key in wanted if (m := re.search(rf"{key}=([^,\s]+)", text))}
    for library in ("MKL-DNN", "oneAPI Math Kernel Library"):
        if match := re.search(rf"{library}[^\n]*?(\d+\.\d+(?:\.\d+)?|Version [\w.\-]+)", text):
            settings[library] = match[1]
    return settings


def _accelerators() -> list[dict[str, Any]]:
    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(
            {
                "name": properties.name,
                "memory_bytes": properties.total_memory,
                "compute_capability": [properties.major, properties.minor],
                "cuda": torch.version.cuda,
            }
        )
    return found


@contextmanager
def thread_limit(threads: int) -> Iterator[None]:
    """Run PyTorch and the native thread pools (BLAS, OpenMP) with ``threads`` threads; restored afterwards."""
    before = torch.get_num_threads()
    with threadpool_limits(limits=threads):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
