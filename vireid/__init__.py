"""vireid: benchmark and ablation suite for visible-infrared person re-identification.

``from vireid import evaluate_features`` ranks features from anywhere; see docs/evaluate.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vireid.evaluation.features import FeatureResult, evaluate_features

__all__ = ["FeatureResult", "__version__", "evaluate_features"]
__version__ = "0.1.0"

_HOME = {"evaluate_features": "vireid.evaluation.features", "FeatureResult": "vireid.evaluation.features"}


def __getattr__(name: str) -> Any:
    """Import what the package offers on first use: `vireid --help` need not wait for torch."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'vireid' has no attribute '{name}'")
