"""How a deployed graph is quantised. Imports no quantiser."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vireid.core.config import Strict

Quantiser = Literal["nncf", "onnxruntime"]


class QuantisationConfig(Strict):
    """Post-training static quantisation to int8: weights per output channel and symmetric, activations per tensor.

    Convolutions and linear layers compute in int8; pooling and neck stay in float32.
    """

    quantiser: Quantiser = "nncf"  # onnxruntime: ONNX Runtime's own, for its runtime alone
    activations: Literal["symmetric", "asymmetric"] = "symmetric"
    # Ranges of activations over the calibration images. minmax: the widest; percentile: the outermost values are cut
    # (nncf: 0.01 % of each image, averaged; onnxruntime: 0.001 % of all).
    ranges: Literal["minmax", "percentile"] = "minmax"
    # Of nncf: what quantisation shifts a layer's mean output by is taken out of its bias, estimated layer by layer
    # (fast) or with all layers before it quantised already (full).
    bias_correction: Literal["none", "fast", "full"] = "fast"
    images: int = Field(default=256, ge=1, description="calibration images, half of each modality")

    @model_validator(mode="after")
    def _bias_is_of_nncf(self) -> QuantisationConfig:
        if self.quantiser == "onnxruntime" and self.bias_correction != "none":
            raise ValueError("bias_correction is nncf's: set bias_correction=none with quantiser=onnxruntime")
        return self
