"""The only CMC, mAP and mINP; protocols as data; re-ranking; feature extraction."""

from vireid.evaluation.evaluate import EvaluationResult, evaluate
from vireid.evaluation.extraction import extract
from vireid.evaluation.metrics import METRICS, metric_units
from vireid.evaluation.protocols import ProtocolConfig, card
from vireid.evaluation.trials import Trial, plan_trials

__all__ = [
    "METRICS",
    "EvaluationResult",
    "ProtocolConfig",
    "Trial",
    "card",
    "evaluate",
    "extract",
    "metric_units",
    "plan_trials",
]
