"""How a process's OpenMP threads wait for each other. Needs the standard library alone."""

import os

# Threads that spin at a barrier hold a core that the thread they wait for may need. Beside one busy process a training
# step on two of two cores takes 1.8 times as long so (1.5 to 1.9), beside several more; sleeping costs 12 % of a step
# on a quiet machine (benchmarks/bench_waiting.py, EPYC family 26). Latencies are measured in the library's own way.
PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}


def wait_patiently() -> None:
    """Let this process's OpenMP threads sleep while they wait, unless the environment says otherwise.

    The environment is read when torch is imported: afterwards this changes nothing.
    """
    for name, value in PATIENT.items():
        os.environ.setdefault(name, value)
