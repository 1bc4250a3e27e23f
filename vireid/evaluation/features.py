"""Evaluate features from anywhere: query and gallery arrays with identities and cameras, no model and no dataset.

A gallery of any size is ranked with memory bounded by blocks: it may be an array, a tensor on any device, or mapped
from a file, of which only a block is read at a time. Every query is compared with the whole gallery and nothing is
approximated: the ranks of true matches are counted from all scores of some queries at a time, so that ties fall as they
would in the full matrix.

Shapes: Q queries, G gallery images, B queries at a time, D feature width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vireid.core.errors import UserError
from vireid.core.types import FloatArray, IntArray
from vireid.evaluation.compare import TrialMetrics, identity_intervals, paired_differences
from vireid.evaluation.feature_files import CAMERA_ARRAYS, ArrayLike, FeatureFile, FeatureRule, FeatureSet, checked_set
from vireid.evaluation.metrics import (
    BLOCK_CELLS,
    Labels,
    QueryMetrics,
    check_labels,
    is_junk,
    rank_queries,
    rank_sorted,
    require_matches,
)
from vireid.evaluation.neighbours import blocks
from vireid.evaluation.protocols import CameraRule, CmcConvention, KReciprocal, Variant
from vireid.evaluation.ranks import GalleryLayout
from vireid.evaluation.reranking import rerank_features
from vireid.evaluation.scorers import Scorer, cosine, negative_squared_euclidean
from vireid.evaluation.streamed import queries_at_once, rank_streamed
from vireid.statistics.bootstrap import Interval

SCORE_BYTES = 1 << 30  # scores held at once; temporaries of the ranking add about half of it
READ_CELLS = 16_000_000  # feature values of the gallery read at once
QUERIES_TOGETHER = (
    128  # ranked by a thread, where they are more than its cache holds: fewer leave vector registers idle
)
STREAMED_FROM = 65_536  # gallery images from which one query's scores fill a cache


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
        return QueryMetrics.concatenate(
            [
                rank_queries(block, query_labels[rows], gallery_labels, rule=rule, cmc=cmc, distance=True)
                for rows, block in rerank_features(queries, images, reranking)
            ]
        )
    layout = GalleryLayout.of(gallery_labels.identity)
    if len(gallery) >= STREAMED_FROM:
        found = _streamed(reader, gallery, queries, query_labels, gallery_labels, layout, rule=rule, cmc=cmc)
        if found is not None:
            return found
    positions = np.argsort(layout.order)  # row of each image once sorted by identity
    sorted_labels = gallery_labels[layout.order]
    step = max(1, score_bytes // (len(gallery) * queries.element_size()))
    cells = max(BLOCK_CELLS, QUERIES_TOGETHER * len(gallery))
    found_in = []
    for rows in blocks(len(query), step):
        values = reader.scores(gallery, queries[rows], positions)
        labels = query_labels[rows]
        found_in.append(rank_sorted(values, labels, sorted_labels, layout, rule=rule, cmc=cmc, block_cells=cells))
    return QueryMetrics.concatenate(found_in)


def _streamed(
    reader: _Reader,
    gallery: FloatArray | Tensor,
    queries: Tensor,
    query_labels: Labels,
    gallery_labels: Labels,
    layout: GalleryLayout,
    *,
    rule: CameraRule,
    cmc: CmcConvention,
) -> QueryMetrics | None:
    """Metrics from one pass over the gallery for many queries at a time; see ``rank_streamed``."""
    parts = []
    for rows in blocks(len(queries), queries_at_once(layout)):
        scores = partial(reader.similarities, gallery, queries[rows])
        part = rank_streamed(scores, query_labels[rows], gallery_labels, layout, rule=rule, cmc=cmc)
        if part is None:
            return None
        parts.append(part)
    return QueryMetrics.concatenate(parts)


class _Reader:
    """Turns rows of either side into tensors that may be multiplied."""

    def __init__(self, query: FloatArray | Tensor, gallery: FloatArray | Tensor, scorer: Scorer, source: str) -> None:
        wide = any(str(side.dtype).endswith("float64") for side in (query, gallery))
        self._dtype = torch.float64 if wide else torch.float32
        self._device = query.device if isinstance(query, Tensor) else torch.device("cpu")
        self._scorer = scorer
        self._source = source

    def read(self, features: FloatArray | Tensor, rows: slice | IntArray, side: str) -> Tensor:
        """Rows as a finite tensor of the common type on the common device, prepared to be compared."""
        tensor = self._tensor(features, rows)
        if not bool(torch.isfinite(tensor.sum())):  # one pass; a finite block may overflow its sum
            bad = (~torch.isfinite(tensor).all(dim=1)).nonzero()[:, 0]
            if len(bad):
                number = np.arange(len(features))[rows][int(bad[0])]
                raise UserError(
                    f"{self._source}{side} feature {number} (from 0) is not finite; extract it again in float32 or "
                    "leave the image out"
                )
        if bool(self._scorer.unusable(tensor).any()):
            raise self._unusable(features, side)
        return self._scorer.prepare(tensor)

    def _tensor(self, features: FloatArray | Tensor, rows: slice | IntArray) -> Tensor:
        part = features[rows]
        tensor = part.detach() if isinstance(part, Tensor) else torch.from_numpy(np.array(part))
        return tensor.to(device=self._device, dtype=self._dtype, copy=isinstance(part, Tensor))

    def _unusable(self, features: FloatArray | Tensor, side: str) -> UserError:
        """What to say of a side with unusable features: how many of all, and the first."""
        parts = blocks(len(features), max(1, READ_CELLS // features.shape[1]))
        bad = torch.cat([self._scorer.unusable(self._tensor(features, part)) for part in parts]).nonzero()[:, 0]
        return UserError(
            f"{self._source}{len(bad)} of {len(features)} {side} features are unusable, the first of them feature "
            f"{int(bad[0])} (from 0): {self._scorer.fault}"
        )

    def similarities(self, gallery: FloatArray | Tensor, queries: Tensor, rows: slice | IntArray) -> Tensor:
        """Similarities of some queries to some of the gallery (B×n)."""
        return self._scorer.compare(queries, self.read(gallery, rows, "gallery"))

    def scores(self, gallery: FloatArray | Tensor, queries: Tensor, positions: IntArray) -> FloatArray:
        """Similarities of some queries to the whole gallery (G×B), row i of the gallery at ``positions[i]``."""
        values: FloatArray = np.empty(
            (len(gallery), len(queries)), dtype=np.float64 if self._dtype == torch.float64 else np.float32
        )
        step = max(1, READ_CELLS // max(gallery.shape[1], len(queries)))
        for start in range(0, len(gallery), step):
            images = self.read(gallery, slice(start, start + step), "gallery")
            values[positions[start : start + step]] = self._scorer.compare(images, queries).cpu().numpy()
        return values


# The convention of the datasets that a rule belongs to: SYSU-MM01 and LLCM keep one image per identity, RegDB all.
CMC_OF_RULE: Mapping[str, CmcConvention] = {"sysu": "dedup", "same_id_same_cam": "dedup", "none": "plain"}


# What may differ between two results whose difference is taken: how features are compared, not which images are.
_MAY_DIFFER = {"reranking", "feature_normalisation", "score"}


@dataclass(frozen=True, slots=True)
class FeatureResult:
    """Metrics of features, as fractions, with the values of every query."""

    metrics: dict[str, float]  # r1, r5, r10, r20, mAP, mINP: means over the trials
    trials: tuple[TrialMetrics, ...]  # one, unless a protocol draws its gallery several times
    settings: dict[str, Any]  # what a reader must know: camera_rule, cmc, feature_normalisation, score, reranking …

    @property
    def r1(self) -> float:
        """Share of valid queries with a match at rank 1."""
        return self.metrics["r1"]

    @property
    def mAP(self) -> float:  # noqa: N802 - the field's name
        """Mean average precision."""
        return self.metrics["mAP"]

    @property
    def mINP(self) -> float:  # noqa: N802
        """Mean inverse negative penalty."""
        return self.metrics["mINP"]

    @property
    def queries(self) -> int:
        """Number of queries."""
        return len(self.trials[0].identity)

    @property
    def valid_queries(self) -> int:
        """Number of queries with an image of their identity in the gallery that is left to them (first trial)."""
        return int(self.trials[0].queries.valid.sum())

    @property
    def junk(self) -> int:
        """Number of gallery images of negative identities, which are left out of every ranking."""
        return int(self.settings.get("junk", 0))

    def summary(self) -> dict[str, float | int]:
        """One flat object: the six metrics, ``queries``, ``valid_queries``, and ``junk`` where the gallery has some."""
        junk = {"junk": self.junk} if self.junk else {}
        return {**self.metrics, "queries": self.queries, "valid_queries": self.valid_queries, **junk}

    def intervals(self) -> dict[str, Interval]:
        """Every metric with a 95 % interval that resamples identities (test sampling only)."""
        return identity_intervals(self.trials)

    def minus(self, other: FeatureResult) -> dict[str, Interval]:
        """Differences to ``other`` (this − other) with 95 % intervals that resample identities, paired by query.

        Raises:
            UserError: measured on other queries or another gallery, or under another rule or CMC convention.
        """
        for key in self.settings.keys() | other.settings.keys():
            mine, theirs = self.settings.get(key), other.settings.get(key)
            if key not in _MAY_DIFFER and mine != theirs:
                raise UserError(
                    f"the results differ in {key} ({theirs} and {mine}); "
                    "only features of the same images, ranked by one rule, can be paired"
                )
        return paired_differences(other.trials, self.trials)


def evaluate_features(
    query: ArrayLike,
    gallery: ArrayLike,
    query_id: ArrayLike,
    gallery_id: ArrayLike,
    query_cam: ArrayLike | None = None,
    gallery_cam: ArrayLike | None = None,
    *,
    rule: FeatureRule,
    cmc: CmcConvention | None = None,
    normalise: bool = True,
    reranking: Variant | KReciprocal | None = None,
) -> FeatureResult:
    """Rank the gallery for every query and return CMC, mAP and mINP.

    Args:
        query: features Q×D, NumPy array or tensor, any real type.
        gallery: features G×D.
        query_id: identities (Q), whole numbers from 0.
        gallery_id: identities (G), numbered as the queries'; negative ones mark junk, which is left out.
        query_cam: cameras (Q), whole numbers; may be left out with rule ``none``.
        gallery_cam: cameras (G).
        rule: which gallery images do not exist for a query: ``none`` of them, ``sysu`` those of camera 2 for queries of
            camera 3, ``same-id-same-cam`` those of the query's identity and camera.
        cmc: ``dedup`` or ``plain``; by default that of the rule (``none``: plain, the others: dedup).
        normalise: L2-normalise rows and rank by cosine; otherwise by squared Euclidean distance of the raw rows.
        reranking: k-reciprocal re-ranking, ``"zhong"`` or ``"query-only"``, or a ``KReciprocal`` with its parameters.

    Raises:
        UserError: what is wrong with which array.
    """
    arrays = {
        "query": query,
        "gallery": gallery,
        "query_id": query_id,
        "gallery_id": gallery_id,
        "query_cam": query_cam,
        "gallery_cam": gallery_cam,
    }
    return evaluate_set(checked_set(arrays, rule, "evaluate_features"), cmc, normalise, reranking)


def read_feature_set(path: Path, rule: str, *, query_cam: str = "query_cam") -> FeatureSet:
    """Read and check the arrays of an ``.npz`` file; other arrays in it are left alone.

    Args:
        path: the file.
        rule: as for ``evaluate_features``; with ``none`` cameras are not read.
        query_cam: name of the array that holds the queries' cameras.

    Raises:
        UserError: what is wrong with the file or with which of its arrays.
    """
    file = FeatureFile(path)
    arrays = {name: file.require(name, why) for name, why in _WANTED.items()}
    if rule != "none":
        for name, source in zip(CAMERA_ARRAYS, (query_cam, "gallery_cam"), strict=True):
            why = f"rule {rule} needs the camera of every {name.removesuffix('_cam')} image (rule none needs no camera)"
            arrays[name] = file.require(source, why)
    return checked_set(arrays, rule, str(path))


_WANTED = {
    "query": "the query features, one row per image",
    "gallery": "the gallery features, one row per image",
    "query_id": "the identity of every query",
    "gallery_id": "the identity of every gallery image",
}


def evaluate_set(
    features: FeatureSet,
    cmc: CmcConvention | None = None,
    normalise: bool = True,
    reranking: Variant | KReciprocal | None = None,
) -> FeatureResult:
    """Evaluate checked features; see ``evaluate_features``.

    Raises:
        UserError: no query has a match, or parameters of the re-ranking that the number of images does not allow.
    """
    convention = CMC_OF_RULE[features.rule] if cmc is None else cmc
    config = KReciprocal(name=reranking) if isinstance(reranking, str) else reranking
    per_query = rank_features(
        features.query,
        features.gallery,
        features.query_labels,
        features.gallery_labels,
        rule=features.rule,
        cmc=convention,
        normalise=normalise,
        reranking=config,
        source=f"{features.where}: ",
    )
    require_matches(per_query, features.query_labels, features.gallery_labels, features.rule)
    return FeatureResult(
        metrics=per_query.aggregate(),
        trials=(TrialMetrics(features.query_labels.identity, per_query),),
        settings={
            "camera_rule": features.rule,
            "cmc": convention,
            "feature_normalisation": "L2" if normalise else "none",
            "score": "cosine" if normalise else "negative squared Euclidean",
            "reranking": {"name": "none"} if config is None else config.card_entry,
            "queries": len(features.query),
            "gallery": len(features.gallery) - features.junk,
            "junk": features.junk,
        },
    )
