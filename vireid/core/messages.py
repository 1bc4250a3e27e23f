"""The one way to a terminal, a pipe or a log: text comes out as it was written.

Rich reads square brackets as markup: printed by default, ``profile.runtimes=[eager]`` loses its value, and a path
or a label in brackets vanishes. Every console of the suite is made here, with markup, emoji codes and highlighting
off, in lines, tables, titles and progress alike; colour comes from the ``style`` of a call. Tables are those of
``vireid.core.table``.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console

DASH = "–"  # in place of a value that is not there
_USUAL = ("none", "minmax", "asymmetric", "onnxruntime")  # of quantisation
NOT_COMPARABLE = "not comparable with published results"  # goes with every number on synthetic data


class DeployedFile(Protocol):
    """What a record says of a deployed file: of ``EvaluatedFile`` and of latencies alike."""

    @property
    def precision(self) -> str:
        """Such as fp32 or int8."""

    @property
    def runtime(self) -> Mapping[str, Any]:
        """The runtime's configuration, ``name`` and settings."""


class Printer(Console):
    """A console that breaks and cuts lines on a terminal alone: programs read what a pipe or a file gets."""

    def print(self, *objects: Any, **settings: Any) -> None:
        """As rich's."""
        if not self.is_terminal:
            settings["soft_wrap"] = True
        super().print(*objects, **settings)


def printer(*, stderr: bool = False) -> Console:
    """A console on standard output, or on standard error."""
    return Printer(stderr=stderr, markup=False, emoji=False, highlight=False)


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 thread``, ``2 threads``, ``1,024 queries``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def precision_name(precision: str, runtime: Mapping[str, Any]) -> str:
    """A precision as tables print it, int8 with how it was made where not in the usual way: ``int8 (7-bit weights)``.

    Files of unlike settings are never of one name. ``runtime`` is a runtime's configuration as records have it.
    """
    settings = quantisation_name(runtime.get("quantisation") or {})
    return f"{precision} ({settings})" if settings else precision


def file_name(file: DeployedFile) -> str:
    """Runtime and precision of a deployed file: ``openvino int8 (7-bit weights)``."""
    return f"{file.runtime['name']} {precision_name(file.precision, file.runtime)}"


def quantisation_name(settings: Mapping[str, Any]) -> str:
    """What is neither off nor usual of a quantisation: ``nncf symmetric 7-bit weights``; empty of the usual one."""
    names = [text for _, text in sorted(settings.items()) if isinstance(text, str) and text not in _USUAL]
    return " ".join([*names, *(f"{bits}-bit weights" for bits in [settings.get("weight_bits", 8)] if bits != 8)])
