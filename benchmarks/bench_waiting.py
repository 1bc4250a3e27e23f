"""A training step whose threads sleep while they wait, beside one whose threads spin, on a quiet and on a busy machine.

ResNet-18, 96×48, 32 images, as many threads as cores, every contestant in a process of its own, taking turns. "Busy"
means that one more process computes on a single thread meanwhile:

    python benchmarks/bench_waiting.py

The ratio that counts is the busy machine's: what `vireid.core.threads` gains where something else runs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from vireid.core.threads import PATIENT
from vireid.profiling.device import available_cores

STEPS, ROUNDS = 8, 3
STEP = """
import sys, time, torch, torchvision
torch.set_num_threads(int(sys.argv[1]))
model, images = torchvision.models.resnet18(), torch.randn(32, 3, 96, 48)
optimiser, taken = torch.optim.Adam(model.parameters()), []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    model(images).square().mean().backward()
    optimiser.step()
    optimiser.zero_grad()
    taken.append(time.perf_counter() - start)
print(sorted(taken[1:])[len(taken) // 2])
"""
WORK = "while True: sum(range(10000))"


def seconds(environment: dict[str, str], threads: int) -> float:
    """Median of one contestant's steps."""
    command = [sys.executable, "-c", STEP, str(threads), str(STEPS)]
    rest = {name: value for name, value in os.environ.items() if name not in PATIENT}
    return float(subprocess.run(command, env={**rest, **environment}, capture_output=True, check=True).stdout)


def main() -> None:
    """Print both ratios."""
    threads = available_cores()
    for busy in (False, True):
        other = subprocess.Popen([sys.executable, "-c", WORK]) if busy else None
        try:
            turns = [(seconds({}, threads), seconds(PATIENT, threads)) for _ in range(ROUNDS)]
        finally:
            if other is not None:
                other.kill()
                other.wait()
        spinning, sleeping = (statistics.median(column) for column in zip(*turns, strict=True))
        ratios = [first / second for first, second in turns]
        print(
            f"{'busy' if busy else 'quiet'}: spinning {spinning:.3f} s, sleeping {sleeping:.3f} s a step on {threads} "
            f"threads: {statistics.median(ratios):.2f} times faster ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
