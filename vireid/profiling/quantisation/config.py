"""How a deployed graph is quantised. Imports no quantiser."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vireid.core.config import Strict

Quantiser = Literal["nncf", "onnxruntime"]


class QuantisationConfig(Strict):
    """Post-training static quantisation to int8: weights per output channel and symmetric, activations per tensor.

    Convolutions and linear layers compute in int8; pooling and neck stay in float32.
    """

    quantiser: Quantiser = "nncf"  # onnxruntime: ONNX Runtime's own, for its runtime alone
    activations: Literal["symmetric", "asymmetric"] = "symmetric"
    # Ranges of activations over the calibration images. minmax: the widest; percentile: leaves out the outermost
    # values of every image (nncf: 0.01 %; onnxruntime: 0.001 % of all).
    ranges: Literal["minmax", "percentile"] = "minmax"
    bias_correction: Literal["none", "fast", "full"] = "fast"  # of nncf: shifts of a layer's mean taken out of its bias
    images: int = Field(default=256, ge=1, description="calibration images, half of each modality")
