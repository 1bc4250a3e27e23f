"""How a process's OpenMP threads wait for each other. Needs the standard library alone."""

from __future__ import annotations

import os

# Threads that spin at a barrier hold a core that the thread they wait for may need. Where anything else runs (a
# browser, another fit, tests), a training step on two threads then takes five to eight times as long; on a quiet
# machine sleeping costs nothing that can be measured (benchmarks/bench_waiting.py). Latencies are measured with the
# library's own way.
PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}


def wait_patiently() -> None:
    """Let this process's OpenMP threads sleep while they wait, unless the environment says otherwise.

    The environment is read when torch is imported: afterwards this changes nothing.
    """
    for name, value in PATIENT.items():
        os.environ.setdefault(name, value)
