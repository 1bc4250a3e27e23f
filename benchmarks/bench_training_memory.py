"""Smallest memory that trains each size: peak of a few steps in a process of its own, for every way of saving memory.

    python benchmarks/bench_training_memory.py            # prints the table
    python benchmarks/bench_training_memory.py --write    # and puts it into docs/training.md, with the machine

The optimiser step is over 32 images (8 identities × 4) in every row; with accumulation it comes from four batches of 8.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from training.contestants import CPU, Size, make_batch, make_run
from training.document import command, write_table

from vireid.core.seeding import seed_everything
from vireid.models.idkl import IDKL, IDKLConfig
from vireid.profiling.device import describe_device
from vireid.profiling.memory import PeakMemory
from vireid.training.allocator import keep_freed_memory

STEPS = 4
SIZES: dict[str, tuple[dict[str, Any], Size]] = {
    "ResNet-18 × ¼, 96×48": ({"backbone": "resnet18", "width": 0.25}, Size(8, 4, 96, 48, 395)),
    "ResNet-50, 288×144": ({}, Size(8, 4, 288, 144, 395)),
    "ResNet-50, 384×144": ({}, Size(8, 4, 384, 144, 395)),
}
WAYS: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
    "bf16, checkpointing": {"precision": "bf16", "activation_checkpointing": True},
    "bf16, checkpointing, 4 × 8 images": {"precision": "bf16", "activation_checkpointing": True, "accumulation": 4},
}


@dataclass(frozen=True)
class Measured:
    """Of one fit: resident memory of the process in bytes, and the median time of an optimiser step."""

    before_bytes: int  # interpreter and libraries, before the model is built
    peak_bytes: int
    seconds: float


def measure(model: dict[str, Any], size: Size, way: dict[str, Any]) -> Measured:
    """Train for a few steps in this process."""
    count = way.get("accumulation", 1)
    part = replace(size, identities=size.identities // count)
    with PeakMemory() as memory, keep_freed_memory(CPU):
        seed_everything("benchmark")
        network = IDKL(IDKLConfig(**model), size.classes)
        run = make_run(network, [make_batch(part)] * (STEPS * count), part, epochs=1, **way)
        run.epoch(None, None, None, None)
    return Measured(memory.baseline_bytes, memory.peak_bytes, statistics.median(run.measured.step_seconds[1:]))


def table(results: dict[str, dict[str, Measured]]) -> str:
    """Markdown: sizes by ways, peak in GB above what the libraries take, and relative step time."""
    lines = ["| | " + " | ".join(WAYS) + " |", "|---" * (len(WAYS) + 1) + "|"]
    for size, ways in results.items():
        plain = ways["fp32"].seconds
        cells = [
            f"{(one.peak_bytes - one.before_bytes) / 1e9:.2f} GB, {one.seconds / plain:.2f} × time"
            for one in ways.values()
        ]
        lines.append(f"| {size} | " + " | ".join(cells) + " |")
    base = max(one.before_bytes for ways in results.values() for one in ways.values()) / 1e9
    machine = describe_device()
    lines.append("")
    lines.append(
        f"Peak resident memory of {STEPS} optimiser steps over 32 images (weights, gradients, optimiser state, "
        f"activations), without the {base:.1f} GB that Python and the libraries take before a model is built. "
        f"{machine['cpu']} (family/model/stepping {'/'.join(map(str, machine['cpu_family_model_stepping']))}; "
        f"{' '.join(machine['isa'])}), {machine['physical_cores']} cores, {machine['memory_bytes'] / 1e9:.0f} GB; "
        f"{machine['os']}; torch {machine['torch']}. Made by `{command()}`."
    )
    return "\n".join(lines)


def run_all() -> dict[str, dict[str, Measured]]:
    """Every size in every way, each in a process of its own."""
    results: dict[str, dict[str, Measured]] = {}
    for size in SIZES:
        for way in WAYS:
            done = subprocess.run(
                [sys.executable, "-W", "ignore", __file__, "--one", size, way],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                env=os.environ | {"ACCELERATE_LOG_LEVEL": "ERROR"},
            )
            results.setdefault(size, {})[way] = Measured(**json.loads(done.stdout.splitlines()[-1]))
            print(size, "|", way, "|", results[size][way])
    return results


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/training.md")
    parser.add_argument("--one", nargs=2, metavar=("SIZE", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        size, way = options.one
        print(json.dumps(asdict(measure(*SIZES[size], WAYS[way]))))
        return
    text = table(run_all())
    print(f"\n{text}")
    if options.write:
        write_table("memory table", text)


if __name__ == "__main__":
    main()
