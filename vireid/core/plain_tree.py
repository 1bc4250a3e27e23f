"""A composed configuration as plain mappings: the common cases of what OmegaConf does, twenty times as fast.

A study's plan composes thousands of configurations that differ in a few keys. Here a key is set and a reference to
another key resolved where both are plain; whatever else there may be is left to OmegaConf, and so are its messages.
"""

import re
from collections.abc import Mapping
from typing import Any

_SCALARS = (str, int, float, bool, type(None))
_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}")
_ABSENT = object()


def copied(part: Any) -> Any:
    """A copy whose mappings and lists are its own."""
    if isinstance(part, dict):
        return {key: copied(value) for key, value in part.items()}
    return [copied(value) for value in part] if isinstance(part, list) else part


def put(tree: dict[str, Any], key: str, value: Any) -> bool:
    """Set a dotted key to a scalar or a list of scalars; False, with nothing changed, where that is not plain."""
    entries = value if type(value) is list else [value]
    *sections, name = key.split(".")
    if not all(part.isidentifier() for part in (*sections, name)) or not all(type(e) in _SCALARS for e in entries):
        return False
    part = tree
    for section in sections:
        below = part.get(section)
        if not isinstance(below, dict):
            return False
        part = below
    part[name] = copied(value)
    return True


def select(tree: Mapping[str, Any], *keys: str) -> Any:
    """What stands at a key, None where nothing does."""
    part: Any = tree
    for key in keys:
        part = part.get(key) if hasattr(part, "get") else None
    return part


def resolved(tree: dict[str, Any]) -> dict[str, Any] | None:
    """The tree with every ``${key}`` replaced by the scalar that stands there; None where one says anything else."""
    whole = _resolved(tree, tree)
    return None if whole is _ABSENT else whole


def _resolved(part: Any, tree: dict[str, Any]) -> Any:
    if isinstance(part, dict):
        values = {key: _resolved(value, tree) for key, value in part.items()}
        return _ABSENT if any(value is _ABSENT for value in values.values()) else values
    if isinstance(part, list):
        entries = [_resolved(value, tree) for value in part]
        return _ABSENT if any(value is _ABSENT for value in entries) else entries
    if not isinstance(part, str) or "${" not in part:
        return part
    reference = _REFERENCE.fullmatch(part)
    target = None if reference is None else select(tree, *reference[1].split("."))
    plain = type(target) in _SCALARS and target is not None
    return target if plain and "${" not in str(target) and target != "???" else _ABSENT
