"""vireid: benchmark and ablation suite for visible-infrared person re-identification.

``from vireid import evaluate_features`` ranks features from anywhere; see docs/evaluate.md.
``vireid.load_study`` opens a study's scores and effects as DataFrames; see docs/python.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vireid.core.no_telemetry import no_telemetry

if TYPE_CHECKING:
    from vireid.core.errors import UserError
    from vireid.evaluation.features import FeatureResult, evaluate_features
    from vireid.study import Study, load_study, studies

__all__ = ["FeatureResult", "Study", "UserError", "__version__", "evaluate_features", "load_study", "studies"]
__version__ = "0.1.0"

_HOME = {
    "evaluate_features": "vireid.evaluation.features",
    "FeatureResult": "vireid.evaluation.features",
    "load_study": "vireid.study",
    "studies": "vireid.study",
    "Study": "vireid.study",
    "UserError": "vireid.core.errors",
}

no_telemetry()  # before any part is imported, and for every child process


def __getattr__(name: str) -> Any:
    """Import what the package offers on first use: `vireid --help` need not wait for torch."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'vireid' has no attribute '{name}'")


def __dir__() -> list[str]:
    return list(__all__)
