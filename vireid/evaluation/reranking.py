"""Re-ranking with k-reciprocal encoding (Zhong et al., CVPR 2017), exact and sparse.

Two variants: ``zhong`` looks for neighbours among queries and gallery, as the paper does; ``query-only`` among the
queries alone, as the released code of IDKL does on SYSU-MM01.

Shapes: Q queries, G gallery images, N = Q + G.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import sparse

from vireid.core.config import Strict
from vireid.core.errors import UserError
from vireid.core.types import FloatArray, IntArray

Variant = Literal["zhong", "query-only"]

EXPANDED_ENTRIES = 4_000_000  # pairs of encoding entries compared at once


class NoReranking(Strict):
    """Rank by the scores as they are."""

    name: Literal["none"] = "none"


class KReciprocal(Strict):
    """Re-ranking parameters, the paper's by default."""

    name: Variant
    k1: int = 20  # neighbours that may be reciprocal
    k2: int = 6  # neighbours whose encodings are averaged; 1 leaves them as they are
    lambda_value: float = 0.3  # weight of the original distance against the Jaccard distance


def rerank(
    query_query: FloatArray, query_gallery: FloatArray, gallery_gallery: FloatArray, config: KReciprocal
) -> FloatArray:
    """Return re-ranked distances (Q×G, small is alike).

    Args:
        query_query: Q×Q squared Euclidean distances.
        query_gallery: Q×G squared Euclidean distances.
        gallery_gallery: G×G squared Euclidean distances.
        config: variant and parameters.

    Raises:
        UserError: ``k1`` or ``k2`` exceeds the number of images among which neighbours are sought.
    """
    num_query, num_gallery = query_gallery.shape
    candidates = num_query if config.name == "query-only" else num_query + num_gallery
    if not 1 <= config.k2 <= config.k1 + 1 <= candidates:
        raise UserError(
            f"re-ranking '{config.name}' with k1={config.k1} and k2={config.k2} needs 1 ≤ k2 ≤ k1+1 ≤ {candidates}, "
            "the number of images among which neighbours are sought; lower k1 and k2 or set reranking.name=none"
        )
    distance = np.empty((num_query + num_gallery, num_query + num_gallery), dtype=query_gallery.dtype)
    distance[:num_query, :num_query] = query_query
    distance[:num_query, num_query:] = query_gallery
    distance[num_query:, :num_query] = query_gallery.T
    distance[num_query:, num_query:] = gallery_gallery
    np.fill_diagonal(distance, 0.0)  # rounding must not hide an image from itself
    largest = distance.max(axis=1, keepdims=True)
    distance /= np.where(largest > 0, largest, 1.0)

    neighbours = nearest(distance[:, :candidates], config.k1 + 1)
    encoding = _encode(distance, neighbours, config.k1)
    if config.k2 > 1:
        encoding = _average(neighbours[:, : config.k2]) @ encoding
    jaccard = _jaccard_distance(encoding[:num_query], encoding[num_query:])
    weight = config.lambda_value
    return np.asarray((1.0 - weight) * jaccard + weight * distance[:num_query, num_query:])


def nearest(distance: FloatArray, k: int) -> IntArray:
    """Columns of the ``k`` smallest values of each row, ascending; equal values in column order."""
    if k >= distance.shape[1]:
        return np.argsort(distance, axis=1, kind="stable")[:, :k].astype(np.int64)
    found = np.sort(np.argpartition(distance, k - 1, axis=1)[:, :k], axis=1)
    values = np.take_along_axis(distance, found, axis=1)
    by_value = np.argsort(values, axis=1, kind="stable")
    found = np.take_along_axis(found, by_value, axis=1)
    # Where values beyond the k-th equal it, a partition chooses among them at will: decide those rows by column.
    edge = np.take_along_axis(values, by_value[:, -1:], axis=1)
    loose = np.flatnonzero((distance <= edge).sum(axis=1) > k)
    found[loose] = np.argsort(distance[loose], axis=1, kind="stable")[:, :k]
    return found.astype(np.int64)


def _reciprocal(neighbours: IntArray, size: int) -> Any:
    """N×N sparse matrix: 1 where j is among i's neighbours and i among j's."""
    back = neighbours[neighbours] == np.arange(len(neighbours))[:, None, None]
    row, slot = np.nonzero(back.any(axis=2))
    ones = np.ones(len(row), dtype=np.int32)
    return sparse.csr_matrix((ones, (row, neighbours[row, slot])), shape=(size, size))


def _encode(distance: FloatArray, neighbours: IntArray, k1: int) -> Any:
    """N×N sparse encoding: each row Gaussian weights over its expanded reciprocal neighbours, sum 1."""
    size = len(distance)
    full = _reciprocal(neighbours, size)
    half = _reciprocal(neighbours[:, : round(k1 / 2) + 1], size)
    # overlap[i, c] = |half set of c ∩ full set of i| for the candidates c in the full set of i.
    overlap = full.multiply(full @ half.T).tocoo()
    half_size = np.asarray(half.sum(axis=1)).ravel()
    taken = overlap.data * 3 > half_size[overlap.col] * 2
    ones = np.ones(int(taken.sum()), dtype=np.int32)
    accepted = sparse.csr_matrix((ones, (overlap.row[taken], overlap.col[taken])), shape=(size, size))
    expanded = (full + accepted @ half).tocoo()
    weights = np.exp(-distance[expanded.row, expanded.col].astype(np.float64))
    totals = np.bincount(expanded.row, weights, minlength=size)
    return sparse.csr_matrix((weights / totals[expanded.row], (expanded.row, expanded.col)), shape=(size, size))


def _average(neighbours: IntArray) -> Any:
    """N×N sparse matrix that averages the encodings of each image's neighbours."""
    size, k2 = neighbours.shape
    starts = np.arange(0, size * k2 + 1, k2)
    return sparse.csr_matrix((np.full(size * k2, 1.0 / k2), neighbours.ravel(), starts), shape=(size, size))


def _jaccard_distance(query: Any, gallery: Any) -> FloatArray:
    """Generalised Jaccard distance (Q×G) of the rows of two sparse encodings.

    The sum of element-wise minima only needs columns in which both rows are non-zero: every query entry meets the
    gallery entries of its column.
    """
    query, by_column = query.tocsr(), gallery.tocsc()
    num_query, num_gallery = query.shape[0], gallery.shape[0]
    meets = np.diff(by_column.indptr)[query.indices]  # gallery entries met by each query entry
    per_query = np.add.reduceat(np.append(meets, 0), query.indptr[:-1]) * (np.diff(query.indptr) > 0)
    before = np.concatenate([[0], np.cumsum(per_query)])
    shared = np.empty((num_query, num_gallery))
    start = 0
    while start < num_query:
        end = max(start + 1, int(np.searchsorted(before, before[start] + EXPANDED_ENTRIES, side="right")) - 1)
        entries = slice(query.indptr[start], query.indptr[end])
        rows = np.repeat(np.arange(end - start), np.diff(query.indptr[start : end + 1]))
        count = meets[entries]
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        met = np.repeat(by_column.indptr[query.indices[entries]], count) + within
        smaller = np.minimum(np.repeat(query.data[entries], count), by_column.data[met])
        cell = np.repeat(rows, count) * num_gallery + by_column.indices[met]
        block = np.bincount(cell, smaller, minlength=(end - start) * num_gallery)
        shared[start:end] = block.reshape(end - start, num_gallery)
        start = end
    return 1.0 - shared / (2.0 - shared)
