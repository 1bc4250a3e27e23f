"""Names that reports give to data, machines and runtimes."""

from collections.abc import Mapping
from typing import Any

from vireid.core.environment import Environment
from vireid.core.messages import NOT_COMPARABLE
from vireid.core.records import FitRecord

METRICS = ("r1", "r5", "r10", "r20", "mAP", "mINP")
SCORES = {"r1": "R1", "r10": "R10", "r20": "R20", "mAP": "mAP", "mINP": "mINP"}  # as tables print them
MAIN_SCORES = {"r1": "R1", "mAP": "mAP"}  # of which differences are tested
_USUAL = ("none", "minmax", "asymmetric")


def data_label(fit: FitRecord) -> str:
    """Name of the data of a fit; synthetic data carry their renderer's version."""
    specification = fit.data.get("specification") or {}
    if fit.data_kind == "real":
        return str(fit.data.get("name") or specification.get("name") or "real data")
    version = (specification.get("synthetic") or specification).get("renderer_version", "")
    return f"synthetic {version}".strip()


def data_note(label: str) -> str:
    """The warning that goes with a data label; empty for real data."""
    return f"{label}, {NOT_COMPARABLE}" if label.startswith("synthetic") else ""


def as_sentence(*notes: str) -> str:
    """Notes as the last sentences of a caption; an empty note is left out."""
    return "".join(f" {note[0].upper()}{note[1:]}." for note in notes if note)


def capitalised(text: str) -> str:
    """A text with its first letter as a capital."""
    return text[:1].upper() + text[1:]


def device_label(environment: Environment) -> str:
    """Name of a machine as headings print it."""
    device = environment.device
    cores = device.get("logical_cores")
    host = str(device.get("cpu") or environment.platform) + (f", {cores} logical cores" if cores else "")
    return host if environment.accelerator == "cpu" else f"{environment.accelerator} ({host})"


def runtime_label(runtime: Mapping[str, Any]) -> str:
    """A runtime's name with its settings, precision and version left out."""
    settings = ", ".join(
        key.replace("_", " ") if value is True else f"{key.replace('_', ' ')} {_setting(value)}"
        for key, value in sorted(runtime.items())
        if key not in ("name", "precision", "version") and value not in (None, False, "")
    )
    name = str(runtime.get("name", "unnamed runtime"))
    return f"{name} ({settings})" if settings else name


def _setting(value: Any) -> str:
    """A setting; of settings of its own the names that are neither off nor usual: ``nncf symmetric``."""
    if not isinstance(value, Mapping):
        return str(value)
    return " ".join(text for _, text in sorted(value.items()) if isinstance(text, str) and text not in _USUAL)
