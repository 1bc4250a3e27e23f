"""The storages of a gallery in faiss, where it is installed: to compare times with, search by search.

``fp32`` and what PCA reduces are flat indices of inner products, ``fp16`` a scalar quantiser of halves, ``int8`` one of
8 bits with a range per dimension (other codes than ``vireid.evaluation.gallery`` has), ``binary`` a flat index of
Hamming distances whose first rows are put in order by the same int8 scores.

Shapes: G gallery rows, D feature width.
"""

from typing import Any

import numpy as np

from vireid.core.errors import optional_module
from vireid.core.types import FloatArray, IntArray
from vireid.evaluation.gallery import REDUCED, Codec, candidates, unit

TRAINING_ROWS = 10_000  # that ranges of the 8-bit quantiser are of


class FaissGallery:
    """G rows in faiss' form of a storage.

    Args:
        codec: of the storage.
        threads: of the searches.

    Raises:
        UserError: faiss is not installed.
    """

    def __init__(self, codec: Codec, threads: int) -> None:
        faiss = optional_module("faiss", "faiss", "time NumPy alone (--library numpy)")
        faiss.omp_set_num_threads(threads)
        self._codec, width = codec, REDUCED.get(codec.name, codec.width)
        kinds = {"fp16": faiss.ScalarQuantizer.QT_fp16, "int8": faiss.ScalarQuantizer.QT_8bit}
        self._bits: Any = faiss.IndexBinaryFlat(8 * -(-width // 8)) if codec.name == "binary" else None
        quantiser = kinds.get("int8" if codec.name == "binary" else codec.name)
        self._index: Any = (
            faiss.IndexFlatIP(width)
            if quantiser is None
            else faiss.IndexScalarQuantizer(width, quantiser, faiss.METRIC_INNER_PRODUCT)
        )

    def add(self, features: FloatArray) -> None:
        """Add rows (B×D); the first ones give the 8-bit quantiser its ranges."""
        rows = self._reduced(features)
        if not self._index.is_trained:
            self._index.train(rows[:TRAINING_ROWS])
        self._index.add(rows)
        if self._bits is not None:
            self._bits.add(np.packbits(rows > self._codec.mean, axis=1))

    def search(self, query: FloatArray, top: int) -> IntArray:
        """The ``top`` best rows for a query (D), best first."""
        prepared = self._reduced(query[None])
        if self._bits is None:
            return np.asarray(self._index.search(prepared, top)[1][0])
        bits = np.packbits(prepared > self._codec.mean, axis=1)
        first = self._bits.search(bits, max(candidates(self._bits.ntotal), top))[1][0]
        first = first[first >= 0]
        scores = self._index.reconstruct_batch(first) @ prepared[0]
        return np.asarray(first[np.argsort(-scores, kind="stable")[:top]])

    def _reduced(self, features: FloatArray) -> FloatArray:
        rows = unit(features)
        if self._codec.components is not None:
            rows = unit((rows - self._codec.mean) @ self._codec.components)
        return np.ascontiguousarray(rows, dtype=np.float32)
