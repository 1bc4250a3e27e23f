"""Optional packages, imported when first needed, with a message that names the extra where they are absent."""

import importlib
from typing import Any

from vireid.core.errors import UserError

_PACKAGES = {"open_clip": "open_clip_torch"}  # where a package's name is not its module's


def optional_module(module: str, extra: str | None, otherwise: str = "") -> Any:
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
        top = module.partition(".")[0]
        remedy = "install vireid again with what it depends on" if extra is None else f"pip install 'vireid[{extra}]'"
        raise UserError(
            f"this needs the package '{_PACKAGES.get(top, top)}', which is not installed: {remedy}"
            + (f", or {otherwise}" if otherwise else "")
        ) from error
