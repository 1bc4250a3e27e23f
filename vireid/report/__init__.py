"""Reports: records in, tables, figures and a rendered page out.

Notebooks call ``open_report``; the rest of the suite calls ``render_report``. Both are imported when first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vireid.report.page import Report, open_report
    from vireid.report.render import render_report

__all__ = ["Report", "open_report", "render_report"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{'render' if name == 'render_report' else 'page'}"), name)
