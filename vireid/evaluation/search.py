"""Rank a gallery of any size: features in, metrics out, with memory bounded by blocks.

Every query is compared with the whole gallery and nothing is approximated: the ranks of true matches are counted from
all scores of some queries at a time, so that ties fall as they would in the full matrix.
A gallery may be an array, a tensor on any device, or mapped from a file, of which only a block is read at a time.

Shapes: Q queries, G gallery images, B queries at a time, D feature width.
"""

import numpy as np
import torch
from torch import Tensor

from vireid.core.errors import UserError
from vireid.core.types import FloatArray, IntArray
from vireid.evaluation.metrics import Labels, QueryMetrics, check_labels, is_junk, rank_block, rank_queries
from vireid.evaluation.protocols import CameraRule, CmcConvention, KReciprocal
from vireid.evaluation.ranks import GalleryLayout
from vireid.evaluation.reranking import rerank_features
from vireid.evaluation.scorers import Scorer, cosine, negative_squared_euclidean

SCORE_BYTES = 1 << 30  # scores held at once; temporaries of the ranking add about half of it
READ_CELLS = 16_000_000  # feature values of the gallery read at once


def rank_features(
    query: FloatArray | Tensor,
    gallery: FloatArray | Tensor,
    query_labels: Labels,
    gallery_labels: Labels,
    *,
    rule: CameraRule = "none",
    cmc: CmcConvention = "dedup",
    normalise: bool = True,
    reranking: KReciprocal | None = None,
    score_bytes: int = SCORE_BYTES,
    source: str = "",
) -> QueryMetrics:
    """AP, INP and first-hit rank of every query.

    Args:
        query: Q×D features of any float type. Float64 on either side computes in float64, all else in float32.
        gallery: G×D features; their order decides ties. With a query tensor on an accelerator products run there.
        query_labels: of the Q queries.
        gallery_labels: of the G gallery images; those of negative identities are left out.
        rule: which gallery images do not exist for a query.
        cmc: see ``rank_queries``.
        normalise: rank by cosine; otherwise by squared Euclidean distance of the features as they are.
        reranking: re-rank with k-reciprocal encoding; holds the features of both sides in memory.
        score_bytes: bound of the scores held at once.
        source: opens messages on single features.

    Raises:
        UserError: sides of different widths or lengths, an empty side, features that are not finite or cannot be
            compared (see ``Scorer.unusable``).
    """
    check_labels(query_labels, gallery_labels, rule, cmc)
    for side, features, labels in (("query", query, query_labels), ("gallery", gallery, gallery_labels)):
        if features.ndim != 2 or len(features) != len(labels):
            raise UserError(
                f"{side} features have shape {tuple(features.shape)}, but there are {len(labels)} identities; "
                "give one row per image"
            )
    if query.shape[1] != gallery.shape[1]:
        raise UserError(f"query features are {query.shape[1]} wide but gallery features {gallery.shape[1]}")
    reader = _Reader(query, gallery, cosine if normalise else negative_squared_euclidean, source)
    queries = reader.read(query, slice(None), "query")
    if reranking is not None:
        kept = np.flatnonzero(~is_junk(gallery_labels.identity))  # nor may junk be anyone's neighbour
        images, gallery_labels = reader.read(gallery, slice(None), "gallery")[kept], gallery_labels[kept]
        blocks = [
            rank_queries(block, query_labels[rows], gallery_labels, rule=rule, cmc=cmc, distance=True)
            for rows, block in rerank_features(queries, images, reranking)
        ]
        return QueryMetrics.concatenate(blocks)
    layout = GalleryLayout.of(gallery_labels.identity)
    positions = np.argsort(layout.order)  # row of each image once sorted by identity
    sorted_labels = gallery_labels[layout.order]
    step = max(1, score_bytes // (len(gallery) * queries.element_size()))
    blocks = []
    for start in range(0, len(query), step):
        block = queries[start : start + step]
        values = reader.scores(gallery, block, positions)
        labels = query_labels[start : start + step]
        blocks.append(rank_block(values, labels, sorted_labels, layout, rule=rule, cmc=cmc))
    return QueryMetrics.concatenate(blocks)


class _Reader:
    """Turns rows of either side into tensors that may be multiplied."""

    def __init__(self, query: FloatArray | Tensor, gallery: FloatArray | Tensor, scorer: Scorer, source: str) -> None:
        wide = any(str(side.dtype).endswith("float64") for side in (query, gallery))
        self._dtype = torch.float64 if wide else torch.float32
        self._device = query.device if isinstance(query, Tensor) else torch.device("cpu")
        self._scorer = scorer
        self._source = source

    def read(self, features: FloatArray | Tensor, rows: slice, side: str) -> Tensor:
        """Rows as a finite tensor of the common type on the common device, prepared to be compared."""
        first = rows.start or 0
        part = features[rows]
        tensor = part.detach() if isinstance(part, Tensor) else torch.from_numpy(np.array(part))
        tensor = tensor.to(device=self._device, dtype=self._dtype, copy=isinstance(part, Tensor))
        if not bool(torch.isfinite(tensor.sum())):  # one pass; a finite block may overflow its sum
            bad = (~torch.isfinite(tensor).all(dim=1)).nonzero()[:, 0]
            if len(bad):
                raise UserError(
                    f"{self._source}{side} feature {first + int(bad[0])} (from 0) is not finite; extract it again in "
                    "float32 or leave the image out"
                )
        bad = self._scorer.unusable(tensor).nonzero()[:, 0]
        if len(bad):
            raise UserError(
                f"{self._source}{len(bad)} of {len(tensor)} {side} features are unusable, the first of them feature "
                f"{first + int(bad[0])} (from 0): {self._scorer.fault}"
            )
        return self._scorer.prepare(tensor)

    def scores(self, gallery: FloatArray | Tensor, queries: Tensor, positions: IntArray) -> FloatArray:
        """Similarities of some queries to the whole gallery (G×B), row i of the gallery at ``place[i]``."""
        values: FloatArray = np.empty(
            (len(gallery), len(queries)), dtype=np.float64 if self._dtype == torch.float64 else np.float32
        )
        step = max(1, READ_CELLS // max(gallery.shape[1], len(queries)))
        for start in range(0, len(gallery), step):
            images = self.read(gallery, slice(start, start + step), "gallery")
            values[positions[start : start + step]] = self._scorer.compare(images, queries).cpu().numpy()
        return values
