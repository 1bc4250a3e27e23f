"""Freed memory is kept inside the block and given back after it; accelerators and other C libraries are left alone."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys

import pytest
import torch

from vireid.training import allocator
from vireid.training.allocator import keep_freed_memory

CPU = torch.device("cpu")
# In a process of its own: a hole that earlier work has left in the heap would be reused with and without us.
MEASURE = """
import json, resource
import psutil, torch
from vireid.training.allocator import keep_freed_memory

SIZE = 48 << 20  # above the largest threshold that glibc adapts to

def faults_of_reuse():
    torch.ones(SIZE // 4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(SIZE // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return psutil.Process().memory_info().rss

without = faults_of_reuse()
with keep_freed_memory(torch.device("cpu")):
    for _ in range(16):  # alignment leaves blocks a few bytes short at first; the heap grows until all fit
        faults_of_reuse()
    inside = faults_of_reuse()
    kept = resident()
print(json.dumps({"without": without, "inside": inside, "given_back": (kept - resident()) / SIZE}))
"""


@pytest.mark.skipif(allocator._glibc() is None, reason="the C library is not glibc")
def test_freed_blocks_are_reused_and_given_back():
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    if measured["without"] < 1000:
        pytest.skip("this system's pages are so large that fetching them costs nothing")
    assert measured["inside"] < 100
    assert measured["given_back"] > 0.5


def test_restored_after_an_error(monkeypatch):
    calls = []

    class Libc:
        def mallopt(self, parameter: int, value: int) -> None:
            calls.append((parameter, value))

        def malloc_trim(self, pad: int) -> None:
            calls.append("trim")

    monkeypatch.setattr(allocator, "_glibc", Libc)
    with pytest.raises(RuntimeError), keep_freed_memory(CPU):
        raise RuntimeError
    assert calls == [*allocator._SET_HERE, *allocator._SET_BACK, "trim"]


def test_does_nothing_elsewhere(monkeypatch):
    def refuse(*_: object) -> ctypes.CDLL:
        raise AssertionError

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    with keep_freed_memory(torch.device("cuda")):
        pass
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    with keep_freed_memory(CPU):
        pass
