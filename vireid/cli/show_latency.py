"""Latency in the terminal: one row per measurement, one table per way from a JPEG file to a ranked list."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from vireid.core.messages import Table
from vireid.profiling.sampling import slowdown

if TYPE_CHECKING:
    from vireid.core.records import LatencyRecord

_DASH = "–"
Cell = Callable[["LatencyRecord"], float | None]

# Columns that only some ways of measuring fill: name, decimals, value. Left out where no record has one.
_OPTIONAL: tuple[tuple[str, int, Cell], ...] = (
    ("load s", 2, lambda r: r.load_seconds),
    ("file MB", 1, lambda r: None if r.size_bytes is None else r.size_bytes / 1e6),
    ("RSS MB", 0, lambda r: None if r.rss_bytes is None else r.rss_bytes / 1e6),
    ("J/image", 2, lambda r: r.joules_per_image),
    ("last ÷ first minute", 2, lambda r: slowdown(r.seconds, r.windows)),
)


def latency_table(records: Iterable[LatencyRecord]) -> Table:
    """Percentiles per forward, throughput, and what else was measured: load time, size on disk, memory, energy."""
    import numpy as np

    shown = list(records)
    table = Table(title="Latency")
    names = ("runtime", "precision", "threads", "batch", "p50 ms", "p90 ms", "p99 ms", "images/s")
    filled = [column for column in _OPTIONAL if any(column[2](record) is not None for record in shown)]
    for name in (*names, *(name for name, *_ in filled), "samples"):
        table.add_column(name, justify="left" if name in ("runtime", "precision") else "right")
    for record in shown:
        head = (condition(record), record.precision, str(record.threads), str(record.batch))
        if record.status != "ok":
            table.add_row(*head, *[_DASH] * (5 + len(filled)))
            continue
        p50, p90, p99 = np.percentile(record.seconds, [50, 90, 99])
        table.add_row(
            *head,
            *(f"{1e3 * value:.2f}" for value in (p50, p90, p99)),
            f"{record.batch / p50:.1f}",
            *(_number(read(record), decimals) for _, decimals, read in filled),
            str(len(record.seconds)),
        )
    return table


def stages_table(record: LatencyRecord) -> Table:
    """Where the time of one query goes: median and share of each stage, and the whole way."""
    import numpy as np

    table = Table(title="From JPEG to ranked list")
    for name in ("stage", "p50 ms", "p90 ms", "share %"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    whole = sum(statistics.fmean(seconds) for seconds in record.stages.values())
    for name, seconds in record.stages.items():
        p50, p90 = np.percentile(seconds, [50, 90])
        share = 100 * statistics.fmean(seconds) / whole
        table.add_row(name, f"{1e3 * p50:.2f}", f"{1e3 * p90:.2f}", f"{share:.1f}")
    table.add_section()
    p50, p90 = np.percentile(record.seconds, [50, 90])
    table.add_row("whole way", f"{1e3 * p50:.2f}", f"{1e3 * p90:.2f}", "100.0")
    return table


def stages_settings(record: LatencyRecord) -> str:
    """What went the way and what was searched, on one line."""
    settings, image = record.stage_settings, record.stage_settings.get("image")
    begin = "pixels" if image is None else f"JPEG {image['height']}×{image['width']}, {image['bytes'] / 1e3:.1f} kB"
    searched = f"{settings['gallery']} rows, {settings['gallery_bytes'] / 1e6:.2f} MB"
    return f"{place(record)}: {begin}; gallery of {searched}; the {settings['top']} best"


def condition(record: LatencyRecord) -> str:
    """Runtime, and under what it was measured where that is not the whole machine."""
    words = [str(record.runtime.get("name"))]
    words += ["isolated"] if record.isolated and record.limit is None else []
    words += [] if record.limit is None else [str(record.limit["name"])]
    words += ["sustained"] if record.windows else []
    if record.stage_settings:
        words.append("from JPEG" if "image" in record.stage_settings else "with search")
    return ", ".join(words)


def remarks(records: Iterable[LatencyRecord]) -> list[str]:
    """What the profiler says of its own measurements, and why some were not made."""
    lines: list[str] = []
    for record in records:
        lines += [f"{place(record)}: {note}" for note in record.notes]
        if record.status != "ok":
            lines.append(f"{place(record)}: {record.status}: {record.reason}")
    return lines


def place(record: LatencyRecord) -> str:
    """Condition, precision, threads and batch of a record, on one line."""
    threads = f"{record.threads} thread" + ("s" if record.threads > 1 else "")
    return f"{condition(record)}, {record.precision}, {threads}, batch {record.batch}"


def _number(value: float | None, decimals: int) -> str:
    return _DASH if value is None else f"{value:.{decimals}f}"
