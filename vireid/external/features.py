"""What is asked of features files: query and gallery arrays under a rule (see ``own_protocol`` for whole protocols)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vireid.core.config import parse
from vireid.evaluation.config import CmcConvention, KReciprocal
from vireid.evaluation.features import FeatureResult, evaluate_set, read_feature_set


@dataclass(frozen=True, slots=True)
class FileEvaluation:
    """What is asked of features files, so that two of them are asked the same."""

    title: str
    synthetic: bool  # whether the images are rendered
    evaluate: Callable[[Path], list[FeatureResult]]  # plain, then re-ranked where asked for


def by_rule(
    rule: str,
    reranking: KReciprocal | None = None,
    *,
    cmc: CmcConvention | None = None,
    normalise: bool = True,
    query_cam: str = "query_cam",
) -> FileEvaluation:
    """Query and gallery arrays under a rule; see ``vireid.evaluation.features``."""

    def run(path: Path) -> list[FeatureResult]:
        features = read_feature_set(path, rule, query_cam=query_cam)
        kinds = [None] if reranking is None else [None, reranking]
        return [evaluate_set(features, cmc, normalise, kind) for kind in kinds]

    return FileEvaluation(f"rule {rule}", False, run)


def reranking_config(variant: str, k1: int, k2: int, weight: float, search: str = "exact") -> KReciprocal:
    """Validate the parameters of a re-ranking."""
    settings = {"name": variant, "k1": k1, "k2": k2, "lambda_value": weight, "search": search}
    return parse(KReciprocal, settings, "--rerank")
