"""What a run ran on and with: interpreter, packages, commit of the suite. Recorded, never part of identity."""

import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from vireid.core.config import Strict

PACKAGES = (
    *("vireid", "torch", "torchvision", "accelerate", "numpy", "scipy", "pandas", "fvcore", "thop", "pillow"),
    *("onnx", "onnxscript", "onnxruntime", "openvino", "nncf", "ncnn", "pnnx", "executorch"),  # runtimes of an artefact
    *("timm", "transformers", "open_clip_torch", "faiss-cpu"),
)

# What of a machine's description must agree before two latencies may stand side by side.
MACHINE_IDENTITY = (
    "cpu",
    "cpu_family_model_stepping",
    "architecture",
    "isa",
    "logical_cores",
    "physical_cores",
    "accelerators",
)


class Environment(Strict):
    """Software and machine of a run. ``device`` is the machine description that the profiler reads."""

    python: str
    platform: str
    packages: dict[str, str]
    git_commit: str | None
    git_dirty: bool | None
    accelerator: str
    """"cpu" or the name of the accelerator; unlike ones are never pooled."""
    threads: int
    device: dict[str, Any]

    @property
    def machine(self) -> dict[str, Any]:
        """What of the machine must agree before two of its measurements may stand side by side."""
        return {key: self.device.get(key) for key in MACHINE_IDENTITY}


def snapshot(*, accelerator: str, threads: int, device: Mapping[str, Any]) -> Environment:
    """Describe the running process. Git fields are None where the suite is not run from a checkout."""
    commit, dirty = _git_state()
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: version for name in PACKAGES if (version := package_version(name))},
        git_commit=commit,
        git_dirty=dirty,
        accelerator=accelerator,
        threads=threads,
        device=dict(device),
    )


def package_version(package: str) -> str | None:
    """Version of an installed package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


COMMIT_VARIABLE = "VIREID_COMMIT"  # of a copy of a checkout, on another machine: its commit, "+" after it where dirty


def commit_variable() -> str:
    """What that variable says of this checkout; empty outside any."""
    commit, dirty = _git_state()
    return "" if commit is None else commit + ("+" if dirty else "")


@cache
def _git_state() -> tuple[str | None, bool | None]:
    if told := os.environ.get(COMMIT_VARIABLE):
        return told.rstrip("+"), told.endswith("+")
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None, None

    def git(*arguments: str) -> str | None:
        try:
            result = subprocess.run(
                ["git", "-C", str(here), *arguments], capture_output=True, text=True, timeout=20, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return result.stdout.strip()

    status = git("status", "--porcelain")
    return git("rev-parse", "HEAD"), None if status is None else bool(status)
