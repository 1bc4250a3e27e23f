"""The libraries of text towers, imported when first needed: most runs read no text, and they take seconds."""

from __future__ import annotations

from typing import Any

from vireid.core.extras import optional_module


def text_library(module: str) -> Any:
    """Import a module of open_clip or transformers.

    Raises:
        UserError: its package is not installed.
    """
    return optional_module(module, None, "train without text (model.fusion=none)")
