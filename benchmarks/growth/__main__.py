"""Measure how time grows, print one table, and keep the figures.

    python -m benchmarks.growth --to benchmarks/records/growth.json

Minutes on one core; the machine should be idle. Exponents are of processor time (user and system, of a process and all
that it started) over size, which other work on the machine changes little; limits hold at the largest size. With
``--show FILE`` the table of a kept record is printed as Markdown and nothing is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import vireid
from benchmarks.growth import operations
from benchmarks.growth.measure import ROOT, Operation
from vireid.core.environment import snapshot
from vireid.core.processor import cpu_model
from vireid.core.records import now
from vireid.store import write_atomically

RECORDS = (100, 300, 1_000, 3_000, 10_000)
FACTORS = (4, 6, 8, 10)  # of two levels: 16 to 1,024 cells
ROWS = (10_000, 100_000, 1_000_000)
IMAGES = (2_500, 5_000, 10_000, 20_000)
GALLERIES = (100_000, 300_000, 1_000_000)
WHAT = ("store", "plan", "search", "evaluation", "gallery")


def measured(what: Sequence[str], records: Sequence[int], folder: Path) -> Iterator[Operation]:
    """Each operation, as it is done."""
    if "store" in what:
        yield from operations.store_operations(folder, records, say)
    if "plan" in what:
        say("plans")
        yield operations.plans(folder, FACTORS)
    if "search" in what:
        say("searches in a gallery")
        yield operations.searches(folder, ROWS)
    if "evaluation" in what:
        say("evaluations")
        yield operations.evaluations(folder, IMAGES)
    if "gallery" in what:
        say("evaluations of large galleries")
        yield operations.large_galleries(folder, GALLERIES)


def say(text: str) -> None:
    """Progress, to standard error."""
    print(f"{now()} {text}", file=sys.stderr, flush=True)


def table(entries: Sequence[dict[str, Any]]) -> str:
    """The operations as a Markdown table: processor seconds by size, wall clock at the largest, exponent, limit."""
    lines = [
        "| operation | processor seconds by size | wall clock at the largest | exponent | limit |",
        "|---|---|---|---|---|",
    ]
    for entry in entries:
        costs = {int(size): cost for size, cost in entry["costs"].items()}
        by_size = " · ".join(f"{size:,}: {figure(cost['processor'])}" for size, cost in costs.items())
        exponent, error = entry["exponent"], entry["exponent_standard_error"]
        fitted = "–" if exponent is None else f"{exponent:.2f}" + ("" if error is None else f" ± {error:.2f}")
        limit = "" if entry["limit_seconds"] is None else f"{entry['limit_seconds']:g} s: {entry['verdict']}"
        name = f"{entry['operation']} ({entry['note']})" if entry["note"] else entry["operation"]
        wall = figure(costs[max(costs)]["wall"])
        lines.append(f"| {name} | {entry['unit']}: {by_size} | {wall} s | {fitted} | {limit} |")
    return "\n".join(lines)


def figure(seconds: float) -> str:
    """Three digits."""
    return f"{seconds:.3g}" if seconds < 100 else f"{seconds:.0f}"


def provenance(arguments: Sequence[str], started: str, load: float) -> dict[str, Any]:
    """What was run where."""
    device = {"cpu": cpu_model(), "logical_cores": os.cpu_count(), "python": platform.python_version()}
    environment = snapshot(accelerator="cpu", threads=1, device=device)
    return {
        "command": " ".join(["python", "-m", "benchmarks.growth", *arguments]),
        "vireid": vireid.__version__,
        "started": started,
        "ended": now(),
        "load_before": load,  # running processes, mean over a minute: near 0 on an idle machine
        "environment": environment.model_dump(mode="json"),
    }


def main(arguments: Sequence[str]) -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--to", type=Path, help="JSON file that takes the figures; by default they are printed alone")
    parser.add_argument("--show", type=Path, help="print the table of this file and measure nothing")
    parser.add_argument("--only", choices=WHAT, action="append", help="measure this part alone; repeatable")
    parser.add_argument("--records", default=",".join(map(str, RECORDS)), help="sizes of stores, comma separated")
    options = parser.parse_args(arguments)
    if options.show is not None:
        print(table(json.loads(options.show.read_bytes())["operations"]))
        return
    sizes = sorted(int(size) for size in options.records.split(","))
    started, load = now(), os.getloadavg()[0]
    say(f"load of the machine before: {load:.2f}")
    with tempfile.TemporaryDirectory(prefix="vireid-growth-") as folder:
        entries = [operation.as_json() for operation in measured(options.only or WHAT, sizes, Path(folder))]
    print(table(entries))
    if options.to is not None:
        target = options.to if options.to.is_absolute() else ROOT / options.to
        content = {"schema_version": 1, **provenance(arguments, started, load), "operations": entries}
        write_atomically(target, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        say(f"kept: {target}")


if __name__ == "__main__":
    main(sys.argv[1:])
