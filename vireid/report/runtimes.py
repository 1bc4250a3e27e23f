"""Runtimes in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_USUAL = ("none", "minmax", "asymmetric")


def runtime_label(runtime: Mapping[str, Any]) -> str:
    """A runtime's name with its settings, precision and version left out."""
    settings = ", ".join(
        key.replace("_", " ") if value is True else f"{key.replace('_', ' ')} {_in_words(value)}"
        for key, value in sorted(runtime.items())
        if key not in ("name", "precision", "version") and value not in (None, False, "")
    )
    name = str(runtime.get("name", "unnamed runtime"))
    return f"{name} ({settings})" if settings else name


def _in_words(value: Any) -> str:
    """A setting; of settings of its own the words, without what is off or usual: ``nncf symmetric``."""
    if not isinstance(value, Mapping):
        return str(value)
    return " ".join(text for _, text in sorted(value.items()) if isinstance(text, str) and text not in _USUAL)
