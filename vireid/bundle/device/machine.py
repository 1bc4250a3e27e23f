"""The machine, read without psutil: the same identity as ``vireid.profiling.device`` gives it where that runs.

A graphics processor is not looked for: a bundle computes on the processor alone.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from ...core.processor import ISA_FLAGS, cpu_fields, cpu_flags, cpu_model, integer_kernels
from ...profiling.sensors.clock import frequency, governor, temperatures
from ...profiling.sensors.reading import text_of
from ...profiling.sensors.virtual import virtual_machine

IDENTITY = (
    *("cpu", "cpu_family_model_stepping", "architecture", "isa", "logical_cores", "physical_cores", "accelerators"),
)
CORES = "sys/devices/system/cpu"
RUNTIME_PACKAGES = ("onnxruntime", "onnxruntime-gpu")  # the same module under the names it is distributed by


def describe(root: Path = Path("/")) -> dict[str, Any]:
    """Processor, cores, memory, operating system and clock; None where unreadable."""
    info, flags = cpu_fields(root), cpu_flags(root)
    return {
        "cpu": cpu_model(root),
        "cpu_family_model_stepping": [info.get(key) for key in ("cpu family", "model", "stepping")],
        "architecture": platform.machine(),
        "isa": [flag for flag in ISA_FLAGS if flag in flags],
        "logical_cores": _logical_cores(),
        "physical_cores": _physical_cores(root),
        "accelerators": [],
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_bytes": _memory(root),
        "os": f"{platform.system()} {platform.release()}",
        "governor": governor(root).value,
        "frequency_mhz": frequency(root).value,
    }


def identity(description: dict[str, Any]) -> dict[str, Any]:
    """The part of a description that must agree before two latencies may be put side by side."""
    return {key: description[key] for key in IDENTITY}


CARD = (
    *("cpu", "architecture", "isa", "logical_cores", "physical_cores", "memory_bytes", "os", "governor"),
    "frequency_mhz",
)


def temperature(root: Path = Path("/")) -> dict[str, float] | None:
    """Degrees Celsius by sensor; None where unreadable."""
    degrees: dict[str, float] | None = temperatures(root).value
    return degrees


def card(description: dict[str, Any], before: dict[str, float] | None, root: Path = Path("/")) -> dict[str, Any]:
    """The device card of a record file.

    Args:
        description: as ``describe`` gives it.
        before: temperatures before anything was measured; those of now are the ones after.
        root: of the file system.
    """
    return {
        **{name: description[name] for name in CARD},
        "virtual": virtual_machine(root),
        "temperature_before": before,
        "temperature_after": temperature(root),
        "python": platform.python_version(),
        "packages": packages(),
    }


def slug(text: str) -> str:
    """A processor's name as part of a file's: lower case letters, digits and hyphens, never empty."""
    plain = re.sub(r"\((r|tm)\)|\bcpu\b|@.*", " ", text.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain)[:48].strip("-") or "machine"


def environment(description: dict[str, Any], threads: int) -> dict[str, Any]:
    """Fields of the suite's ``Environment``."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages(),
        "git_commit": None,
        "git_dirty": None,
        "accelerator": "cpu",
        "threads": threads,
        "device": {**description, "threads": threads},
    }


def packages() -> dict[str, str]:
    """Versions of the two packages that the figures depend on."""
    versions = {"numpy": _version("numpy"), "onnxruntime": next(filter(None, map(_version, RUNTIME_PACKAGES)), None)}
    return {name: version or "unknown" for name, version in versions.items()}


def kernels(root: Path = Path("/")) -> str:
    """What sums the products of an int8 file in ONNX Runtime on this machine."""
    return integer_kernels(cpu_flags(root))


def usable_cores() -> int:
    """Number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def emulated(root: Path = Path("/")) -> str | None:
    """Why this machine is taken for an emulation of another architecture; None where nothing says so.

    User-mode QEMU changes what programs see of the architecture, but not everything that the host's kernel shows: the
    name of the process, the processor, the interrupts that x86 processors alone count.
    """
    name = text_of(root / "proc/self/comm") or ""
    if name.startswith("qemu-"):
        return f"the process is run by {name}"
    architecture = platform.machine()
    if not architecture.lower().startswith(("arm", "aarch64")):
        return None
    vendor = cpu_fields(root).get("vendor_id")
    if vendor is not None:
        return f"the architecture is {architecture}, but the processor is of {vendor}"
    if re.search(r"^ *(LOC|TLB):", text_of(root / "proc/interrupts") or "", re.MULTILINE):
        return f"the architecture is {architecture}, but the kernel counts interrupts of an x86 processor"
    return None


def peak_resident_bytes() -> int | None:
    """Highest resident memory of this process, interpreter and libraries included; None where unreadable."""
    for line in (text_of(Path("/proc/self/status")) or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _logical_cores() -> int | None:
    try:
        return os.sysconf("SC_NPROCESSORS_ONLN")
    except (AttributeError, ValueError):
        return os.cpu_count()


def _physical_cores(root: Path) -> int | None:
    """Different sets of sibling threads; where the kernel shows none, the sum of each package's ``cpu cores``."""
    for name in ("core_cpus_list", "thread_siblings_list"):
        siblings = {text_of(file) for file in (root / CORES).glob(f"cpu[0-9]*/topology/{name}")}
        if siblings:
            return len(siblings)
    by_package: dict[str, int] = {}
    for block in (text_of(root / "proc/cpuinfo") or "").split("\n\n"):
        fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        if "physical id" in fields and fields.get("cpu cores", "").isdigit():
            by_package[fields["physical id"]] = int(fields["cpu cores"])
    return sum(by_package.values()) or None


def _memory(root: Path) -> int | None:
    for line in (text_of(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
