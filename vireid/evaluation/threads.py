"""Threads for array work: NumPy releases the interpreter lock inside its loops, so blocks of rows run side by side."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def blocks(count: int, step: int) -> list[slice]:
    """Consecutive slices of at most ``step`` that cover ``count`` rows."""
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Results in the order of the items, by as many threads as torch may use."""
    given = list(items)
    workers = min(torch.get_num_threads(), len(given))
    if workers < 2:
        return [function(item) for item in given]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, given))
