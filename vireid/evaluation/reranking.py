"""Re-ranking with k-reciprocal encoding (Zhong et al., CVPR 2017), exact and sparse.

Two variants: ``zhong`` looks for neighbours among queries and gallery, as the paper does; ``query-only`` among the
queries alone, as the released code of IDKL does on SYSU-MM01.

Shapes: Q queries, G gallery images, N = Q + G, D feature width.
"""

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from vireid.core.errors import UserError
from vireid.core.types import FloatArray
from vireid.evaluation.config import KReciprocal
from vireid.evaluation.encoding import encode, jaccard_blocks
from vireid.evaluation.faiss_search import FaissDistances
from vireid.evaluation.neighbours import Distances, FeatureDistances, MatrixDistances, QueryDistances


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
    found = np.empty(query_gallery.shape)
    for rows, block in rerank_blocks(MatrixDistances(queries, query_gallery, gallery_gallery), config):
        found[rows] = block
    return found


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
