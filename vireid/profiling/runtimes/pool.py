"""Sessions of libraries whose number of threads is fixed when a model is loaded."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vireid.profiling.runtimes.base import Session


class PoolSession:
    """Loads a model with as many threads as PyTorch has, and again where that number has changed since.

    PyTorch's number is what ``vireid.profiling.latency.thread_limit`` sets, so a session is measured with the threads
    that its record names, wherever it was prepared.
    """

    def __init__(self, load: Callable[[int], Session]) -> None:
        self._load = load
        self.threads = torch.get_num_threads()
        self._session = load(self.threads)

    def __call__(self, images: Tensor) -> Any:
        """Embeddings (B×D) of images (B×3×H×W)."""
        if torch.get_num_threads() != self.threads:
            self.threads = torch.get_num_threads()
            self._session = self._load(self.threads)
        return self._session(images)
