"""Reasons why a runtime cannot run here, one line each."""

from __future__ import annotations

from importlib.util import find_spec

from vireid.profiling.device import describe_device

_BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")  # x86, x86 with tiles, Arm


def missing_package(module: str, extra: str, package: str | None = None) -> str | None:
    """None if a module is installed, else how to bring it."""
    if find_spec(module) is not None:
        return None
    return f"needs the package '{package or module}', which is not installed: pip install 'vireid[{extra}]'"


def no_bf16() -> str | None:
    """None if this processor computes in bfloat16, else that it does not (software would, slower than fp32)."""
    description = describe_device()
    if any(flag in description["isa"] for flag in _BF16_FLAGS):
        return None
    return f"{description['cpu']} has no bfloat16 instructions ({', '.join(_BF16_FLAGS)}): use precision fp32"
