"""What is printed: the machine, the table, and the sentence that names the best file."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

from ...profiling.sampling import summarise
from .choice import Candidate, Choice

COLUMNS = ("file", "threads", "batch", "p50 ms", "p90 ms", "p99 ms", "images/s", "MB", "RSS MB", "load s", "mAP %")


def machine(description: Mapping[str, Any], sensors: Mapping[str, Any], packages: Mapping[str, str]) -> list[str]:
    """Processor, what its sensors say, and the software, on lines of their own."""
    cores = f"{description['logical_cores']} cores"
    if description["physical_cores"] not in (None, description["logical_cores"]):
        cores += f" ({description['physical_cores']} physical)"
    memory = description["memory_bytes"]
    lines = [
        f"{description['cpu']}, {description['architecture']}, {cores}"
        + (f", {memory / 1e9:.1f} GB" if memory else ""),
        f"instruction sets: {' '.join(description['isa']) or 'none that are known'}",
    ]
    lines += [f"{name}: {_reading(reading)}" for name, reading in sensors.items()]
    software = ", ".join(f"{name} {version}" for name, version in packages.items())
    return [*lines, f"Python {platform.python_version()}, {software}"]


def _reading(reading: Mapping[str, Any]) -> str:
    value, unit = reading["value"], reading.get("unit", "")
    if value is None:
        return f"not readable ({reading.get('reason')})"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {number:g}" for name, number in value.items()) + f" {unit}"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value} {unit}".strip()


def nearness(precision: str, compared: Mapping[str, Any]) -> str:
    """How near features are to the references."""
    if precision != "int8":
        near = f"cosine {compared['cosine']:.6f}, largest difference {compared['difference']:.1e}"
        return f"{near}, {compared['images']} images"
    ranks = f"{100 * compared['overlap10']:.1f} % of the ten nearest and {100 * compared['rank1']:.1f} % of the nearest"
    loss = max(0.0, 1 - compared["cosine"])
    return f"cosine loss at most {loss:.1e}; {ranks} the same; {compared['images']} images"


def foreign_accuracy(name: str, accuracy: Mapping[str, Any], here: str) -> str:
    """That an int8 accuracy was measured on other instructions than this machine's; empty where it was on the same."""
    there = accuracy["kernels"]
    if there == here:
        return ""
    measured = "with instructions that were not recorded" if there is None else f"on {there}"
    return f"{name}: its mAP was measured {measured}, and this machine computes int8 on {here}; see the check above"


def row(name: str, record: Mapping[str, Any], accuracy: Mapping[str, Any] | None) -> list[str]:
    """A line of the table."""
    speed = summarise(record["seconds"], record["batch"])
    resident = record.get("rss_bytes")
    return [
        name,
        str(record["threads"]),
        str(record["batch"]),
        *(f"{1e3 * value:.2f}" for value in (speed.p50, speed.p90, speed.p99)),
        f"{speed.throughput:.1f}",
        f"{record['size_bytes'] / 1e6:.1f}",
        "-" if resident is None else f"{resident / 1e6:.0f}",
        f"{record['load_seconds']:.2f}",
        "-" if accuracy is None else f"{100 * accuracy['mAP']:.1f}",
    ]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns aligned: the first to the left, the others to the right."""
    lines = [COLUMNS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells))
        for cells in ([*zip(line, widths)] for line in lines)
    ]


def sentence(choice: Choice, max_ms: float | None, max_mb: float | None, note: str = "") -> str:
    """The best file, its interval and the runner-up; ``note`` says what the accuracies are of."""
    limits = [f"{max_ms:g} ms" if max_ms is not None else "", f"{max_mb:g} MB" if max_mb is not None else ""]
    within = " within " + " and ".join(filter(None, limits)) if any(limits) else ""
    if choice.best is None:
        return f"No file stays{within}."
    if not choice.by_accuracy:
        text = f"Fastest{within}: {_measured(choice.best)}; its accuracy is not known to this bundle"
        return text + (f"; next: {_measured(choice.runner_up)}." if choice.runner_up else ".")
    text = f"Most accurate{within}: {_measured(choice.best)}"
    if choice.runner_up is None:
        text += "; no other file of known accuracy" + (" stays within the limits" if within else " was measured")
    else:
        text += f"; runner-up: {_measured(choice.runner_up)}"
        text += ", whose interval overlaps: the order may be chance" if choice.overlapping else ""
    if choice.unknown:
        text += f"; of unknown accuracy, left out: {', '.join(c.name for c in choice.unknown)}"
    return f"{text}. Accuracy: {choice.best.protocol}{note}."


def _measured(candidate: Candidate) -> str:
    details = [f"{candidate.ms:.{1 if candidate.ms >= 10 else 2}f} ms", f"{candidate.mb:.1f} MB"]
    if candidate.mAP is not None:
        details.append(f"mAP {100 * candidate.mAP:.1f} %")
    if candidate.low is not None and candidate.high is not None:
        details.append(f"95 % interval {100 * candidate.low:.1f} to {100 * candidate.high:.1f}")
    return f"{candidate.name} ({', '.join(details)})"
