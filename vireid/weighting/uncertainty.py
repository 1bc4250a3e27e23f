"""Weights from homoscedastic uncertainty (Kendall, Gal and Cipolla, CVPR 2018)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vireid.weighting.base import BaseWeighting
from vireid.weighting.config import UncertaintyConfig


class UncertaintyWeighting(BaseWeighting):
    """L = Σ wᵢ·exp(−sᵢ)·Lᵢ + sᵢ/2 over the adapting terms, Σ wᵢ·Lᵢ over the others; sᵢ = log σᵢ² is learned.

    This is the paper's form for classification with the base weight multiplied in. At s = 0, where it starts, it
    equals fixed weighting. For constant losses the optimum is sᵢ = log(2·wᵢ·Lᵢ): the weight becomes 1/(2·Lᵢ), so a
    term counts the less the larger it stays. As Lᵢ goes to 0 that optimum goes to −∞, hence ``bound``: s is projected
    back before every forward pass. Terms with base weight 0 never adapt. No weight decay on s.
    """

    Config = UncertaintyConfig
    config: UncertaintyConfig
    adapting: Tensor  # N, 1 where a term adapts

    def __init__(self, config: UncertaintyConfig, base_weights: Mapping[str, float]) -> None:
        super().__init__(config, base_weights)
        self.register_buffer("adapting", self._matching(config.adapt).float())
        self.log_variance = nn.Parameter(torch.zeros(len(self.names)))

    def _weigh(self, losses: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            self.log_variance.clamp_(-self.config.bound, self.config.bound)
        s = (self.log_variance * self.adapting)[rows]
        weights = self.base[rows] * torch.exp(-s)
        return weights * losses + 0.5 * s, weights

    def at_bound(self) -> list[str]:
        """Adapting terms whose log-variance has reached ±bound."""
        reached = (self.log_variance.detach().abs() >= self.config.bound) & (self.adapting > 0)
        return [name for name, is_there in zip(self.names, reached.tolist(), strict=True) if is_there]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """One group, s, at its own learning rate and without weight decay."""
        return [
            {
                "params": [self.log_variance],
                "lr_scale": self.config.lr_scale,
                "weight_decay": 0.0,
                "name": "log_variance",
            }
        ]
