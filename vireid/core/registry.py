"""Lazy component tables: a name maps to ``module:Class`` and is imported only when asked for.

A name with a colon is a plug-in (``my_method:MyMethod``), so that a user's own component needs no fork.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vireid.core.errors import UserError, did_you_mean


class Registry:
    """Table of the components of one kind (``"model"``, ``"weighting"``, …).

    Every component class has ``Config`` (a strict pydantic model with a ``name`` field) and ``version`` (a string
    that enters the run identity and is raised when a change alters results).
    """

    def __init__(self, kind: str, table: Mapping[str, str]) -> None:
        self.kind = kind
        self._table = dict(table)

    def names(self) -> list[str]:
        """Registered names in table order."""
        return list(self._table)

    def load(self, name: str) -> Any:
        """Import and return the component class called ``name``.

        Raises:
            UserError: unknown name, or a plug-in whose module or class cannot be found.
        """
        target = self._target(name)
        module_name, _, attribute = target.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and module_name.startswith(error.name):
                where = f"not found on {sys.path[0] or 'the current directory'} or the Python path"
            else:
                where = f"needs the package '{error.name}', which is not installed"
            raise UserError(f"{self.kind} '{name}': module '{module_name}' {where}") from error
        if not hasattr(module, attribute):
            classes = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module_name]
            raise UserError(
                f"{self.kind} '{name}': module '{module_name}' has no '{attribute}'{did_you_mean(attribute, classes)}"
            )
        component = getattr(module, attribute)
        for needed in ("Config", "version"):
            if not hasattr(component, needed):
                raise UserError(f"{self.kind} '{name}': class '{attribute}' lacks the attribute '{needed}'")
        return component

    def source_digest(self, name: str) -> str:
        """Digest (12 hex digits) of the component's module and of the modules of its own package that it imports.

        The suite's core (errors, registries, configuration) is left out: it changes with every new feature and decides
        no result, and would mark all records as stale each time.
        """
        module_name = self._target(name).partition(":")[0]
        digest = hashlib.sha256()
        for path in sorted(_sources(module_name)):
            digest.update(Path(path).read_bytes())
        return digest.hexdigest()[:12]

    def _target(self, name: str) -> str:
        if ":" in name:
            return name
        if name not in self._table:
            raise UserError(
                f"unknown {self.kind} '{name}'{did_you_mean(name, self._table)} (or give your own as module:Class)"
            )
        return self._table[name]


_CORE = __name__.rpartition(".")[0] + "."


@cache
def _sources(module_name: str) -> frozenset[str]:
    """Files of a module and of what it imports within its top-level package, followed through."""
    found: dict[str, str] = {}
    queue = [module_name]
    top = module_name.partition(".")[0]
    while queue:
        name = queue.pop()
        if name in found or f"{name}.".startswith(_CORE):
            continue
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, AttributeError, ValueError):
            continue
        if spec is None or not spec.origin or not spec.origin.endswith(".py"):
            continue
        found[name] = spec.origin
        for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                queue += [alias.name for alias in node.names if alias.name.partition(".")[0] == top]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").partition(".")[0] == top:
                queue += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return frozenset(found.values())
