"""Whether another machine has the packages that every installation of the suite has."""

import re
from collections.abc import Callable
from functools import cache
from importlib import metadata

_NAME = re.compile(r"[\w.-]+")


@cache
def needed_packages() -> dict[str, list[str]]:
    """Required packages, each with the modules by which it is known; extras are left out."""
    required = {_plain(text) for text in metadata.requires("vireid") or [] if "extra ==" not in text}
    modules: dict[str, list[str]] = {}
    for module, packages in metadata.packages_distributions().items():
        for package in packages:
            if _plain(package) in required:
                modules.setdefault(_plain(package), []).append(module)
    return modules


def finder() -> Callable[[dict[str, list[str]]], list[str]]:
    """A function that says which of ``needed_packages`` are missing where it runs.

    It travels by its code, not by its name: where it runs, the suite itself may be impossible to import.
    """

    def missing(packages: dict[str, list[str]]) -> list[str]:
        import importlib.util

        def is_there(module: str) -> bool:
            try:
                return importlib.util.find_spec(module) is not None
            except (ImportError, ValueError):
                return False

        return sorted(package for package, modules in packages.items() if not any(map(is_there, modules)))

    return missing


def _plain(requirement: str) -> str:
    """A package's name as indexes compare it, without versions."""
    name = _NAME.match(requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()
