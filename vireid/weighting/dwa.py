"""Dynamic weight average (Liu, Johns and Davison, CVPR 2019, section 3.2)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vireid.weighting.base import BaseWeighting
from vireid.weighting.config import DWAConfig


class DynamicWeightAverage(BaseWeighting):
    """L = Σ wᵢ·λᵢ·Lᵢ with λᵢ = K·softmax(r/T)ᵢ over the K adapting terms and rᵢ = Lᵢ(t−1)/Lᵢ(t−2).

    Lᵢ(t) is the mean of term i over epoch t: what falls slowly gains weight. As in the paper r = 1 until a term has
    been seen for two epochs; so too where Lᵢ(t−2) is 0. Terms absent in the last epoch (another stage's) and terms with
    base weight 0 take no part and have λ = 1.
    """

    Config = DWAConfig
    config: DWAConfig
    adapting: Tensor  # N, bool
    last: Tensor  # N, mean of the latest epoch in which a term was present; NaN before
    before: Tensor  # N, mean of the one before that
    scale: Tensor  # N, λ

    def __init__(self, config: DWAConfig, base_weights: Mapping[str, float]) -> None:
        super().__init__(config, base_weights)
        self.register_buffer("adapting", self._matching(config.adapt))
        for name, value in (("last", float("nan")), ("before", float("nan")), ("scale", 1.0)):
            self.register_buffer(name, torch.full((len(self.names),), value))

    def _weigh(self, losses: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        weights = (self.base * self.scale)[rows]
        return weights * losses, weights

    def end_epoch(self, mean_terms: Mapping[str, float]) -> None:
        """Take in the epoch's means and set the next epoch's λ."""
        rows = self._rows_of(tuple(mean_terms))
        self.before[rows] = self.last[rows]
        self.last[rows] = torch.tensor(list(mean_terms.values()), dtype=self.last.dtype, device=self.last.device)
        present = torch.zeros_like(self.adapting)
        present[rows] = True
        taking_part = present & self.adapting
        known = self.before > 0  # false for NaN
        rate = torch.where(known, self.last / self.before, 1.0)[taking_part]
        self.scale.fill_(1.0)
        self.scale[taking_part] = len(rate) * torch.softmax(rate / self.config.temperature, dim=0)
