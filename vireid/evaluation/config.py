"""What protocols choose among: camera rules, forms of the CMC, re-ranking. Imports no torch."""

from typing import Any, Literal

from vireid.core.config import Strict

CameraRule = Literal["none", "sysu", "same_id_same_cam"]
CmcConvention = Literal["dedup", "plain"]
Variant = Literal["zhong", "query-only"]
Search = Literal["exact", "faiss-exact", "faiss-ivf", "faiss-ivfpq"]


class NoReranking(Strict):
    """Rank by the scores as they are."""

    name: Literal["none"] = "none"


class KReciprocal(Strict):
    """Re-ranking parameters, the paper's by default."""

    name: Variant
    k1: int = 20
    """Neighbours that may be reciprocal."""
    k2: int = 6
    """Neighbours whose encodings are averaged; 1 leaves them as they are."""
    lambda_value: float = 0.3
    """Weight of the original distance against the Jaccard distance."""
    search: Search = "exact"
    """Who finds the neighbours; faiss needs the extra, and only its exact kind finds them all."""

    @property
    def words(self) -> dict[str, Any]:
        """Variant and parameters as protocol cards name them."""
        named = {"name": self.name, "k1": self.k1, "k2": self.k2, "lambda": self.lambda_value}
        return named if self.search == "exact" else {**named, "search": self.search}
