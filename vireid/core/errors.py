"""The one exception that reaches a user as a message instead of a traceback, and optional packages, which need one."""

import difflib
import importlib
from collections.abc import Iterable
from typing import Any, Literal


class UserError(Exception):
    """Bad input: the message names the thing, the place and the remedy. The CLI prints it and exits with 2."""


class TrainingDivergedError(UserError):
    """A loss became NaN or infinite; the message names the term, the epoch and the step."""


def did_you_mean(given: str, valid: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the valid name nearest to ``given``, or the whole list if none is near."""
    names = sorted(set(valid))
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; valid: {', '.join(names)}" if names else ""


# Where a package's name is not its module's.
_PACKAGES = {"open_clip": "open_clip_torch", "faiss": "faiss-cpu", "pytorch_grad_cam": "grad-cam"}
Extra = Literal["deploy", "edge", "backbones", "faiss", "cluster", "slurm", "explain", "tracking"]
"""Extras of ``pyproject.toml`` that code asks for."""


def not_installed(module: str, extra: Extra | None) -> str:
    """That a module's package is absent, and how to bring it: from a checkout, whose lock knows it, or elsewhere."""
    top = module.partition(".")[0]
    package = _PACKAGES.get(top, top)
    checkout = "make install" + ("" if extra is None else f" EXTRAS={extra}")
    return (
        f"needs the package '{package}', which is not installed: {checkout}, outside a checkout pip install {package}"
    )


def optional_module(module: str, extra: Extra | None, otherwise: str = "") -> Any:
    """Import a module of an optional package.

    Args:
        module: its full name.
        extra: of ``pyproject.toml``, that brings the package; None where it belongs to every installation.
        otherwise: what else a user can do, for the message.

    Raises:
        UserError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(f"this {not_installed(module, extra)}" + (f", or {otherwise}" if otherwise else "")) from error
