"""From features to metrics under a protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vireid.core.errors import UserError
from vireid.core.types import FloatArray, ImageIndex, IntArray
from vireid.evaluation.metrics import (
    BLOCK_CELLS,
    METRICS,
    Labels,
    QueryMetrics,
    metric_units,
    rank_queries,
    top_matches,
)
from vireid.evaluation.protocols import ProtocolConfig, Split, card
from vireid.evaluation.reranking import KReciprocal, rerank
from vireid.evaluation.scorers import SCORERS, squared_euclidean
from vireid.evaluation.trials import Permutations, Trial, plan_trials

TOP_COLUMNS = ("query", "rank", "gallery", "correct")


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Metrics under one protocol.

    ``metrics`` are means over trials of ``per_trial``, as fractions. ``per_query`` has one row per trial and query:
    trial, query (path), identity, camera, ap, inp, first_hit_rank, valid. ``top`` has the best gallery images of each
    query in the first trial: query, rank, gallery (path), correct.
    """

    metrics: dict[str, float]
    metric_units: dict[str, str]
    per_trial: list[dict[str, float]]
    per_query: pd.DataFrame
    top: pd.DataFrame
    card: dict[str, Any]


def evaluate(
    features: FloatArray | Tensor,
    index: ImageIndex,
    config: ProtocolConfig,
    permutations: Permutations | None = None,
    *,
    split: Split = "test",
    top_k: int = 10,
) -> EvaluationResult:
    """Evaluate features (N×D, one row per image of ``index``) under a protocol.

    Args:
        features: raw features; normalised here if the protocol says so.
        index: all images of the split, both modalities.
        config: the protocol.
        permutations: ``(camera, identity) -> trials × n`` image numbers; needed by ``sysu/official``.
        split: goes on the card.
        top_k: gallery images listed per query of the first trial; 0 lists none.

    Raises:
        UserError: features that are not finite or not one row per image; see also ``plan_trials``.
    """
    rows = _checked(features, index)
    labels = Labels(index.identity, index.camera)
    trials = plan_trials(config, index, permutations)
    found: list[list[QueryMetrics]] = [[] for _ in trials]
    top = []
    for number, trial, queries, scores, distance in _scores(rows, trials, config):
        query, gallery = labels[queries], labels[trial.gallery]
        rule = config.spec.rule
        found[number].append(rank_queries(scores, query, gallery, rule=rule, cmc=config.spec.cmc, distance=distance))
        if number == 0 and top_k > 0:
            best = top_matches(scores, query, gallery, top_k, rule=rule, distance=distance)
            top.append(_top_frame(index, queries, trial.gallery, best))
    per_query = [QueryMetrics.concatenate(parts) for parts in found]
    per_trial = [metrics.aggregate() for metrics in per_query]
    sizes = {
        "queries": len(trials[0].query),
        "valid_queries": int(per_query[0].valid.sum()),
        "gallery": len(trials[0].gallery),
    }
    return EvaluationResult(
        metrics={name: float(np.mean([values[name] for values in per_trial])) for name in METRICS},
        metric_units=metric_units(),
        per_trial=per_trial,
        per_query=_query_frame(index, trials, per_query),
        top=pd.concat(top, ignore_index=True) if top else pd.DataFrame(columns=list(TOP_COLUMNS)),
        card=card(config, split=split) | sizes,
    )


def _checked(features: FloatArray | Tensor, index: ImageIndex) -> Tensor:
    rows = features.detach().cpu() if isinstance(features, Tensor) else torch.from_numpy(np.asarray(features))
    if rows.ndim != 2 or len(rows) != len(index):
        raise UserError(
            f"features have shape {tuple(rows.shape)}, but {index.root} lists {len(index)} images; "
            "extract one row per image, in index order"
        )
    suspects = (~torch.isfinite(rows.sum(dim=1))).nonzero()[:, 0]  # one pass; a finite row may overflow its sum
    bad = suspects[~torch.isfinite(rows[suspects]).all(dim=1)]
    if len(bad):
        raise UserError(
            f"features of {len(bad)} images are not finite, the first of them {index.paths[int(bad[0])]}; "
            "check the model's weights or extract in fp32"
        )
    return rows if rows.dtype in (torch.float32, torch.float64) else rows.float()


def _scores(
    rows: Tensor, trials: list[Trial], config: ProtocolConfig
) -> Iterator[tuple[int, Trial, IntArray, FloatArray, bool]]:
    """Yield (trial number, trial, query rows, scores, whether scores are distances) block by block.

    Query rows are equal over trials, so all trials share one matrix product with the union of their galleries and
    each takes its columns of it.
    """
    query = trials[0].query
    union = np.unique(np.concatenate([trial.gallery for trial in trials]))
    columns = [np.searchsorted(union, trial.gallery) for trial in trials]
    if isinstance(config.reranking, KReciprocal):
        if config.normalise:
            rows = normalize(rows, dim=1)
        query_query = squared_euclidean(rows[query], rows[query]).numpy()
        query_union = squared_euclidean(rows[query], rows[union]).numpy()
        for number, trial in enumerate(trials):
            gallery = rows[trial.gallery]
            gallery_gallery = squared_euclidean(gallery, gallery).numpy()
            query_gallery = np.take(query_union, columns[number], axis=1)
            distances = rerank(query_query, query_gallery, gallery_gallery, config.reranking)
            yield number, trial, query, distances, True
        return
    scorer, targets = SCORERS[config.score], rows[union]
    step = max(1, BLOCK_CELLS // len(union))
    for start in range(0, len(query), step):
        block = query[start : start + step]
        by_image = np.ascontiguousarray(scorer(rows[block], targets).numpy().T)
        for number, trial in enumerate(trials):
            yield number, trial, block, by_image[columns[number]].T, False


def _query_frame(index: ImageIndex, trials: list[Trial], metrics: list[QueryMetrics]) -> pd.DataFrame:
    queries = np.concatenate([trial.query for trial in trials])
    joined = QueryMetrics.concatenate(metrics)
    return pd.DataFrame(
        {
            "trial": np.repeat(np.arange(len(trials)), [len(trial.query) for trial in trials]),
            "query": np.array(index.paths, dtype=object)[queries],
            "identity": index.identity[queries],
            "camera": index.camera[queries],
            "ap": joined.ap,
            "inp": joined.inp,
            "first_hit_rank": joined.first_hit_rank,
            "valid": joined.valid,
        }
    )


def _top_frame(index: ImageIndex, queries: IntArray, gallery: IntArray, best: IntArray) -> pd.DataFrame:
    paths = np.array(index.paths, dtype=object)
    row, rank = np.nonzero(best >= 0)
    query, match = queries[row], gallery[best[row, rank]]
    return pd.DataFrame(
        {
            "query": paths[query],
            "rank": rank + 1,
            "gallery": paths[match],
            "correct": index.identity[query] == index.identity[match],
        },
        columns=list(TOP_COLUMNS),
    )
