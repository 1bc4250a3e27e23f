"""Fixed weights: every term times the weight that the method gives it."""

from collections.abc import Mapping

from torch import Tensor

from vireid.weighting.base import BaseWeighting
from vireid.weighting.config import FixedConfig


class FixedWeighting(BaseWeighting):
    """L = Σ wᵢ·Lᵢ."""

    Config = FixedConfig
    version = FixedConfig.version

    def __init__(self, config: FixedConfig, base_weights: Mapping[str, float]) -> None:
        super().__init__(base_weights)
        self.config = config

    def _weigh(self, losses: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.base[rows]
        return weights * losses, weights
