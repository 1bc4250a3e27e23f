"""Fixed weights: every term times the weight that the method gives it."""

from torch import Tensor

from vireid.weighting.base import BaseWeighting
from vireid.weighting.config import FixedConfig


class FixedWeighting(BaseWeighting):
    """L = Σ wᵢ·Lᵢ."""

    Config = FixedConfig
    config: FixedConfig

    def _weigh(self, losses: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.base[rows]
        return weights * losses, weights
