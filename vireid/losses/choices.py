"""Words by which configurations choose among forms of a loss. Imports no torch."""

from typing import Literal

PseudoLabels = Literal["balanced", "released", "visible"]
FeatureLoss = Literal["cosine", "mse"]
Reduction = Literal["batchmean", "mean"]
