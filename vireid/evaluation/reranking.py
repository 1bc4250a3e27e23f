"""Re-ranking with k-reciprocal encoding (Zhong et al., CVPR 2017), exact and sparse.

Two variants: ``zhong`` looks for neighbours among queries and gallery, as the paper does; ``query-only`` among the
queries alone, as the released code of IDKL does on SYSU-MM01.

Shapes: Q queries, G gallery images, N = Q + G, D feature width.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import sparse
from torch import Tensor

from vireid.core.errors import UserError
from vireid.core.types import FloatArray, IntArray
from vireid.evaluation.faiss_search import FaissDistances
from vireid.evaluation.neighbours import Distances, FeatureDistances, MatrixDistances, QueryDistances
from vireid.evaluation.protocols import KReciprocal

EXPANDED_ENTRIES = 4_000_000  # pairs of encoding entries compared at once
OUTPUT_CELLS = 16_000_000  # distances put out at once
ENCODED_ROWS = 65_536  # images encoded at once


def encode(neighbours: IntArray, distance: Callable[[IntArray, IntArray], FloatArray], k1: int, k2: int) -> Any:
    """N×N sparse encoding: Gaussian weights over each image's expanded reciprocal neighbours, averaged over its k2.

    Args:
        neighbours: the k1 + 1 nearest images of every image (N×(k1+1)), itself first.
        distance: of pairs (rows, columns), each row divided by its largest.
        k1: neighbours that may be reciprocal; half as many expand.
        k2: neighbours whose encodings are averaged; 1 leaves them as they are.
    """
    size = len(neighbours)
    full, half = _reciprocal(neighbours), _reciprocal(neighbours[:, : round(k1 / 2) + 1])
    half_size = np.diff(half.indptr)
    blocks = []
    for start in range(0, size, ENCODED_ROWS):
        block = full[start : start + ENCODED_ROWS]
        # overlap[i, c] = |half set of c ∩ full set of i| for the candidates c in the full set of i.
        overlap = block.multiply(block @ half.T).tocoo()
        taken = overlap.data * 3 > half_size[overlap.col] * 2
        ones = np.ones(int(taken.sum()), dtype=np.int32)
        accepted = sparse.csr_matrix((ones, (overlap.row[taken], overlap.col[taken])), shape=block.shape)
        expanded = (block + accepted @ half).tocoo()
        columns = expanded.col.astype(np.int64)
        weights = np.exp(-distance(start + expanded.row.astype(np.int64), columns).astype(np.float64))
        totals = np.bincount(expanded.row, weights, minlength=block.shape[0])
        blocks.append(sparse.csr_matrix((weights / totals[expanded.row], (expanded.row, columns)), shape=block.shape))
    encoding = blocks[0] if len(blocks) == 1 else sparse.vstack(blocks, format="csr")
    return encoding if k2 == 1 else _average(neighbours[:, :k2]) @ encoding


def _reciprocal(neighbours: IntArray) -> Any:
    """N×N sparse matrix: 1 where j is among i's neighbours and i among j's."""
    size = len(neighbours)
    narrow = neighbours.astype(np.int32) if size < 2**31 else neighbours
    rows, columns = [], []
    for start in range(0, size, ENCODED_ROWS):
        block = narrow[start : start + ENCODED_ROWS]
        back = narrow[block] == np.arange(start, start + len(block))[:, None, None]
        row, slot = np.nonzero(back.any(axis=2))
        rows.append(row + start)
        columns.append(block[row, slot])
    row, column = np.concatenate(rows), np.concatenate(columns)
    return sparse.csr_matrix((np.ones(len(row), dtype=np.int32), (row, column)), shape=(size, size))


def _average(neighbours: IntArray) -> Any:
    """N×N sparse matrix that averages the encodings of each image's neighbours."""
    size, k2 = neighbours.shape
    starts = np.arange(0, size * k2 + 1, k2)
    return sparse.csr_matrix((np.full(size * k2, 1.0 / k2), neighbours.ravel(), starts), shape=(size, size))


def jaccard_blocks(query: Any, gallery: Any) -> Iterator[tuple[slice, FloatArray]]:
    """Generalised Jaccard distances of the rows of two sparse encodings, for some queries at a time (B×G).

    The sum of element-wise minima only needs columns in which both rows are non-zero: every query entry meets the
    gallery entries of its column.
    """
    query, by_column = query.tocsr(), gallery.tocsc()
    num_query, num_gallery = query.shape[0], gallery.shape[0]
    meets = np.diff(by_column.indptr)[query.indices]  # gallery entries met by each query entry
    per_query = np.add.reduceat(np.append(meets, 0), query.indptr[:-1]) * (np.diff(query.indptr) > 0)
    before = np.concatenate([[0], np.cumsum(per_query, dtype=np.int64)])
    most = max(1, OUTPUT_CELLS // num_gallery)
    start = 0
    while start < num_query:
        end = int(np.searchsorted(before, before[start] + EXPANDED_ENTRIES, side="right")) - 1
        end = min(max(start + 1, end), start + most)
        entries = slice(query.indptr[start], query.indptr[end])
        rows = np.repeat(np.arange(end - start), np.diff(query.indptr[start : end + 1]))
        count = meets[entries]
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        met = np.repeat(by_column.indptr[query.indices[entries]], count) + within
        smaller = np.minimum(np.repeat(query.data[entries], count), by_column.data[met])
        cell = np.repeat(rows, count) * num_gallery + by_column.indices[met]
        shared = np.bincount(cell, smaller, minlength=(end - start) * num_gallery).reshape(end - start, num_gallery)
        yield slice(start, end), 1.0 - shared / (2.0 - shared)
        start = end


def rerank(
    query_query: FloatArray | QueryDistances,
    query_gallery: FloatArray,
    gallery_gallery: FloatArray,
    config: KReciprocal,
) -> FloatArray:
    """Return re-ranked distances (Q×G, small is alike).

    Args:
        query_query: Q×Q squared Euclidean distances; ``QueryDistances`` of them when several galleries share them.
        query_gallery: Q×G squared Euclidean distances.
        gallery_gallery: G×G squared Euclidean distances.
        config: variant and parameters.

    Raises:
        UserError: ``k1`` or ``k2`` exceeds the number of images among which neighbours are sought.
    """
    queries = query_query if isinstance(query_query, QueryDistances) else QueryDistances(query_query)
    distances = np.empty(query_gallery.shape)
    for rows, block in rerank_blocks(MatrixDistances(queries, query_gallery, gallery_gallery), config):
        distances[rows] = block
    return distances


def feature_distances(query: Tensor, gallery: Tensor, config: KReciprocal) -> Distances:
    """Distances among Q×D and G×D features, for ``rerank_blocks``.

    No matrix of all pairs is ever held: 50,000 images of any width need about their features' memory and 1 GB more.

    Raises:
        UserError: faiss is asked for and absent.
    """
    if config.search == "faiss-exact":
        return FaissDistances(query, gallery, "exact")
    if config.search == "faiss-ivf":
        return FaissDistances(query, gallery, "ivf")
    if config.search == "faiss-ivfpq":
        return FaissDistances(query, gallery, "ivfpq")
    return FeatureDistances(query, gallery)


def rerank_features(query: Tensor, gallery: Tensor, config: KReciprocal) -> Iterator[tuple[slice, FloatArray]]:
    """Yield re-ranked distances of some queries at a time (B×G) from Q×D and G×D features.

    Raises:
        UserError: see ``rerank`` and ``feature_distances``.
    """
    return rerank_blocks(feature_distances(query, gallery, config), config)


def rerank_blocks(distances: Distances, config: KReciprocal) -> Iterator[tuple[slice, FloatArray]]:
    """Yield (query rows, re-ranked distances B×G) from any source of distances.

    Raises:
        UserError: see ``rerank``.
    """
    queries_only = config.name == "query-only"
    candidates = distances.num_query + (0 if queries_only else distances.num_gallery)
    if not 1 <= config.k2 <= config.k1 + 1 <= candidates:
        raise UserError(
            f"re-ranking '{config.name}' with k1={config.k1} and k2={config.k2} needs 1 ≤ k2 ≤ k1+1 ≤ {candidates}, "
            "the number of images among which neighbours are sought; lower k1 and k2 or set reranking.name=none"
        )
    return _rerank_blocks(distances, config, queries_only)


def _rerank_blocks(distances: Distances, config: KReciprocal, queries_only: bool) -> Iterator[tuple[slice, FloatArray]]:
    neighbours = distances.neighbours(config.k1 + 1, queries_only=queries_only)
    largest = distances.farthest()
    largest = np.where(largest > 0, largest, 1.0)
    encoding = encode(neighbours, lambda i, j: distances.pairs(i, j) / largest[i], config.k1, config.k2)
    num_query, weight = distances.num_query, config.lambda_value
    for rows, block in jaccard_blocks(encoding[:num_query], encoding[num_query:]):
        block *= 1.0 - weight
        block += distances.to_gallery(rows) * (weight / largest[:num_query][rows, None])
        yield rows, block
