"""Reasons why a runtime cannot run here, one line each."""

from importlib.util import find_spec

from vireid.core.processor import emulated
from vireid.profiling.runtimes.base import Runtime


def missing_package(module: str, extra: str, package: str | None = None) -> str | None:
    """None if a module is installed, else how to bring it."""
    if find_spec(module) is not None:
        return None
    return f"needs the package '{package or module}', which is not installed: pip install 'vireid[{extra}]'"


def unavailable(runtime: Runtime, device: str = "cpu", *, emulate: bool = False) -> str | None:
    """None if a runtime can run here in its precision, else the reason why not.

    Args:
        runtime: one of the suite's, or a plug-in.
        device: kind of the device that it would run on: ``cpu``, or an accelerator, of which the runtime knows itself.
        emulate: let the processor compute in a precision that it has no instructions for.
    """
    if device == "cpu" and not emulate and (reason := emulated(runtime.precision)) is not None:
        return f"{reason}: use precision fp32, or runtime.emulate=true to have it emulated"
    return runtime.available()
