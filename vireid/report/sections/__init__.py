"""Sections of a report, one file each: ``render`` takes the report, and writes its copies under ``report.out``.

A notebook asks for a section by the name of its file: ``report.section("summary")``.
"""
