"""A gallery as it is stored, and searched as it is stored, block by block of rows; by cosine.

Pure and self-contained (NumPy alone, Python 3.9): a bundle takes this file along, so that a device searches as the
suite evaluates. All but ``binary`` approximate the cosine of unit features u and v:

- ``fp32``, ``fp16``: the values of u, rounded; products and sums in float32.
- ``int8``: each row has a scale s = max |u| ÷ 127 and codes round(u ÷ s); the score is s · Σ code · v, the query in
  float32. Nothing is fitted.
- ``pca256``, ``pca128``, ``pca64``: u and v less the mean of training features, on the leading eigenvectors of their
  covariance, scaled to length 1 again; float32.
- ``binary``: a bit per dimension, whether u is above the mean of training features there. Rows are ordered by Hamming
  distance, equal ones by row; the first tenth, at most ``CANDIDATES`` rows (or as many as are asked for), are put in
  order by their int8 scores, which are stored too. What follows them stays in the order of the distances. In a gallery
  of fewer than 1000 rows a tenth, so that its accuracy is that of the bits and not of the int8 scores alone.

Equal scores keep the order of rows, as in the suite's evaluation.

Shapes: G gallery rows, B rows at a time, D feature width, K reduced width, W words of 64 bits, N training features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

REDUCED = {"pca256": 256, "pca128": 128, "pca64": 64}  # width that each keeps
STORAGES = ("fp32", "fp16", "int8", *REDUCED, "binary")
FITTED = (*REDUCED, "binary")  # that need training features
CANDIDATES = 100  # most rows of the smallest Hamming distances that int8 scores put in order
BLOCK_VALUES = 1 << 18  # float32 values that are held at once where rows are unpacked: 1 MiB, what a core's cache holds
BLOCK_ROWS = 1 << 14  # rows whose Hamming distances are taken at once
_BITS = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)
_TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Codec:
    """What turns features of one width into stored rows."""

    name: str
    width: int  # D
    mean: Array  # D, of training features of length 1; zeros where nothing is fitted
    components: Array | None = None  # D×K


def storages_for(width: int) -> tuple[str, ...]:
    """Storages of features of a width: those that reduce it to less, and all others."""
    return tuple(name for name in STORAGES if REDUCED.get(name, 0) < width)


def fit_codec(name: str, width: int, training: Array | None = None) -> Codec:
    """A codec for features of ``width``.

    Args:
        name: one of ``STORAGES``.
        width: D.
        training: N×D features of training images, of any length; for those in ``FITTED``.

    Raises:
        ValueError: an unknown storage, none that is smaller, or too few training features.
    """
    if name not in storages_for(width):
        raise ValueError(f"storage {name}: of {width} values there are {', '.join(storages_for(width))}")
    if name not in FITTED:
        return Codec(name, width, np.zeros(width, dtype=np.float32))
    if training is None or len(training) <= REDUCED.get(name, 1):
        given = "no" if training is None else f"{len(training)}"
        raise ValueError(f"storage {name}: {given} training features; more than {REDUCED.get(name, 1)} are needed")
    features = unit(training).astype(np.float64)
    mean = features.mean(axis=0)
    if name not in REDUCED:
        return Codec(name, width, mean.astype(np.float32))
    centred = features - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)  # eigenvalues ascend
    leading = vectors[:, ::-1][:, : REDUCED[name]]
    largest = np.take_along_axis(leading, np.abs(leading).argmax(axis=0)[None], axis=0)
    leading = leading * np.where(largest < 0, -1.0, 1.0)  # a vector's sign is free: the same on every machine
    return Codec(name, width, mean.astype(np.float32), np.ascontiguousarray(leading, dtype=np.float32))


def stand_in(name: str, width: int) -> Codec:
    """A codec of the right shapes for measuring time, which values do not change."""
    if name not in FITTED:
        return fit_codec(name, width)
    count = REDUCED.get(name, 1) + 1
    return fit_codec(name, width, np.random.default_rng(0).standard_normal((count, width), dtype=np.float32))


def unit(features: Array) -> Array:
    """Rows (B×D) of length 1, float32."""
    wide = np.asarray(features, dtype=np.float32)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), _TINY))


class Gallery:
    """G rows in one storage, which ``fill`` writes block by block: no other copy of the features is needed.

    Args:
        codec: of the storage.
        rows: G.
    """

    def __init__(self, codec: Codec, rows: int) -> None:
        self.codec, self.rows = codec, rows
        width = codec.width if codec.components is None else codec.components.shape[1]
        integers = codec.name in ("int8", "binary")
        kind: Any = np.int8 if integers else np.float16 if codec.name == "fp16" else np.float32
        words = -(-width // 64) if codec.name == "binary" else 0
        self._values: Array = np.zeros((rows, width), dtype=kind)
        self._scale: Array = np.zeros(rows if integers else 0, dtype=np.float32)
        self._words: Array = np.zeros((words, rows), dtype=np.uint64)  # a word of all rows side by side

    @staticmethod
    def of(codec: Codec, features: Array) -> Gallery:
        """The storage of features (G×D)."""
        gallery = Gallery(codec, len(features))
        gallery.fill(0, features)
        return gallery

    @property
    def nbytes(self) -> int:
        """Memory that the rows take."""
        return self._values.nbytes + self._scale.nbytes + self._words.nbytes

    @property
    def scanned_bytes(self) -> int:
        """Of these, what a search reads of every row."""
        return self._words.nbytes or self.nbytes

    def fill(self, start: int, features: Array) -> None:
        """Store features (B×D, of any length) as the rows from ``start`` on."""
        rows, block = slice(start, start + len(features)), self._reduced(unit(features))
        if not len(self._scale):
            self._values[rows] = block
            return
        scale = np.maximum(np.abs(block).max(axis=1), _TINY) / np.float32(127)
        self._scale[rows] = scale
        self._values[rows] = np.rint(block / scale[:, None])
        if len(self._words):
            self._words[:, rows] = self._packed(block).T

    def scores(self, query: Array) -> Array:
        """Scores of all rows for a query (D): G, the larger the better; equal ones keep the order of rows."""
        prepared = self._reduced(unit(query[None]))[0]
        if not len(self._words):
            return self._products(prepared)
        distance = self._hamming(prepared)
        first = best(-distance.astype(np.int32), candidates(self.rows))
        scores = -distance.astype(np.float32)
        scores[first] = 2 + self._products_of(first, prepared)  # cosines are above -1.5, and distances not below 0
        return scores

    def search(self, query: Array, top: int) -> Array:
        """The ``top`` best rows for a query (D), best first."""
        prepared = self._reduced(unit(query[None]))[0]
        if not len(self._words):
            return best(self._products(prepared), top)
        first = np.sort(best(-self._hamming(prepared).astype(np.int32), max(candidates(self.rows), top)))
        return np.asarray(first[best(self._products_of(first, prepared), top)])

    def _reduced(self, features: Array) -> Array:
        if self.codec.components is None:
            return features
        return unit((features - self.codec.mean) @ self.codec.components)

    def _products(self, query: Array) -> Array:
        scores = np.empty(self.rows, dtype=np.float32)
        if self._values.dtype == np.float32:
            return np.asarray(np.dot(self._values, query, out=scores))
        step = max(1, BLOCK_VALUES // self._values.shape[1])
        unpacked = np.empty((min(step, self.rows), self._values.shape[1]), dtype=np.float32)
        for start in range(0, self.rows, step):
            stored = self._values[start : start + step]
            block = unpacked[: len(stored)]
            block[...] = stored
            np.dot(block, query, out=scores[start : start + step])
        if len(self._scale):
            scores *= self._scale
        return scores

    def _products_of(self, rows: Array, query: Array) -> Array:
        """Int8 scores of some rows."""
        return np.asarray((self._values[rows].astype(np.float32) @ query) * self._scale[rows])

    def _packed(self, features: Array) -> Array:
        """Bits of features (B×D) in words: B×W."""
        octets = np.packbits(features > self.codec.mean, axis=1)
        padded = np.zeros((len(features), 8 * len(self._words)), dtype=np.uint8)
        padded[:, : octets.shape[1]] = octets
        return padded.view(np.uint64)

    def _hamming(self, query: Array) -> Array:
        """Differing bits of every row: G."""
        (bits,) = self._packed(query[None])
        distance = np.zeros(self.rows, dtype=np.uint16)
        for start in range(0, self.rows, BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            for number, word in enumerate(bits):
                distance[block] += _bit_counts(self._words[number, block] ^ word)
        return distance


def candidates(rows: int) -> int:
    """How many rows int8 scores put in order, of a gallery of ``rows`` whose bits are searched."""
    return min(CANDIDATES, -(-rows // 10))


def _bit_counts(words: Array) -> Array:
    """Number of ones in each word of 64 bits; NumPy has counted them itself since version 2."""
    if hasattr(np, "bitwise_count"):
        return np.asarray(np.bitwise_count(words))
    return np.asarray(_BITS[words.view(np.uint8)].reshape(len(words), 8).sum(axis=1, dtype=np.uint8))


def best(scores: Array, top: int) -> Array:
    """Positions of the ``top`` largest scores, largest first, equal ones by position."""
    if top >= len(scores):
        return np.asarray(np.argsort(-scores, kind="stable"))
    bound = np.partition(scores, len(scores) - top)[len(scores) - top]
    above = np.flatnonzero(scores > bound)
    chosen = np.sort(np.concatenate([above, np.flatnonzero(scores == bound)[: top - len(above)]]))
    return np.asarray(chosen[np.argsort(-scores[chosen], kind="stable")])


def random_blocks(rows: int, width: int, seed: int = 0) -> Iterator[Array]:
    """Random features (B×D), ``rows`` in all: what is in a gallery decides nothing of how long it is searched."""
    generator = np.random.default_rng(seed)
    step = max(1, (1 << 23) // width)
    for start in range(0, rows, step):
        yield generator.standard_normal((min(step, rows - start), width), dtype=np.float32)


def random_gallery(codec: Codec, rows: int) -> Gallery:
    """A gallery of random rows, made block by block."""
    gallery, start = Gallery(codec, rows), 0
    for block in random_blocks(rows, codec.width):
        gallery.fill(start, block)
        start += len(block)
    return gallery
