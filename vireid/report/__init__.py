"""Reports: records in, tables, figures and a rendered page out.

Notebooks call ``open_report``, ``open_comparison`` or ``open_hardware``; the rest of the suite calls
``render_report``. Each is imported when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vireid.report.comparison.page import open_comparison
    from vireid.report.hardware.page import open_hardware
    from vireid.report.page import Report, open_report
    from vireid.report.render import render_report

__all__ = ["Report", "open_comparison", "open_hardware", "open_report", "render_report"]


def __getattr__(name: str) -> Any:
    if name in ("Report", "open_report"):
        from vireid.report import page

        return getattr(page, name)
    if name == "open_comparison":
        from vireid.report.comparison.page import open_comparison

        return open_comparison
    if name == "open_hardware":
        from vireid.report.hardware.page import open_hardware

        return open_hardware
    if name == "render_report":
        from vireid.report.render import render_report

        return render_report
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
