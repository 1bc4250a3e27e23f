"""Figures of a report, one file each; all are drawn on ``canvas`` and saved as vector copies beside the page."""
